"""Valkey gone, or there and answering nothing."""

import asyncio
import time
from typing import Final

import pytest

from tests.acceptance import questions
from tests.acceptance.callers import Caller
from tests.acceptance.ledger import differences, of_institution
from tests.acceptance.questions import Question, nik_of
from tests.acceptance.service import Service
from tests.faults.breaking import WAYS, How, account_once_back, answer_when, away
from tests.faults.load import Load, under_load

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("whole")]

NOTICED_SECONDS: Final = 0.25
# The entry of the failed call, HTTP and the test's own loop come on top.
SLACK: Final = 0.2
DEGRADED_SECONDS: Final = 2.0
NORMAL_SECONDS: Final = 2.0


@pytest.mark.parametrize("how", WAYS)
async def test_without_redis_calls_end_at_once_as_failed_and_service_returns_by_itself(
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
            ready = await service.ask("GET", "/health/ready")
            assert ready.status == 200
            await asyncio.sleep(1)
            still_gone = time.monotonic()
        back = time.monotonic()
        seconds = await load.first_success(after=back, within=NORMAL_SECONDS)
        assert seconds <= NORMAL_SECONDS
        await asyncio.sleep(0.5)
    check_failed(load, surely_gone, still_gone)
    await check_entries(service, load, caller)


def check_failed(load: Load, gone: float, back: float) -> None:
    meanwhile = load.sent_between(gone, back - NOTICED_SECONDS - SLACK)
    assert len(meanwhile) > 8
    for one in meanwhile:
        assert one.answer.reason == "temporary-reduced-capacity", one.answer
        assert one.answer.status == 503
        assert one.answer.seconds <= NOTICED_SECONDS + SLACK
    assert {one.answer.status for one in load.answered} == {200, 503}
    assert not load.lost


async def check_entries(service: Service, load: Load, caller: Caller) -> None:
    entered = await of_institution(service.auditor_dsn, caller.institution)
    by_id = {entry["access_id"]: entry for entry in entered}
    for one in load.answered:
        assert one.answer.access_id is not None
        expected = questions.entry_of(one.question, one.answer, service.subjects)
        assert not differences(expected, by_id[one.answer.access_id])


async def test_without_redis_auditors_still_read_the_log(service: Service) -> None:
    async with away(service.valkey, "frozen"):
        answer = await service.ask(
            "GET",
            "/audit/entries?reason=while%20redis%20is%20away",
            key=service.staff["auditor"],
        )
        assert answer.status == 200
        assert answer.seconds < 1


async def test_a_counter_is_not_lowered_by_a_restart_of_redis(
    service: Service,
) -> None:
    caller = service.newcomer()
    nik = nik_of(service.residents[4])
    question = questions.verify(caller, nik, {"birth_date": "1801-01-01"})
    for _ in range(10):
        await service.ask("POST", "/v1/verify", key=caller.key, json=question.json)
    # What is appended is on disk within a second.
    await asyncio.sleep(1.2)
    async with away(service.valkey, "stopped"):
        pass
    account = await account_once_back(service, caller, within=NORMAL_SECONDS)
    day = account["limits"][1]
    assert day["quota"] - day["remaining"] == 10
