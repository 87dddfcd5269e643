"""kill -9 of the process that forks workers: they end in order, and others come."""

import asyncio
import os
import signal
import time
from typing import Final

import psutil
import pytest

from tests.acceptance import questions
from tests.acceptance.ledger import of_institution
from tests.acceptance.questions import nik_of
from tests.acceptance.service import WORKERS, Service
from tests.faults.load import under_load

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("whole")]

# What a worker may take for the calls under way, and more.
ENDED_SECONDS: Final = 30.0


async def test_workers_whose_forker_is_killed_end_in_order_and_others_come(
    service: Service,
) -> None:
    caller = service.newcomer()
    question = questions.fetch(caller, nik_of(service.residents[7]), ["name"])
    async with under_load(service, lambda: question) as load:
        await load.first_success(after=0, within=5)
        before = [psutil.Process(pid) for pid in service.gateway.workers()]
        (forker,) = {worker.ppid() for worker in before}
        assert forker != service.gateway.pid
        os.kill(forker, signal.SIGKILL)
        waiting = asyncio.to_thread(psutil.wait_procs, before, ENDED_SECONDS)
        _, alive = await waiting
        assert not alive
        await load.first_success(after=time.monotonic(), within=ENDED_SECONDS)
    await service.gateway.ready(WORKERS)
    assert not service.gateway.workers() & {worker.pid for worker in before}
    entered = {
        one["access_id"]
        for one in await of_institution(service.auditor_dsn, caller.institution)
    }
    assert {one.answer.status for one in load.answered} == {200}
    assert {str(one.answer.access_id) for one in load.answered} <= entered
