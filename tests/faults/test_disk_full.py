"""The log's disk fills up: it is told, then nothing more is taken, then all goes on."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from gateway.embedded.faults import filled
from gateway.embedded.stage import small_disk
from tests.acceptance import questions
from tests.acceptance.ledger import of_institution
from tests.acceptance.metrics import metric
from tests.acceptance.questions import Question, nik_of
from tests.acceptance.service import LOG, Service, running
from tests.faults.breaking import account_once_back, answer_when
from tests.faults.load import Load, under_load

pytestmark = [pytest.mark.acceptance]

TOLD_SECONDS: Final = 2.0
FIRST_SUCCESS_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 1.0
SLACK: Final = 0.25


@pytest.fixture(scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """With the log on a disk of its own."""
    folder = tmp_path_factory.mktemp("service")
    with small_disk(folder / "disk") as disk:
        if disk is None:
            pytest.skip("this process may not mount a file system (root may)")
        async with running(
            folder, residents=1000, newcomers=1, log_disk=disk
        ) as service:
            yield service


async def told(service: Service, status: int, *degraded: str) -> None:
    """Within two seconds every worker that is asked says so."""
    await answer_when(
        lambda: service.ask("GET", "/health/ready"),
        lambda a: (a.status, a.json["degraded"]) == (status, [*degraded]),
        since=time.monotonic(),
        within=TOLD_SECONDS,
    )


async def test_what_fills_the_disk_is_told_and_then_refused_and_the_log_lives(
    service: Service,
) -> None:
    disk, caller = Path(service.environment["GATEWAY_LOG_DISK"]), service.newcomer()
    nik = nik_of(service.residents[4])

    def ask() -> Question:
        return questions.fetch(caller, nik, ["name", "address"])

    log = await asyncpg.connect(service.log.dsn(database=LOG))
    async with under_load(service, ask, callers=8) as load:
        await load.first_success(after=0, within=5)
        with filled(disk, free=0.15):
            await told(service, 200, "disk-filling")
            began = time.monotonic()
            await load.first_success(after=began, within=1)
            still = time.monotonic()
        assert {one.answer.status for one in load.sent_between(began, still)} == {
            200
        }, "it was refused too early"
        with filled(disk, free=0.04):
            full = time.monotonic()
            await told(service, 503, "disk-full")
            # As long as every worker may take to see it.
            await asyncio.sleep(full + TOLD_SECONDS - time.monotonic())
            surely_full = time.monotonic()
            await asyncio.sleep(2)
            still_full = time.monotonic()
        back = time.monotonic()
        seconds = await load.first_success(after=back, within=FIRST_SUCCESS_SECONDS)
        assert seconds <= FIRST_SUCCESS_SECONDS
        await told(service, 200)
    check_refused(load, surely_full, still_full)
    # The same session: it never stopped.
    assert await log.fetchval("SELECT 1") == 1
    await log.close()
    await check_entries(service, load)


def check_refused(load: Load, full: float, still_full: float) -> None:
    meanwhile = load.sent_between(full, still_full - SLACK)
    assert len(meanwhile) > 8
    for one in meanwhile:
        assert (one.answer.status, one.answer.reason) == (503, "audit-unavailable")
        assert "resident" not in one.answer.json
    assert max(one.answer.seconds for one in meanwhile) <= ANSWER_SECONDS + SLACK
    assert {one.answer.status for one in load.answered} == {200, 503}
    assert not load.lost


async def check_entries(service: Service, load: Load) -> None:
    """Every answer with data has its entry, and nothing else was charged."""
    (first, *_) = load.answered
    caller = first.question.caller
    assert caller is not None
    entered = await of_institution(service.auditor_dsn, caller.institution)
    given = {one.answer.access_id for one in load.answered if one.answer.status == 200}
    assert {entry["access_id"] for entry in entered} == given
    account = await account_once_back(service, caller, within=FIRST_SUCCESS_SECONDS)
    day = account["limits"][1]
    assert day["quota"] - day["remaining"] == len(given)


async def test_the_free_share_is_a_metric(service: Service) -> None:
    disk = os.statvfs(service.environment["GATEWAY_LOG_DISK"])
    free = pytest.approx(disk.f_bavail / disk.f_blocks, abs=0.05)
    name = "gateway_log_disk_free_ratio"
    # The least that a worker saw: the last to look may have looked while it was full.
    until = time.monotonic() + TOLD_SECONDS
    while (found := await metric(service, name, disk="log")) != free:
        assert time.monotonic() < until, f"still {found}"
        await asyncio.sleep(0.05)
