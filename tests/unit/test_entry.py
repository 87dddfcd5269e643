"""The line of an entry, byte for byte as CONTRACT §4 writes it, and its name."""

from dataclasses import replace
from hashlib import sha256
from typing import Any
from uuid import RFC_4122, UUID

import pytest

from gateway.audit.access import Access
from gateway.audit.entry import (
    Entry,
    KeyName,
    Place,
    PurposeName,
    access_id,
    batch_instant,
    batch_number,
    field_bits,
    leaf_hash,
    line,
    parse_address,
    place_of,
)
from gateway.audit.subject import Subject
from gateway.vocabulary import Actor, Operation, Outcome, Reason

# 2026-11-24T13:00:00.123456Z; 0x01a20da448fb is its millisecond. Worker 5, counter 9,
# position 3, laid out by hand as RFC 9562 §5.7 and the contract say.
AT = 1_795_525_200_123_456
PLACE = Place(batch_number(AT, worker=5, counter=9), 3)
NAME = "01a20da4-48fb-700a-8120-006000000000"
SUBJECT = Subject(
    int.from_bytes(bytes.fromhex("9f86d081884c7d65"), signed=True),
    int.from_bytes(bytes.fromhex("0a2feaa0c55ad015"), signed=True),
    1,
)
ANSWERED = Entry(
    at=AT,
    actor=Actor.INSTITUTION,
    outcome=Outcome.MATCHED,
    address=parse_address("203.0.113.7"),
    operation=Operation.VERIFY,
    institution=123,
    key=KeyName(77, "Ab3dE6gH"),
    purpose=PurposeName(1, "kyc"),
    fields=field_bits(("birth_date", "name")),
    subject=SUBJECT,
)
UNKNOWN = Entry(
    at=1_795_525_200_000_000,
    actor=Actor.UNIDENTIFIED,
    outcome=Outcome.REFUSED,
    reason=Reason.UNAUTHENTICATED,
    address=None,
)


def test_the_line_is_the_contracts_example_byte_for_byte() -> None:
    assert line(ANSWERED, PLACE) == (
        b'{"v":1,"access_id":"01a20da4-48fb-700a-8120-006000000000",'
        b'"at":"2026-11-24T13:00:00.123456Z","actor":"institution","institution":123,'
        b'"key":"Ab3dE6gH","operation":"verify","purpose":"kyc",'
        b'"fields":["name","birth_date"],"subject":"9f86d081884c7d650a2feaa0c55ad015",'
        b'"subject_key":1,"outcome":"matched","reason":null,"reference":null,'
        b'"operator":null,"address":"203.0.113.7","charged":1,"count":1,'
        b'"replay_of":null}'
    )


def test_what_does_not_apply_is_null_and_is_never_left_out() -> None:
    assert line(UNKNOWN, PLACE) == (
        b'{"v":1,"access_id":"01a20da4-48fb-700a-8120-006000000000",'
        b'"at":"2026-11-24T13:00:00.000000Z","actor":"unidentified","institution":null,'
        b'"key":null,"operation":null,"purpose":null,"fields":null,"subject":null,'
        b'"subject_key":null,"outcome":"refused","reason":"unauthenticated",'
        b'"reference":null,"operator":null,"address":null,"charged":0,"count":1,'
        b'"replay_of":null}'
    )


def test_texts_stand_in_utf_8_with_the_escapes_of_rfc_8785_alone() -> None:
    entry = replace(ANSWERED, reference='é/"\\\b\f\n\r\t\x00\x1f\x7f\u2028🙂')
    escaped = rb"\"\\\b\f\n\r\t\u0000\u001f"
    expected = (
        '"reference":"é/'.encode() + escaped + '\x7f\u2028🙂","operator"'.encode()
    )
    assert expected in line(entry, PLACE)


def test_a_replay_names_the_access_it_repeats_and_is_not_charged() -> None:
    replay = replace(ANSWERED, replay_of=UUID(NAME))
    assert line(replay, PLACE).endswith(
        b'"charged":0,"count":1,"replay_of":"01a20da4-48fb-700a-8120-006000000000"}'
    )


def test_joined_refusals_say_how_many_they_are() -> None:
    assert b'"charged":0,"count":412,' in line(replace(UNKNOWN, count=412), PLACE)


def test_fields_come_in_the_order_of_the_contract() -> None:
    asked = ("postal_code", "mother_name", "nik", "address", "blood_type", "kk", "rt")
    entry = replace(ANSWERED, fields=field_bits(asked))
    expected = (
        b'"fields":["nik","kk","blood_type","mother_name","address","rt","postal_code"]'
    )
    assert expected in line(entry, PLACE)


@pytest.mark.parametrize(
    ("outcome", "units"),
    [
        (Outcome.MATCHED, 1),
        (Outcome.MISMATCHED, 1),
        (Outcome.DISCLOSED, 1),
        (Outcome.NOT_FOUND, 1),
        (Outcome.REFUSED, 0),
        (Outcome.FAILED, 0),
        (Outcome.DONE, 0),
    ],
)
def test_an_answer_about_a_resident_is_charged_and_nothing_else_is(
    outcome: Outcome, units: int
) -> None:
    assert replace(ANSWERED, outcome=outcome).charged == units
    assert replace(ANSWERED, outcome=outcome, replay_of=UUID(NAME)).charged == 0


@pytest.mark.parametrize(
    ("came_from", "written"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::FFFF:CB00:7107", "203.0.113.7"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_an_address_is_canonical_and_unwrapped(came_from: str, written: str) -> None:
    entry = replace(ANSWERED, address=parse_address(came_from))
    assert f'"address":"{written}",'.encode() in line(entry, PLACE)


def test_an_access_id_is_a_uuid_of_version_7_with_the_batchs_time() -> None:
    name = UUID(access_id(PLACE))
    assert str(name) == NAME
    assert (name.version, name.variant) == (7, RFC_4122)
    assert name.int >> 80 == AT // 1000


def test_a_batch_begins_in_the_millisecond_of_its_newest_entry() -> None:
    assert batch_instant(PLACE.batch) == AT // 1000 * 1000


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "null",
        NAME.upper(),
        NAME + "\n",
        " " + NAME,
        NAME.replace("-", ""),
        "{" + NAME + "}",
        "urn:uuid:" + NAME,
        NAME.replace("0", "٠"),  # noqa: RUF001 - digits of another script
        NAME[:-1] + "g",
        NAME[:-1] + "_",
        "01a20da4-48fb-400a-8120-006000000000",  # version 4
        "01a20da4-48fb-700a-0120-006000000000",  # another variant
        "01a20da4-48fb-700a-8120-006000000001",  # bits this log leaves zero
        "01a20da4-48fb-700a-8130-000000000000",  # a position no batch has
        "ffffffff-ffff-7fff-8120-006000000000",  # a batch beyond 63 bits
        "00000000-0000-0000-0000-000000000000",
    ],
)
def test_a_name_this_log_cannot_have_given_has_no_place(garbage: str) -> None:
    assert place_of(garbage) is None


def test_a_name_leads_back_to_its_place() -> None:
    assert place_of(NAME) == PLACE


def test_a_leaf_is_the_hash_of_rfc_9162() -> None:
    assert leaf_hash(b"line") == sha256(b"\x00line").digest()


def access(**known: Any) -> Access:
    facts: dict[str, Any] = {"outcome": Outcome.DONE} | known
    return Access(Operation.ACCOUNT, parse_address("192.0.2.1"), **facts)


def test_an_entry_bears_the_instant_of_admission_where_there_was_one() -> None:
    assert access(at=AT).entry(now=AT + 5).at == AT
    assert access().entry(now=AT + 5).at == AT + 5


def test_an_access_without_an_outcome_has_no_entry() -> None:
    with pytest.raises(RuntimeError, match="outcome"):
        access(outcome=None).entry(now=AT)
