"""Floods of refusals: ten a worker singly, then together, counted to the last one."""

import asyncio
from typing import Final

import pytest

from gateway.partners import keeping, keys, terms
from gateway.partners.keys import Environment, Kind
from tests.acceptance import questions
from tests.acceptance.callers import PLENTY, with_another_secret
from tests.acceptance.ledger import Entry, entries, of_institution
from tests.acceptance.questions import Question
from tests.acceptance.service import KNOWN_EVERYWHERE, WORKERS, Service
from tests.acceptance.windows import MINUTE, clear_of_turn
from tests.acceptance.wire import Answer, Connection

pytestmark = [pytest.mark.acceptance]

CALLS: Final = 200
CONNECTIONS: Final = 20
SINGLY: Final = 10
DURABLE_WITHIN: Final = 1.0


async def flood(
    service: Service, question: Question, *, source: str = "127.0.0.1"
) -> list[Answer]:
    """The same refused call 200 times over twenty connections, within one minute."""
    await clear_of_turn(MINUTE, seconds=10)

    async def some() -> list[Answer]:
        async with Connection.opened(service.gateway.port, source=source) as one:
            return [await question.put(one) for _ in range(CALLS // CONNECTIONS)]

    async with asyncio.TaskGroup() as tasks:
        floods = [tasks.create_task(some()) for _ in range(CONNECTIONS)]
    answers = [answer for one in floods for answer in one.result()]
    await asyncio.sleep(DURABLE_WITHIN)
    return answers


def check_counted(answers: list[Answer], entered: list[Entry]) -> list[Entry]:
    """Singles have their answers' ids; the rest is counted. Gives the counted ones."""
    numbered = {one.access_id for one in answers if one.access_id}
    single = [entry for entry in entered if entry["access_id"] in numbered]
    together = [entry for entry in entered if entry["access_id"] not in numbered]
    assert SINGLY <= len(single) == len(numbered) <= SINGLY * WORKERS
    assert [entry["count"] for entry in single] == [1] * len(single)
    assert sum(entry["count"] for entry in entered) == CALLS
    assert len(together) < CALLS // 4
    for entry in together:
        assert entry["charged"] == 0
        assert entry["outcome"] == "refused"
        for member in ("subject", "subject_key", "reference", "operator", "fields"):
            assert entry[member] is None
    return together


async def test_a_flood_of_bad_keys_is_counted_by_address(service: Service) -> None:
    answers = await flood(service, questions.account(None), source="127.0.0.77")
    assert {one.reason for one in answers} == {"unauthenticated"}
    entered = await entries(service.auditor_dsn, "e.address = '127.0.0.77'")
    for entry in check_counted(answers, entered):
        assert entry["reason"] == "unauthenticated"
        assert entry["actor"] == "unidentified"
        assert entry["key"] is None


async def test_a_flood_from_one_address_does_not_swallow_another(
    service: Service,
) -> None:
    await flood(service, questions.account(None), source="127.0.0.78")
    answer = await service.put(questions.account(None), source="127.0.0.79")
    assert answer.access_id is not None
    (entry,) = await entries(service.auditor_dsn, "e.address = '127.0.0.79'")
    assert entry["access_id"] == answer.access_id


async def test_in_a_flood_a_known_key_without_its_secret_is_as_an_unknown_one(
    service: Service,
) -> None:
    source, caller = "127.0.0.81", service.newcomer()
    guess = with_another_secret(caller.key)
    await flood(service, questions.account(None), source=source)
    async with Connection.opened(service.gateway.port, source=source) as connection:
        answers = [
            await connection.ask("GET", "/v1/account", key=key)
            for key in (guess, keys.make(Kind.INSTITUTION, Environment.TEST).text)
        ]
    known, unknown = [(one.headers, one.body, one.status) for one in answers]
    assert known[1:] == unknown[1:]
    assert known[0].keys() == unknown[0].keys()
    assert "access-id" not in known[0]
    await asyncio.sleep(DURABLE_WITHIN)
    made = await entries(service.auditor_dsn, f"e.address = '{source}'")
    assert [one["count"] for one in made if one["key"] == caller.key_id] == [1]


async def test_in_a_flood_a_right_key_without_its_certificate_is_as_a_wrong_one(
    service: Service,
) -> None:
    source, caller = "127.0.0.82", service.newcomer()
    async with service.admin() as admin:
        await keeping.bind_certificate(
            admin,
            institution=caller.institution,
            fingerprint="ab" * 32,
            label="core banking",
            not_after=terms.LATEST,
        )
    await asyncio.sleep(KNOWN_EVERYWHERE)
    await flood(service, questions.account(None), source=source)
    async with Connection.opened(service.gateway.port, source=source) as connection:
        answer = await connection.ask("GET", "/v1/account", key=caller.key)
    assert answer.status == 401
    assert "access-id" not in answer.headers


async def test_a_flood_of_malformed_calls_is_counted_by_key(service: Service) -> None:
    caller = service.newcomer()
    answers = await flood(service, questions.verify(caller, "12", {"name": "A"}))
    assert {one.reason for one in answers} == {"invalid-request"}
    entered = await of_institution(service.auditor_dsn, caller.institution)
    for entry in check_counted(answers, entered):
        assert (entry["reason"], entry["key"]) == ("invalid-request", caller.key_id)


async def test_a_flood_over_a_limit_is_counted_by_key(service: Service) -> None:
    caller = await service.make_caller(limits={**PLENTY, "month": 1})
    question = questions.verify(caller, "9" * 16, {"name": "A"})
    assert (await service.put(question)).status == 200
    answers = await flood(service, question)
    assert {one.reason for one in answers} == {"quota-exceeded"}
    assert all("ratelimit" in one.headers for one in answers)
    entered = await of_institution(service.auditor_dsn, caller.institution)
    admitted, *refused = entered
    assert admitted["outcome"] == "not_found"
    for entry in check_counted(answers, refused):
        assert (entry["reason"], entry["key"]) == ("quota-exceeded", caller.key_id)


async def test_an_answer_without_an_entry_of_its_own_carries_no_access_id(
    service: Service,
) -> None:
    answers = await flood(service, questions.account(None), source="127.0.0.80")
    counted = [one for one in answers if one.access_id is None]
    assert len(counted) >= CALLS - SINGLY * WORKERS
    assert not any("access_id" in one.json for one in counted)
