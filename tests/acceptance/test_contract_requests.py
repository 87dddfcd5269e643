"""What is wrong with a question is told all at once, and nothing sent is repeated."""

import json
from typing import Any, Final

import pytest

from tests.acceptance.callers import Caller
from tests.acceptance.service import Service
from tests.acceptance.wire import Answer

pytestmark = [pytest.mark.acceptance]

NIK: Final = "3171014501900001"
VERIFY: Final = {"nik": NIK, "purpose": "kyc", "claims": {"name": "SITI"}}
FETCH: Final = {"nik": NIK, "purpose": "treatment", "fields": ["name"]}


async def post(
    service: Service, path: str, body: object, caller: Caller | None = None
) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await service.ask(
        "POST",
        path,
        key=(caller or service.newcomer()).key,
        body=raw,
        headers={"Content-Type": "application/json"},
    )


def pointers(answer: Answer) -> list[str]:
    assert (answer.status, answer.reason) == (400, "invalid-request")
    assert all(set(fault) == {"pointer", "detail"} for fault in answer.json["errors"])
    return sorted(fault["pointer"] for fault in answer.json["errors"])


async def test_all_faults_come_at_once_and_no_value_is_echoed(
    service: Service,
) -> None:
    body = {
        "nik": "31710145019",
        "purpose": "k" * 65,
        "claims": {"name": "", "shoe_size": "44w", "birth_date": "1990-13-41"},
        "reference": "r" * 65,
        "operator": f"budi {NIK}",
        "colour": "teal",
    }
    answer = await post(service, "/v1/verify", body)
    assert pointers(answer) == [
        "/claims/birth_date",
        "/claims/name",
        "/claims/shoe_size",
        "/colour",
        "/nik",
        "/operator",
        "/purpose",
        "/reference",
    ]
    for value in (
        b"31710145019",
        b"KYC!",
        b"44w",
        b"1990-13",
        b"rrr",
        b"budi",
        b"teal",
    ):
        assert value not in answer.body


async def test_a_member_whose_name_is_a_nik_is_not_repeated_either(
    service: Service,
) -> None:
    answer = await post(service, "/v1/verify", {**VERIFY, NIK: 1, f"x{NIK}": 1})
    assert pointers(answer) == ["", ""]
    assert NIK.encode() not in answer.body


@pytest.mark.parametrize(
    ("path", "raw", "pointer"),
    [
        (
            "/v1/verify",
            '{"nik":"%s","nik":"%s","purpose":"kyc","claims":{"name":"A"}}',
            "/nik",
        ),
        (
            "/v1/verify",
            '{"nik":"%s","purpose":"kyc","claims":{"name":"A","name":"%s"}}',
            "/claims/name",
        ),
        (
            "/v1/fetch",
            '{"nik":"%s","purpose":"kyc","fields":["name"],"fields":["%s"]}',
            "/fields",
        ),
    ],
)
async def test_a_member_given_twice_is_refused(
    service: Service, path: str, raw: str, pointer: str
) -> None:
    answer = await post(service, path, (raw % (NIK, NIK)).encode())
    assert pointer in pointers(answer)
    assert NIK.encode() not in answer.body


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"nik": None}, "/nik"),
        ({"nik": int(NIK)}, "/nik"),
        ({"nik": NIK[:15]}, "/nik"),
        ({"nik": f"{NIK}0"}, "/nik"),
        ({"nik": f" {NIK[:15]}"}, "/nik"),
        ({"nik": "٣" * 16}, "/nik"),
        ({"purpose": None}, "/purpose"),
        ({"purpose": ""}, "/purpose"),
        ({"claims": None}, "/claims"),
        ({"claims": {}}, "/claims"),
        ({"claims": ["name"]}, "/claims"),
        ({"claims": {"name": 5}}, "/claims/name"),
        ({"claims": {"birth_date": "05-01-1990"}}, "/claims/birth_date"),
        ({"reference": ""}, "/reference"),
        ({"reference": 5}, "/reference"),
        ({"reference": "a\nb"}, "/reference"),
        ({"reference": "x" * 65}, "/reference"),
        ({"reference": f"no {NIK}"}, "/reference"),
        ({"operator": "x" * 65}, "/operator"),
        ({"operator": NIK}, "/operator"),
        ({"fields": ["name"]}, "/fields"),
    ],
)
async def test_each_fault_of_a_verify_is_pointed_at(
    service: Service, change: dict[str, Any], pointer: str
) -> None:
    answer = await post(service, "/v1/verify", {**VERIFY, **change})
    assert pointers(answer) == [pointer]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"fields": None}, "/fields"),
        ({"fields": []}, "/fields"),
        ({"fields": "name"}, "/fields"),
        ({"fields": ["name", "name"]}, "/fields/1"),
        ({"fields": ["shoe_size"]}, "/fields/0"),
        ({"fields": ["name", 5]}, "/fields/1"),
        ({"claims": {"name": "A"}}, "/claims"),
    ],
)
async def test_each_fault_of_a_fetch_is_pointed_at(
    service: Service, change: dict[str, Any], pointer: str
) -> None:
    answer = await post(service, "/v1/fetch", {**FETCH, **change})
    assert pointers(answer) == [pointer]


@pytest.mark.parametrize("missing", ["nik", "purpose", "claims"])
async def test_a_member_left_out_is_pointed_at(service: Service, missing: str) -> None:
    body = {name: value for name, value in VERIFY.items() if name != missing}
    assert pointers(await post(service, "/v1/verify", body)) == [f"/{missing}"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b'{"nik": NaN}',
        b'{"nik": "1",}',
        b'{"nik": "\xff"}',
        b'{"nik": "1"} {}',
        json.dumps(VERIFY).encode("utf-16"),
        b"[" * 8000,
    ],
)
async def test_what_is_not_one_json_object_in_utf_8_is_refused_whole(
    service: Service, body: bytes
) -> None:
    assert pointers(await post(service, "/v1/verify", body)) == [""]


async def test_a_query_string_is_no_part_of_a_question(service: Service) -> None:
    for path, body in (("/v1/verify", VERIFY), ("/v1/fetch", FETCH)):
        answer = await post(service, f"{path}?nik={NIK}", body)
        assert pointers(answer) == ["?nik"]
        assert NIK.encode() not in answer.body
    answer = await service.ask(
        "GET", f"/v1/account?x={NIK}", key=service.newcomer().key
    )
    assert pointers(answer) == ["?x"]


async def test_texts_of_64_characters_and_15_digits_are_taken(
    service: Service,
) -> None:
    body = {**VERIFY, "reference": "é" * 64, "operator": "9" * 15}
    answer = await post(service, "/v1/verify", body)
    assert answer.status == 200
