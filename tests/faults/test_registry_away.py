"""The registry gone, or there and answering nothing."""

import asyncio
import time
from typing import Final

import pytest

from tests.acceptance import questions
from tests.acceptance.callers import Caller
from tests.acceptance.ledger import differences, of_institution
from tests.acceptance.metrics import metric
from tests.acceptance.questions import Question, nik_of
from tests.acceptance.service import Service
from tests.faults.breaking import WAYS, How, answer_when, away
from tests.faults.load import Answered, Load, under_load

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("whole")]

DEADLINE: Final = 2.0
# Giving the charge back, the entry, HTTP and the test's own loop come on top.
SLACK: Final = 0.35
NOT_READY_SECONDS: Final = 2.0
RECOVERED_SECONDS: Final = 5.0
UNHARMED_SECONDS: Final = 0.5


@pytest.mark.parametrize("how", WAYS)
async def test_without_the_registry_nothing_is_charged_and_other_routes_are_unharmed(
    service: Service, how: How
) -> None:
    caller = service.newcomer()

    def ask() -> Question:
        return questions.fetch(caller, nik_of(service.residents[5]), ["name"])

    async with away(service.registry, how):
        gone = time.monotonic()
        left_before = await quota_left(service, caller)
        async with under_load(service, ask, callers=8) as load:
            await answer_when(
                lambda: service.ask("GET", "/health/ready"),
                lambda a: a.status == 503 and a.json["degraded"] == ["registry"],
                since=gone,
                within=NOT_READY_SECONDS,
            )
            # The metric is as of the last probe of any dependency.
            while await metric(service, "gateway_ready", process="worker") != 0:
                assert time.monotonic() < gone + 2 * NOT_READY_SECONDS
                await asyncio.sleep(0.1)
            await check_other_routes(service, caller)
            await asyncio.sleep(gone + 5 - time.monotonic())
            still_gone = time.monotonic()
        # Every call has ended by now, those that were given back included.
        assert await quota_left(service, caller) == left_before
    back = time.monotonic()
    check_refused(load, gone, still_gone)
    await check_entries(service, load.answered, caller)
    await answer_when(
        lambda: service.ask("POST", "/v1/fetch", key=caller.key, json=ask().json),
        lambda answer: answer.status == 200,
        since=back,
        within=RECOVERED_SECONDS,
    )


def check_refused(load: Load, gone: float, back: float) -> None:
    meanwhile = load.sent_between(gone, back - DEADLINE - SLACK)
    assert len(meanwhile) >= 8
    assert not load.lost
    for one in meanwhile:
        assert one.answer.status == 503
        assert one.answer.reason == "registry-unavailable"
        assert one.answer.seconds <= DEADLINE + SLACK


async def check_other_routes(service: Service, caller: Caller) -> None:
    for target, key in (
        ("/v1/account", caller.key),
        ("/audit/entries?reason=registry%20away", service.staff["auditor"]),
    ):
        answer = await service.ask("GET", target, key=key)
        assert answer.status == 200
        assert answer.seconds < UNHARMED_SECONDS


async def check_entries(
    service: Service, answered: list[Answered], caller: Caller
) -> None:
    entered = await of_institution(service.auditor_dsn, caller.institution)
    by_id = {entry["access_id"]: entry for entry in entered}
    assert answered
    for one in answered:
        expected = questions.entry_of(one.question, one.answer, service.subjects)
        assert not differences(expected, by_id[one.answer.access_id])
    assert all(entry["charged"] == 0 for entry in entered)


async def quota_left(service: Service, caller: Caller) -> list[int]:
    """What is left of the day and of the month; asking costs neither."""
    account = await service.ask("GET", "/v1/account", key=caller.key)
    assert account.status == 200
    return [limit["remaining"] for limit in account.json["limits"][1:]]
