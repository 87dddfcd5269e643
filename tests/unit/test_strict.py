"""Strict readers: one fault a mistake, with its pointer, and a clean 400 for garbage."""

import re

import pytest

from gateway.clock import SECOND
from gateway.edge import rendering, strict
from gateway.problems import Fault, InvalidRequest

POINTER = re.compile(r"(/([^/~]|~[01])*)*")


def parsed(body: bytes) -> list[Fault]:
    with pytest.raises(InvalidRequest) as refusal:
        strict.parse_object(body)
    assert rendering.problem(refusal.value).status_code == 400
    return refusal.value.faults


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"text"',
        b"17",
        b"{",
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":1}{"b":2}',
        b'{"a":01}',
        b'{"a":+1}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":"\n"}',
        b'{"a":"\x00"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":' + b"9" * 10_000 + b"}",
        b'{"a":' + b"[" * 16_000,
        b'{"a":' + b"[" * 8_000 + b"]" * 8_000 + b"}",
        b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    ],
    ids=lambda body: f"{len(body)}:{body[:24]!r}",
)
def test_what_is_not_one_json_object_in_utf_8_is_refused_as_a_whole(
    body: bytes,
) -> None:
    (fault,) = parsed(body)
    assert fault.pointer == ""


@pytest.mark.parametrize(
    "body", [b'{"a":1e999}', b'{"a":-0.0}', b' {"a":"\\ud83d\\ude42"} ', b"{}"]
)
def test_odd_but_lawful_json_is_read(body: bytes) -> None:
    assert strict.parse_object(body).keys() <= {"a"}


def test_every_unknown_and_repeated_member_is_named_once() -> None:
    members = strict.parse_object(b'{"nik":1,"foo":2,"nik":3,"bar":4,"foo":5,"nik":6}')
    faults: list[Fault] = []
    strict.check_members(members, {"nik"}, faults)
    assert [(fault.pointer, fault.detail) for fault in faults] == [
        ("/bar", "no such member"),
        ("/foo", "no such member"),
        ("/nik", "given more than once"),
        ("/foo", "given more than once"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "SITI AMINAH",
        "a/b",
        "a~b",
        "",
        "3171014501909001",
        "x3171014501909001",
        "é" * 4,
        "\ud800",
        "a" * 65,
        "9lives",
        "nik\n",
        "٣١٧١٠١٤٥٠١٩٠٩٠٠١",
    ],
)
def test_a_name_that_could_tell_something_is_pointed_at_by_its_parent(
    name: str,
) -> None:
    assert strict.pointer("/claims", name) == "/claims"
    faults: list[Fault] = []
    strict.query_members([(name, "1")], (), faults)
    assert faults == [Fault("?", "no such parameter")]


def test_a_plain_name_is_pointed_at_itself() -> None:
    assert strict.pointer("/claims", "birth_dat") == "/claims/birth_dat"
    assert POINTER.fullmatch(strict.pointer("", "nikk"))


@pytest.mark.parametrize(
    "value",
    [
        None,
        3171014501909001,
        "317101450190900",
        "31710145019090011",
        "317101450190900a",
        " 3171014501909001",
        "3171014501909001\n",
        "３１７１０１４５０１９０９００１",  # noqa: RUF001 - full-width digits
        "٣١٧١٠١٤٥٠١٩٠٩٠٠١",
        "\ud800" * 16,
        ["3171014501909001"],
        True,
    ],
)
def test_a_nik_is_a_string_of_16_ascii_digits(value: object) -> None:
    faults: list[Fault] = []
    assert strict.read_nik(value, faults) is None
    assert faults == [Fault("/nik", "want a string of 16 digits")]


def test_a_well_formed_nik_is_read_whoever_it_is() -> None:
    faults: list[Fault] = []
    assert strict.read_nik("0000000000000000", faults) == "0000000000000000"
    assert not faults


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x" * 65,
        "tab\there",
        "line\nfeed",
        "\x7f",
        "zero\u200bwidth",
        "\ud800",
        "\udc00 tail",
        "3171014501909001",
        "no 3171014501909001.",
        "12345678901234567",
        "１２３４５６７８９０１２３４５６",  # noqa: RUF001 - full-width digits
        "١٢٣٤٥٦٧٨٩٠1234567890",  # noqa: RUF001 - digits of two scripts
        17,
        None,
        ["text"],
        {"text": "text"},
    ],
)
def test_free_text_is_short_printable_and_holds_no_16_digits_in_a_row(
    value: object,
) -> None:
    faults: list[Fault] = []
    assert strict.read_text(value, faults, "/reference") is None
    assert [fault.pointer for fault in faults] == ["/reference"]
    assert rendering.problem(InvalidRequest(faults)).status_code == 400


@pytest.mark.parametrize(
    "value", ["x", "x" * 64, "INV/2026-11 №7", "123456789012345", "1234 5678 9012 3456"]
)
def test_other_free_text_is_taken_as_it_is(value: str) -> None:
    faults: list[Fault] = []
    assert strict.read_text(value, faults, "/reference") == value
    assert not faults


@pytest.mark.parametrize(
    "value",
    [None, "", "kyc\n", "k" * 65, "\ud800", "3171014501900001", 3],
)
def test_a_purpose_is_a_text(value: object) -> None:
    faults: list[Fault] = []
    assert strict.read_purpose(value, faults) is None
    assert [fault.pointer for fault in faults] == ["/purpose"]


@pytest.mark.parametrize("value", [None, {}, [], "name", ["name"], 1])
def test_claims_are_an_object_of_at_least_one(value: object) -> None:
    faults: list[Fault] = []
    assert strict.read_claims(value, faults) == {}
    assert [fault.pointer for fault in faults] == ["/claims"]


def test_each_bad_claim_is_pointed_at_and_the_good_ones_are_read_in_order() -> None:
    body = (
        b'{"claims": {"birth_date": "1990-02-30", "rt": "001", "name": "", "sex": 1,'
        b' "rw": "\\u0000", "village": "\\ud800", "shoe_size": "44", "kk": "1",'
        b' "rt": "002"}}'
    )
    faults: list[Fault] = []
    read = strict.read_claims(strict.parse_object(body)["claims"], faults)
    assert list(read.items()) == [("rt", "002"), ("kk", "1")]
    assert sorted(fault.pointer for fault in faults) == [
        "/claims/birth_date",
        "/claims/name",
        "/claims/rt",
        "/claims/rw",
        "/claims/sex",
        "/claims/shoe_size",
        "/claims/village",
    ]


@pytest.mark.parametrize(
    "value",
    [
        "1990-13-01",
        "1990-1-1",
        "19900101",
        "1990-W01-1",
        "01-01-1990",
        "١٩٩٠-٠١-٠١",  # noqa: RUF001 - digits of another script
        "1990-01-01T00:00:00Z",
    ],
)
def test_a_birth_date_is_a_day_of_the_calendar(value: str) -> None:
    faults: list[Fault] = []
    assert strict.read_claims({"birth_date": value}, faults) == {}
    assert [fault.pointer for fault in faults] == ["/claims/birth_date"]


@pytest.mark.parametrize("value", [None, [], {}, "name", 1])
def test_fields_are_a_list_of_at_least_one(value: object) -> None:
    faults: list[Fault] = []
    assert strict.read_fields(value, faults) == ()
    assert [fault.pointer for fault in faults] == ["/fields"]


def test_each_bad_field_is_pointed_at_by_its_place() -> None:
    faults: list[Fault] = []
    asked = ["name", "shoe_size", "sex", "name", 7, None, ["sex"], "\ud800"]
    assert strict.read_fields(asked, faults) == ("name", "sex")
    assert [fault.pointer for fault in faults] == [
        f"/fields/{n}" for n in (1, *range(3, 8))
    ]


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01T07:00:01+07:00", SECOND),
        ("1969-12-31T17:30:00.000001-06:30", 1),
        ("2026-11-24T13:00:00.1Z", 1_795_525_200_100_000),
    ],
)
def test_an_instant_is_read_with_any_offset(text: str, instant: int) -> None:
    faults: list[Fault] = []
    assert strict.read_instant(text, faults, "?from") == instant
    assert not faults


@pytest.mark.parametrize(
    "value",
    [
        None,
        0,
        "",
        "2026-11-24",
        "2026-11-24T13:00:00",
        "2026-11-24 13:00:00Z",
        "2026-13-24T13:00:00Z",
        "2026-11-24T25:00:00Z",
        "2026-11-24T13:00:00+25:00",
        "2026-11-24T13:00:00+05:60",
        "2026-11-24T13:00:00.1234567Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "٢٠٢٦-11-24T13:00:00Z",
        "2026-11-24T13:00:00Z\n",
    ],
)
def test_what_is_no_instant_of_rfc_3339_is_a_fault(value: object) -> None:
    faults: list[Fault] = []
    assert strict.read_instant(value, faults, "?from") is None
    assert [fault.pointer for fault in faults] == ["?from"]


@pytest.mark.parametrize("value", ["1", "1000", "0001", "0500"])
def test_a_number_within_its_bounds_is_read(value: str) -> None:
    faults: list[Fault] = []
    read = strict.read_number(value, faults, "?limit", least=1, most=1000)
    assert (read, faults) == (int(value), [])


@pytest.mark.parametrize(
    "value",
    [None, 5, "", "0", "1001", "-1", "+1", "1.0", "1e2", " 1", "٣", "³", "9" * 5000],
)
def test_any_other_number_is_a_fault(value: object) -> None:
    faults: list[Fault] = []
    assert strict.read_number(value, faults, "?limit", least=1, most=1000) is None
    assert [fault.pointer for fault in faults] == ["?limit"]


def test_unknown_and_repeated_parameters_are_faults() -> None:
    faults: list[Fault] = []
    pairs = [("to", "1"), ("from", "2"), ("to", "3"), ("nik", "4")]
    assert strict.query_members(pairs, ("from", "to"), faults) == {
        "to": "1",
        "from": "2",
    }
    assert faults == [
        Fault("?to", "given more than once"),
        Fault("?nik", "no such parameter"),
    ]


def test_a_key_in_a_name_is_not_repeated() -> None:
    key = "gdk_test_" + "A" * 44
    faults: list[Fault] = []
    strict.check_members({key: 1}, set(), faults)
    strict.query_members([(key, "1")], (), faults)
    assert [fault.pointer for fault in faults] == ["", "?"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("8e03978e-40d5-43dd-bc93-6894a57f9324",) * 2,
        (
            '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
            "8e03978e-40d5-43dd-bc93-6894a57f9324",
        ),
        ("x" * 64,) * 2,
        (f'"{"x" * 64}"', "x" * 64),
        ("!",) * 2,
        ("~:/?#[]@,;=",) * 2,
        ('a"b',) * 2,
        (r'"a\"b\\c"', r'a"b\c'),
        (r'"' + r"\\" * 64 + '"', "\\" * 64),
        ("\tloan-4711 ", "loan-4711"),
    ],
)
def test_an_idempotency_key_is_read_bare_or_quoted(text: str, key: str) -> None:
    faults: list[Fault] = []
    assert (strict.read_idempotency_key([text], faults), faults) == (key, [])


@pytest.mark.parametrize(
    "values",
    [
        [""],
        [" "],
        ['""'],
        ["x" * 65],
        [f'"{"x" * 65}"'],
        ["two words"],
        ['"two words"'],
        ['"open'],
        ['"a"b"'],
        [r'"a\b"'],
        ['"a\\"'],
        ['"a";p=1'],
        ['"a", "b"'],
        ["kl\xc3\xa9"],
        ["a\x7f"],
        ["a\x00"],
        ["a", "a"],
        ["a", "b"],
    ],
)
def test_any_other_idempotency_key_is_a_fault_that_does_not_repeat_it(
    values: list[str],
) -> None:
    faults: list[Fault] = []
    assert strict.read_idempotency_key(values, faults) is None
    wanted = "want one key of 1 to 64 visible ASCII characters"
    assert faults == [Fault("/headers/idempotency-key", wanted)]


def test_without_the_header_there_is_no_idempotency_key_and_no_fault() -> None:
    faults: list[Fault] = []
    assert (strict.read_idempotency_key([], faults), faults) == (None, [])
