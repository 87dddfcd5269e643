"""What a killed worker last said does not stay in the metrics; that it died does."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Final

import psutil
import pytest

from gateway.working import BEGINNINGS
from tests.acceptance.metrics import metric
from tests.acceptance.service import WORKERS, Service

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("whole")]

RELOADED_SECONDS: Final = 30.0


def gauges(pid: int, folder: Path) -> list[Path]:
    return list(folder.glob(f"gauge_live*_{pid}.db"))


async def test_a_killed_workers_gauges_leave_the_metrics(service: Service) -> None:
    killed = min(service.gateway.workers())
    told = psutil.Process(killed).environ()["PROMETHEUS_MULTIPROC_DIR"]
    folder = Path(told)
    assert gauges(killed, folder)
    os.kill(killed, signal.SIGKILL)
    await asyncio.sleep(1)
    await service.gateway.ready(WORKERS)
    assert gauges(killed, folder) == []
    assert await starts(service) == {"start": WORKERS, "death": 1, "reload": 0}
    assert await metric(service, "gateway_workers") == WORKERS


@pytest.mark.slow
async def test_workers_that_are_replaced_one_by_one_are_not_counted_as_dead(
    service: Service,
) -> None:
    before = await starts(service)
    os.kill(service.gateway.pid, signal.SIGHUP)
    async with asyncio.timeout(RELOADED_SECONDS):
        while (told := await starts(service))["reload"] != WORKERS:
            assert told["death"] == before["death"]
            await asyncio.sleep(0.2)
        while len(service.gateway.workers()) > WORKERS:  # noqa: ASYNC110 - a process's end
            await asyncio.sleep(0.2)
    await service.gateway.ready(WORKERS)
    assert await starts(service) == {**before, "reload": WORKERS}
    assert await metric(service, "gateway_workers") == WORKERS


async def starts(service: Service) -> dict[str, float | None]:
    name = "gateway_worker_starts_total"
    return {one: await metric(service, name, after=one) for one in BEGINNINGS}
