"""Guessing over HTTP: `abnormal-usage-detected`, whichever worker and key was asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest

from gateway.partners import keeping
from gateway.quota.harvest import LADDERS
from gateway.vocabulary import Rule, Step
from tests.acceptance import questions
from tests.acceptance.callers import Caller
from tests.acceptance.job_calls import claims, difference, over, submit
from tests.acceptance.ledger import of_institution
from tests.acceptance.questions import nik_of
from tests.acceptance.service import KNOWN_EVERYWHERE, Service
from tests.acceptance.windows import DAY, clear_of_turn
from tests.acceptance.wire import Answer, Connection

pytestmark = [pytest.mark.acceptance]

ABNORMAL: Final = (
    "https://iana.org/assignments/http-problem-types#abnormal-usage-detected"
)
WITHIN: Final = 50
SOON: Final = 10.0
# Whoever left Redis for PostgreSQL again and again stays there for up to a minute.
BACK: Final = 90.0


@pytest.fixture
async def workers(service: Service) -> AsyncIterator[list[Connection]]:
    """A connection to each worker."""
    async with AsyncExitStack() as opened:
        yield [
            await opened.enter_async_context(service.gateway.connection_to(pid))
            for pid in sorted(service.gateway.workers())
        ]


@pytest.fixture(autouse=True)
async def redis_counts(service: Service) -> None:
    """Limits are counted in Redis: elsewhere nothing is seen (docs/failures.md)."""
    async with asyncio.timeout(BACK):
        while True:
            metrics = (await service.ask("GET", "/metrics")).body.decode()
            if "\ngateway_limits_in_postgres 0.0\n" in metrics:
                return
            await asyncio.sleep(0.5)


async def fetch(worker: Connection, caller: Caller, nik: str) -> Answer:
    return await questions.fetch(caller, nik, ["name"]).put(worker)


async def scan(workers: list[Connection], caller: Caller) -> list[Answer]:
    """Serial after serial of one prefix, by the workers in turn, until it is refused."""
    answers: list[Answer] = []
    for serial in range(1, WITHIN + 1):
        worker = workers[serial % len(workers)]
        answers.append(await fetch(worker, caller, f"997701450190{serial:04d}"))
        if answers[-1].status == 429:
            break
    return answers


async def told_to_ops(service: Service, caller: Caller) -> list[dict[str, Any]]:
    answer = await service.ask("GET", "/ops/limits?limit=1", key=service.staff["ops"])
    told: list[dict[str, Any]] = answer.json["harvesting"]
    return [one for one in told if one["id"] == caller.institution]


async def stopped(service: Service, caller: Caller) -> dict[str, Any]:
    async with asyncio.timeout(SOON):
        while True:
            for told in await told_to_ops(service, caller):
                if told["step"] == "stop":
                    return told
            await asyncio.sleep(0.05)


async def test_who_walks_niks_is_stopped_until_a_person_lets_go(
    service: Service, workers: list[Connection]
) -> None:
    caller = service.newcomer()
    *answered, refused = await scan(workers, caller)
    assert {answer.status for answer in answered} == {404}
    # What became of an ask, another worker hears with the next one.
    assert len(answered) < LADDERS[Rule.MISSES_ALIKE][Step.STOP] + len(workers)
    assert (refused.status, refused.json["type"]) == (429, ABNORMAL)
    assert {"ratelimit", "ratelimit-policy", "access-id"} <= set(refused.headers)
    assert "retry-after" not in refused.headers

    told = await stopped(service, caller)
    assert (told["rule"], told["step"]) == ("misses-alike", "stop")
    await asyncio.sleep(KNOWN_EVERYWHERE)
    resident = nik_of(service.residents[7])
    for worker in workers:
        assert (await fetch(worker, caller, resident)).json["type"] == ABNORMAL
        account = await worker.ask("GET", "/v1/account", key=caller.key)
        assert account.status == 200
    job = await submit(service, caller, [claims(service, 7)])
    assert (job.status, job.json["type"]) == (429, ABNORMAL)
    await entered_and_charged(service, caller, len(answered))

    async with service.admin() as admin:
        await keeping.release_institution(admin, caller.institution)
    await asyncio.sleep(KNOWN_EVERYWHERE)
    for worker in workers:
        assert (await fetch(worker, caller, resident)).status == 200
    assert await told_to_ops(service, caller) == []


async def entered_and_charged(service: Service, caller: Caller, answered: int) -> None:
    """One entry each, named by its subject; the steps beside them name nobody."""
    entries = await of_institution(service.auditor_dsn, caller.institution)
    assert sum(one["charged"] for one in entries) == answered
    refused = [one for one in entries if one["reason"] == "abnormal-usage-detected"]
    assert [one["operation"] for one in refused] == ["fetch"] * 3 + ["job.submit"]
    assert all(one["subject"] for one in refused[:3])
    steps = [one for one in entries if one["operation"].startswith("harvest.")]
    assert [one["operation"] for one in steps][-1] == "harvest.stop"
    assert {one["subject"] for one in steps} == {None}


async def test_a_job_that_walks_niks_ends_before_it_is_answered(
    service: Service,
) -> None:
    caller = service.newcomer()
    items = [
        claims(service, number, nik=f"997702450190{number:04d}")
        for number in range(1, 41)
    ]
    submitted = await submit(service, caller, items)
    assert submitted.status == 202
    ended = await over(service, caller, submitted.json["id"])
    assert (ended["status"], ended["problem"]["type"]) == ("failed", ABNORMAL)
    assert ended["answered"] < len(items)
    entries = await of_institution(service.auditor_dsn, caller.institution)
    assert sum(one["charged"] for one in entries) == ended["answered"]
    assert await difference(service, caller) == []


async def test_five_different_claims_about_one_subject_are_answered_a_day(
    service: Service, workers: list[Connection]
) -> None:
    await clear_of_turn(DAY, seconds=30)
    caller, nik = service.newcomer(), nik_of(service.residents[8])

    async def guess(number: int) -> Answer:
        claimed = {"name": f"Nama {'ABCDEFGH'[number]}"}
        question = questions.verify(caller, nik, claimed, purpose="treatment")
        return await question.put(workers[number % len(workers)])

    assert [(await guess(number)).status for number in range(5)] == [200] * 5
    refused = await guess(5)
    assert (refused.status, refused.json["type"]) == (429, ABNORMAL)
    left = int(
        refused.headers["ratelimit"].split('"day";r=')[1].split("t=")[1].split(",")[0]
    )
    assert abs(int(refused.headers["retry-after"]) - left) <= 1
    assert (await guess(0)).status == 200
