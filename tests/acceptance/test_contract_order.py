"""The first check that fails answers, and only admission spends limits."""

import json
from typing import Any, Final

import pytest

from tests.acceptance import questions
from tests.acceptance.callers import DAY, KYC, Caller
from tests.acceptance.questions import nik_of
from tests.acceptance.service import Service
from tests.acceptance.wire import Answer

pytestmark = [pytest.mark.acceptance]

MOST_BODY: Final = 16 * 1024
TOO_LONG: Final = b'{"nik": "' + b"x" * MOST_BODY
JSON: Final = {"Content-Type": "application/json"}
TEXT: Final = {"Content-Type": "text/plain"}
OUTSIDE: Final = {"purpose": "pension", "claims": {"religion": "ISLAM"}}


@pytest.fixture(scope="module")
async def callers(service: Service) -> dict[str, Caller]:
    """Callers, each of whom one check refuses; `spent` has nothing left of its day."""
    one_a_day = {"rate": 1000, "burst": 1000, "day": 1, "month": 1}
    terms: dict[str, dict[str, Any]] = {
        "fenced": {"cidrs": ["127.0.0.9/32"]},
        "ended": {"begins_in": -2 * DAY, "ends_in": -DAY, "grants": [KYC]},
        "spent": {"limits": one_a_day, "grants": [KYC]},
        "free": {"grants": [KYC]},
    }
    made = dict(zip(terms, await service.make_callers(*terms.values()), strict=True))
    nik = nik_of(service.residents[0])
    spending = questions.verify(made["spent"], nik, {"name": "A"}, purpose="kyc")
    assert (await service.put(spending)).status == 200
    return made


def good_body(service: Service) -> dict[str, Any]:
    nik = nik_of(service.residents[0])
    return {"nik": nik, "purpose": "kyc", "claims": {"name": "A"}}


async def post(service: Service, caller: Caller | None, **sent: Any) -> Answer:
    key = None if caller is None else caller.key
    return await service.ask("POST", "/v1/verify", key=key, **sent)


async def test_a_missing_key_is_told_before_anything_else(service: Service) -> None:
    for headers, body in ((TEXT, TOO_LONG), (JSON, TOO_LONG), (JSON, b"[")):
        answer = await post(service, None, headers=headers, body=body)
        assert (answer.status, answer.reason) == (401, "unauthenticated")


async def test_the_address_is_told_before_the_body_is_read(
    service: Service, callers: dict[str, Caller]
) -> None:
    for headers, body in ((TEXT, TOO_LONG), (JSON, TOO_LONG), (JSON, b"[")):
        answer = await post(service, callers["fenced"], headers=headers, body=body)
        assert (answer.status, answer.reason) == (403, "address-not-allowed")


async def test_the_media_type_is_told_before_the_size_and_the_size_before_the_content(
    service: Service, callers: dict[str, Caller]
) -> None:
    free = callers["free"]
    answer = await post(service, free, headers=TEXT, body=TOO_LONG)
    assert (answer.status, answer.reason) == (415, "unsupported-media-type")
    answer = await post(service, free, headers=JSON, body=TOO_LONG)
    assert (answer.status, answer.reason) == (413, "payload-too-large")
    answer = await post(service, free, headers=JSON, body=TOO_LONG[:MOST_BODY])
    assert (answer.status, answer.reason) == (400, "invalid-request")


async def test_a_malformed_question_is_told_before_the_agreement_and_the_grant(
    service: Service, callers: dict[str, Caller]
) -> None:
    for name in ("ended", "free", "spent"):
        malformed = {**good_body(service), **OUTSIDE, "nik": "1"}
        answer = await post(service, callers[name], json=malformed)
        assert (answer.status, answer.reason) == (400, "invalid-request")


async def test_the_agreement_is_told_before_the_grant(
    service: Service, callers: dict[str, Caller]
) -> None:
    body = {**good_body(service), **OUTSIDE}
    answer = await post(service, callers["ended"], json=body)
    assert (answer.status, answer.reason) == (403, "agreement-inactive")


@pytest.mark.parametrize("purpose", ["KYC", "no_such_purpose", "k yc", "k" * 64])
async def test_a_purpose_of_any_spelling_that_nobody_was_granted_is_not_granted(
    service: Service, callers: dict[str, Caller], purpose: str
) -> None:
    body = {**good_body(service), "purpose": purpose}
    answer = await post(service, callers["free"], json=body)
    assert (answer.status, answer.reason) == (403, "not-granted")


async def test_the_grant_is_told_before_the_limits(
    service: Service, callers: dict[str, Caller]
) -> None:
    body = {**good_body(service), **OUTSIDE}
    answer = await post(service, callers["spent"], json=body)
    assert (answer.status, answer.reason) == (403, "not-granted")
    answer = await post(service, callers["spent"], json=good_body(service))
    assert (answer.status, answer.reason) == (429, "quota-exceeded")


async def test_only_admission_spends_limits(service: Service) -> None:
    caller = service.newcomer()
    body = good_body(service)
    assert await day_used(service, caller) == 0
    refused = [
        await post(service, caller, json={**body, "nik": "1"}),
        await post(service, caller, json={**body, **OUTSIDE}),
        await post(service, caller, headers=TEXT, body=b"{}"),
        await service.ask("DELETE", "/v1/verify", key=caller.key),
    ]
    assert [answer.status for answer in refused] == [400, 403, 415, 405]
    for answer in refused:
        assert "ratelimit" not in answer.headers
        assert "ratelimit-policy" not in answer.headers
    assert await day_used(service, caller) == 0
    assert (await post(service, caller, json=body)).status == 200
    assert await day_used(service, caller) == 1


async def day_used(service: Service, caller: Caller) -> int:
    account = await service.ask("GET", "/v1/account", key=caller.key)
    day = account.json["limits"][1]
    used: int = day["quota"] - day["remaining"]
    return used


async def test_a_body_of_16_kib_is_read_and_one_byte_more_is_not(
    service: Service,
) -> None:
    caller = service.newcomer()
    whole = json.dumps(good_body(service)).encode()
    padded = whole[:-1] + b" " * (MOST_BODY - len(whole)) + b"}"
    answer = await post(service, caller, headers=JSON, body=padded)
    assert answer.status == 200
    answer = await post(service, caller, headers=JSON, body=b" " + padded)
    assert (answer.status, answer.reason) == (413, "payload-too-large")


async def test_a_body_without_a_declared_length_is_bounded_too(
    service: Service,
) -> None:
    caller = service.newcomer()
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    headers = {**JSON, "Transfer-Encoding": "chunked"}
    body = chunk + chunk + b"0\r\n\r\n"
    answer = await post(service, caller, headers=headers, body=body)
    assert (answer.status, answer.reason) == (413, "payload-too-large")


@pytest.mark.parametrize(
    "declared",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=iso-8859-1",
        "application/problem+json",
        None,
    ],
)
async def test_a_body_not_declared_as_json_is_refused(
    service: Service, declared: str | None
) -> None:
    caller = service.newcomer()
    body = json.dumps(good_body(service)).encode()
    headers = {} if declared is None else {"Content-Type": declared}
    answer = await post(service, caller, headers=headers, body=body)
    assert (answer.status, answer.reason) == (415, "unsupported-media-type")


async def test_json_may_say_that_it_is_utf_8(service: Service) -> None:
    headers = {"Content-Type": "Application/JSON; charset=UTF-8"}
    body = json.dumps(good_body(service)).encode()
    answer = await post(service, service.newcomer(), headers=headers, body=body)
    assert answer.status == 200


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/v1/verify", "POST"), ("/v1/fetch", "POST"), ("/v1/account", "GET")],
)
async def test_another_method_is_refused_once_the_caller_is_known(
    service: Service, path: str, allowed: str
) -> None:
    caller = service.newcomer()
    unheard = ("TRACE", "PROPFIND", "A")
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", *unheard):
        source = f"127.0.4.{len(method)}"
        unknown = await service.ask(method, path, source=source)
        assert unknown.status == 401
        known = await service.ask(method, path, key=caller.key)
        assert known.status == 405
        assert known.headers["allow"] == allowed
        assert known.access_id is not None


@pytest.mark.parametrize(
    ("path", "has"), [("/log/key", "GET"), ("/console/session", "POST")]
)
async def test_a_route_for_everybody_says_which_methods_it_has(
    service: Service, path: str, has: str
) -> None:
    for method in ("PUT", "PROPFIND"):
        answer = await service.ask(method, path)
        assert answer.status == 405
        assert has in answer.headers["allow"].split(", ")
        assert method not in answer.headers["allow"]


async def test_a_path_that_is_no_route_leaves_no_entry(service: Service) -> None:
    for target in ("/", "/v1", "/v1/verify/1", "/v2/verify", "/audit", "/admin"):
        answer = await service.ask("GET", target, key=service.newcomer().key)
        assert (answer.status, answer.reason) == (404, "not-found")
        assert answer.access_id is None
