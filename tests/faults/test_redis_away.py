"""Valkey gone, there and answering nothing, or emptied: limits hold all the same."""

import asyncio
import time
from collections import Counter
from typing import Final

import pytest

from gateway.quota.epochs import FENCE_SECONDS, KNOWN_SECONDS
from gateway.redis import open_server
from tests.acceptance import questions
from tests.acceptance.callers import Caller
from tests.acceptance.ledger import differences, of_institution
from tests.acceptance.questions import Question, nik_of
from tests.acceptance.service import Service
from tests.faults.breaking import WAYS, How, account_once_back, answer_when, away
from tests.faults.load import Load, under_load
from tests.integration.limiting import redis_counts

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("whole")]

NOTICED_SECONDS: Final = 0.25
# The entry of the failed call, HTTP and the test's own loop come on top.
SLACK: Final = 0.3
DEGRADED_SECONDS: Final = 2.0
# Noticed, looked at once more, and the fence: then PostgreSQL counts.
COUNTED_ELSEWHERE: Final = 2 * NOTICED_SECONDS + FENCE_SECONDS
NORMAL_SECONDS: Final = 2.0
# It is left for three seconds at least.
RETURNED_SECONDS: Final = 5.0


@pytest.fixture(autouse=True)
async def counted_in_redis(service: Service) -> None:
    """Redis counts, and has not been lost lately, so that it will not be left for long."""
    await answer_when(
        lambda: service.ask("GET", "/health/ready"),
        lambda answer: answer.json == {"ready": True, "degraded": []},
        since=time.monotonic(),
        within=NORMAL_SECONDS,
    )
    await redis_counts(service.environment["GATEWAY_POSTGRES_DSN"])
    # Until every worker knows.
    await asyncio.sleep(KNOWN_SECONDS)


@pytest.mark.parametrize("how", WAYS)
async def test_without_redis_calls_are_soon_admitted_elsewhere_and_then_by_it_again(
    service: Service, how: How
) -> None:
    caller = service.newcomer()

    def ask() -> Question:
        nik = nik_of(service.residents[3])
        return questions.verify(caller, nik, {"birth_date": "1801-01-01"})

    async with under_load(service, ask, callers=8) as load:
        await load.first_success(after=0, within=5)
        gone = time.monotonic()
        async with away(service.valkey, how):
            surely_gone = time.monotonic()
            await answer_when(
                lambda: service.ask("GET", "/health/ready"),
                lambda answer: answer.json == {"ready": True, "degraded": ["redis"]},
                since=gone,
                within=DEGRADED_SECONDS,
            )
            within = COUNTED_ELSEWHERE + SLACK
            await load.first_success(after=surely_gone, within=within)
            elsewhere = time.monotonic()
            await asyncio.sleep(3)
            still_gone = time.monotonic()
        back = time.monotonic()
        await load.first_success(after=back, within=NORMAL_SECONDS)
        await asyncio.sleep(4)
        normal = time.monotonic()
        await asyncio.sleep(0.5)
    assert not load.lost
    check_fenced(load, surely_gone)
    # Once PostgreSQL counts every lawful call is answered, also while Redis takes over.
    served = load.sent_between(elsewhere, still_gone)
    assert len(served) > 20
    assert {one.answer.status for one in served} == {200}
    returned = load.sent_between(still_gone, normal)
    assert {one.answer.status for one in returned} == {200}
    await check_entries(service, load, caller)
    account = await account_once_back(service, caller, within=NORMAL_SECONDS)
    day = account["limits"][1]
    charged = sum(
        entry["charged"]
        for entry in await of_institution(service.auditor_dsn, caller.institution)
    )
    assert day["quota"] - day["remaining"] == charged


def check_fenced(load: Load, gone: float) -> None:
    """What is not admitted is told so at once, and once it is known for how long."""
    meanwhile = [
        one
        for one in load.sent_between(gone, gone + COUNTED_ELSEWHERE)
        if one.answer.status != 200
    ]
    assert meanwhile
    for one in meanwhile:
        assert one.answer.status == 503
        assert one.answer.reason == "temporary-reduced-capacity", one.answer
        assert one.answer.seconds <= NOTICED_SECONDS + SLACK
    assert {one.answer.status for one in load.answered} == {200, 503}


async def check_entries(service: Service, load: Load, caller: Caller) -> None:
    entered = await of_institution(service.auditor_dsn, caller.institution)
    by_id = {entry["access_id"]: entry for entry in entered}
    for one in load.answered:
        assert one.answer.access_id is not None
        expected = questions.entry_of(one.question, one.answer, service.subjects)
        assert not differences(expected, by_id[one.answer.access_id])


async def spend(service: Service, caller: Caller, calls: int) -> Counter[int]:
    nik = nik_of(service.residents[4])
    question = questions.verify(caller, nik, {"birth_date": "1801-01-01"})
    answers = await asyncio.gather(
        *(
            service.ask("POST", "/v1/verify", key=caller.key, json=question.json)
            for _ in range(calls)
        )
    )
    return Counter(answer.status for answer in answers)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stopped", "frozen"])
async def test_a_days_quota_is_exact_through_the_loss_and_the_return_of_redis(
    service: Service, how: How
) -> None:
    limits = {"rate": 1_000, "burst": 1_000, "day": 100, "month": 1_000}
    caller = await service.make_caller(limits=limits)
    told = await spend(service, caller, 30)
    assert told == {200: 30}
    async with away(service.valkey, how):
        # One notices, and by the time it says all may count elsewhere.
        told += await spend(service, caller, 1)
        await asyncio.sleep(COUNTED_ELSEWHERE + SLACK)
        elsewhere = await spend(service, caller, 40)
        assert elsewhere == {200: 40}
    await asyncio.sleep(RETURNED_SECONDS)
    told += elsewhere + await spend(service, caller, 60)
    # One while nobody counted: its answer was the sign.
    assert told == {200: 100, 503: 1, 429: 30}


async def test_counters_that_were_flushed_are_counted_from_the_log_and_nobody_refused(
    service: Service,
) -> None:
    caller = service.newcomer()

    def ask() -> Question:
        nik = nik_of(service.residents[3])
        return questions.verify(caller, nik, {"birth_date": "1801-01-01"})

    redis = open_server(service.valkey.url)
    async with under_load(service, ask, callers=8) as load:
        await load.first_success(after=0, within=5)
        for _ in range(3):
            await asyncio.sleep(1)
            await redis.flushall()
        await asyncio.sleep(3)
    await redis.aclose()
    assert {one.answer.status for one in load.answered} == {200}
    assert not load.lost
    account = await account_once_back(service, caller, within=NORMAL_SECONDS)
    day = account["limits"][1]
    assert day["quota"] - day["remaining"] == len(load.answered)


async def test_without_redis_auditors_still_read_the_log(service: Service) -> None:
    async with away(service.valkey, "frozen"):
        answer = await service.ask(
            "GET",
            "/audit/entries?reason=while%20redis%20is%20away",
            key=service.staff["auditor"],
        )
        assert answer.status == 200
        assert answer.seconds < 1
