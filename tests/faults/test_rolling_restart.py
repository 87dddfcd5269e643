"""A deploy under load: every call is answered, whoever of the gateway comes or goes."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import pytest

from gateway.serving import RELOAD_SECONDS
from tests.acceptance import questions
from tests.acceptance.ledger import of_institution
from tests.acceptance.questions import Question, nik_of
from tests.acceptance.service import WORKERS, Service
from tests.acceptance.serving import Gateway
from tests.faults.load import Load, under_load

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.slow,
    pytest.mark.usefixtures("whole"),
]

REPLACED_SECONDS: Final = 60.0


async def check_all_answered(service: Service, load: Load) -> None:
    """None was refused, lost or made twice."""
    assert Counter(one.answer.status for one in load.answered) == {
        200: len(load.answered)
    }
    assert not load.lost
    assert len(load.answered) == load.asked > 200
    caller = load.answered[0].question.caller
    assert caller is not None
    entered = await of_institution(service.auditor_dsn, caller.institution)
    ids = [entry["access_id"] for entry in entered]
    assert sorted(ids) == sorted(str(one.answer.access_id) for one in load.answered)


def asking(service: Service) -> Question:
    nik = nik_of(service.residents[12])
    return questions.fetch(service.newcomer(), nik, ["name", "village"])


async def replaced(gateway: Gateway, before: set[int]) -> None:
    deadline = time.monotonic() + REPLACED_SECONDS
    while gateway.workers() & before or len(gateway.workers()) < len(before):
        assert time.monotonic() < deadline, "the old workers are still there"
        await asyncio.sleep(0.05)


async def test_no_call_fails_while_all_workers_are_replaced(service: Service) -> None:
    question = asking(service)
    async with under_load(service, lambda: question) as load:
        await load.first_success(after=0, within=5)
        before = service.gateway.workers()
        assert len(before) == WORKERS
        os.kill(service.gateway.pid, signal.SIGHUP)
        await replaced(service.gateway, before)
        await load.first_success(after=time.monotonic(), within=5)
    await check_all_answered(service, load)


@contextmanager
def open_to_others(file: Path) -> Iterator[None]:
    file.chmod(0o644)
    try:
        yield
    finally:
        file.chmod(0o600)


async def test_a_reload_that_could_not_begin_leaves_all_as_it_was(
    service: Service,
) -> None:
    before = service.gateway.workers()
    with open_to_others(Path(service.environment["GATEWAY_PEPPER_FILE"])):
        os.kill(service.gateway.pid, signal.SIGHUP)
        deadline = time.monotonic() + REPLACED_SECONDS
        while "Not reloaded" not in service.gateway.log_file.read_text("utf-8"):
            assert time.monotonic() < deadline, "nobody says so"
            await asyncio.sleep(0.05)
        # Longer than a worker that is replaced goes on beside its successor.
        await asyncio.sleep(RELOAD_SECONDS + 1)
        assert service.gateway.workers() == before
    assert (await service.put(asking(service))).status == 200
    os.kill(service.gateway.pid, signal.SIGHUP)
    await replaced(service.gateway, before)


@asynccontextmanager
async def beside(service: Service, old: Gateway) -> AsyncIterator[Gateway]:
    """A gateway that listens where another does."""
    settings = {**service.environment, "GATEWAY_WORKERS": "1"}
    log_file = service.folder / "new-gateway.log"
    new = Gateway(settings, log_file, port=old.port)
    try:
        await new.ready(1)
        yield new
    finally:
        await asyncio.to_thread(new.stop)


async def test_no_call_fails_while_one_gateway_takes_anothers_place(
    service: Service,
) -> None:
    question = asking(service)
    async with service.second_gateway() as old:
        load = Load(old.port, lambda: question, float("inf"))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(16):
                tasks.create_task(load.keep_asking())
            await load.first_success(after=0, within=5)
            async with beside(service, old):
                await asyncio.to_thread(old.stop)
                await load.first_success(after=time.monotonic(), within=5)
                load.ending = True
                while load.in_flight:  # noqa: ASYNC110 - no event counts calls
                    await asyncio.sleep(0.01)
    await check_all_answered(service, load)
