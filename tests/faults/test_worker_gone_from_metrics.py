"""What a killed worker last said of its dependencies does not stay in the metrics."""

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.acceptance.service import WORKERS, Service

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("whole")]


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
