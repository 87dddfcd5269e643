"""PostgreSQL with the log gone, or there and answering nothing."""

import asyncio
import time
from typing import Final

import pytest

from gateway.redis import open_server
from tests.acceptance import questions
from tests.acceptance.ledger import differences, entries
from tests.acceptance.metrics import metric
from tests.acceptance.questions import Question, nik_of
from tests.acceptance.service import WORKERS, Service
from tests.faults.breaking import WAYS, How, account_once_back, answer_when, away
from tests.faults.load import Load, under_load

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("whole")]

# The contract's numbers, and what the test's own loop may add on a busy machine.
LOADED_SECONDS: Final = 1.5
ANSWER_SECONDS: Final = 1.0
SLACK: Final = 0.25
NOT_READY_SECONDS: Final = 2.0
FIRST_SUCCESS_SECONDS: Final = 5.0
REASONS: Final = {"audit-unavailable", "temporary-reduced-capacity"}


@pytest.mark.parametrize("how", WAYS)
async def test_without_the_log_no_data_leaves_and_service_returns_by_itself(
    service: Service, how: How
) -> None:
    caller = service.newcomer()
    resident = service.residents[7]

    def ask() -> Question:
        return questions.fetch(caller, nik_of(resident), ["name", "address"])

    async with under_load(service, ask) as load:
        await load.first_success(after=0, within=5)
        # On every worker: who waits for his counters when the log hangs waits longer.
        await asyncio.sleep(LOADED_SECONDS)
        gone = time.monotonic()
        async with away(service.log, how):
            surely_gone = time.monotonic()
            await answer_when(
                lambda: service.ask("GET", "/health/ready"),
                lambda answer: answer.status == 503,
                since=gone,
                within=NOT_READY_SECONDS,
            )
            await asyncio.sleep(surely_gone + 4 - time.monotonic())
            still_gone = time.monotonic()
        back = time.monotonic()
        seconds = await load.first_success(after=back, within=FIRST_SUCCESS_SECONDS)
        assert seconds <= FIRST_SUCCESS_SECONDS
        await asyncio.sleep(0.5)
    check_refused(load, surely_gone, still_gone)
    await check_entries(service, load)
    await answer_when(
        lambda: service.ask("GET", "/health/ready"),
        lambda answer: answer.status == 200,
        since=time.monotonic(),
        within=FIRST_SUCCESS_SECONDS,
    )


def check_refused(load: Load, gone: float, back: float) -> None:
    meanwhile = load.sent_between(gone, back - ANSWER_SECONDS - SLACK)
    assert len(meanwhile) > 16, "nobody was answered"
    for one in meanwhile:
        assert one.answer.status == 503, one.answer
        assert one.answer.reason in REASONS
        assert "resident" not in one.answer.json
    assert not load.lost, "a call was left without an answer"
    slowest = max(one.answer.seconds for one in load.answered)
    assert slowest <= ANSWER_SECONDS + SLACK
    assert {one.answer.status for one in load.answered} == {200, 503}


async def check_entries(service: Service, load: Load) -> None:
    entered = await entries(service.auditor_dsn)
    by_id = {entry["access_id"]: entry for entry in entered}
    assert len(by_id) == len(entered)
    for one in load.answered:
        if one.answer.access_id is None:
            assert one.answer.status == 503
            continue
        expected = questions.entry_of(one.question, one.answer, service.subjects)
        if one.answer.status == 503:
            # While the directory is out of date nobody is identified.
            known = ("access_id", "operation", "outcome", "reason", "charged")
            expected = {member: expected[member] for member in known}
        assert not differences(expected, by_id[one.answer.access_id])


async def test_a_call_whose_counters_are_to_be_made_from_a_log_that_hangs_is_told_soon(
    service: Service,
) -> None:
    caller = service.newcomer()
    question = questions.fetch(caller, nik_of(service.residents[9]), ["name"])
    assert (await service.put(question)).status == 200
    async with open_server(service.valkey.url) as redis:
        await redis.flushall()
    async with away(service.log, "frozen"):
        told = await service.put(question)
    assert (told.status, told.reason) == (503, "audit-unavailable")
    assert told.seconds <= ANSWER_SECONDS + SLACK
    account = await account_once_back(service, caller, within=FIRST_SUCCESS_SECONDS)
    day = account["limits"][1]
    assert day["quota"] - day["remaining"] == 1


async def test_jobs_and_receipts_are_refused_soon_by_a_log_that_hangs(
    service: Service,
) -> None:
    caller = service.newcomer()
    question = questions.fetch(caller, nik_of(service.residents[9]), ["name"])
    access = (await service.put(question)).access_id
    job = "0199a7b0-3c00-7f8f-9e1e-a29f2d343427"
    line = b'{"id": "1", "nik": "%s", "fields": ["name"]}' % nik_of(
        service.residents[9]
    ).encode("ascii")
    headers = {"Content-Type": "application/x-ndjson"}
    target = "/v1/jobs?operation=fetch&purpose=treatment"
    async with away(service.log, "frozen"), asyncio.TaskGroup() as tasks:
        asked = [
            tasks.create_task(service.ask("GET", path, key=caller.key))
            for path in (f"/v1/receipts/{access}", f"/v1/jobs/{job}")
        ]
        asked.append(
            tasks.create_task(
                service.ask("POST", target, key=caller.key, headers=headers, body=line)
            )
        )
        told = [await one for one in asked]
    for answer in told:
        assert answer.status == 503
        assert answer.reason in REASONS
        assert answer.seconds <= ANSWER_SECONDS + SLACK


async def test_a_call_refused_while_the_log_is_away_is_not_charged(
    service: Service,
) -> None:
    caller = service.newcomer()
    question = questions.fetch(caller, nik_of(service.residents[8]), ["name"])
    assert (await service.put(question)).status == 200
    before = await failed(service)
    async with away(service.log, "stopped"):
        for _ in range(20):
            assert (await service.put(question)).status == 503
        # Whatever its entry would have said: an alert counts by how a call ended.
        assert await failed(service) == before + 20
    account = await account_once_back(service, caller, within=FIRST_SUCCESS_SECONDS)
    day = account["limits"][1]
    # A worker's first flush may have been under way when the log went: its fate only
    # the log knows, so its charge stays.
    assert 1 <= day["quota"] - day["remaining"] <= 1 + WORKERS


async def failed(service: Service) -> float:
    """Fetches that the metrics say failed for want of the log."""
    told = [
        await metric(
            service,
            "gateway_calls_total",
            operation="fetch",
            outcome="failed",
            reason=reason,
        )
        for reason in REASONS
    ]
    return sum(one or 0 for one in told)


async def test_without_the_log_its_public_face_says_so(service: Service) -> None:
    async with away(service.log, "stopped"):
        told = await answer_when(
            lambda: service.ask("GET", "/log/checkpoint"),
            lambda answer: answer.status != 200,
            since=time.monotonic(),
            within=NOT_READY_SECONDS,
        )
    assert (told.status, told.reason) == (503, "audit-unavailable")
