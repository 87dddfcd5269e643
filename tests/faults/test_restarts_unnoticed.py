"""A server restarted while nobody called: the calls after it do not pay for it."""

import asyncio
from collections import Counter
from typing import Final

import pytest

from gateway.embedded.postgres import PostgresServer
from gateway.embedded.valkey import ValkeyServer
from tests.acceptance import questions
from tests.acceptance.questions import nik_of
from tests.acceptance.service import Service
from tests.acceptance.wire import Answer
from tests.faults.breaking import away

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.slow,
    pytest.mark.usefixtures("whole"),
]

PARALLEL: Final = 50
# The contract lets the gateway be itself again within 2 s of Redis, 5 s of the log.
BACK_TO_NORMAL: Final = 5.0


async def call_in_parallel(service: Service) -> Counter[tuple[int, str | None]]:
    """Fifty calls at once over connections of their own, on all workers."""
    caller = service.newcomer()
    question = questions.fetch(caller, nik_of(service.residents[11]), ["name"])
    async with asyncio.TaskGroup() as tasks:
        calls = [tasks.create_task(service.put(question)) for _ in range(PARALLEL)]
    answers: list[Answer] = [call.result() for call in calls]
    return Counter((answer.status, answer.reason) for answer in answers)


@pytest.mark.parametrize("which", ["valkey", "log", "registry"])
async def test_no_call_fails_for_a_restart_that_was_over_before_it(
    service: Service, which: str
) -> None:
    assert await call_in_parallel(service) == {(200, None): PARALLEL}
    servers: dict[str, PostgresServer | ValkeyServer] = {
        "log": service.log,
        "registry": service.registry,
        "valkey": service.valkey,
    }
    async with away(servers[which], "stopped"):
        pass
    await asyncio.sleep(BACK_TO_NORMAL)
    assert await call_in_parallel(service) == {(200, None): PARALLEL}
