"""What a repeated call is answered after something was lost on the way of the first."""

import asyncio
import os
import signal
import time
from typing import Final

import asyncpg
import pytest

from gateway.redis import open_server
from tests.acceptance import questions
from tests.acceptance.callers import Caller
from tests.acceptance.ledger import Entry, of_institution
from tests.acceptance.questions import nik_of
from tests.acceptance.service import LOG, Service
from tests.acceptance.wire import Answer, Connection, Lost
from tests.faults.breaking import answer_when, away

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("whole")]

KEY: Final = "8e03978e-40d5-43dd-bc93-6894a57f9324"
CLAIM_SECONDS: Final = 10.0
RECOVERED_SECONDS: Final = 5.0


async def ask(
    service: Service, caller: Caller, connection: Connection | None = None
) -> Answer:
    nik = nik_of(service.residents[7])
    question = questions.verify(caller, nik, {"birth_date": "1801-01-01"})
    return await (connection or service).ask(
        question.method,
        question.target,
        key=caller.key,
        json=question.json,
        headers={"Idempotency-Key": KEY},
    )


async def answered(service: Service, caller: Caller, *, within: float) -> Answer:
    return await answer_when(
        lambda: ask(service, caller),
        lambda answer: answer.status == 200,
        since=time.monotonic(),
        within=within,
    )


async def entries(service: Service, caller: Caller) -> list[Entry]:
    return await of_institution(service.auditor_dsn, caller.institution)


async def test_a_call_that_failed_for_want_of_the_registry_is_answered_when_repeated(
    service: Service,
) -> None:
    caller = service.newcomer()
    async with away(service.registry, "stopped"):
        failed = await ask(service, caller)
        # Told at once that it failed, not that it is in progress.
        again = await ask(service, caller)
    assert failed.reason == again.reason == "registry-unavailable"
    await answered(service, caller, within=RECOVERED_SECONDS)
    made = await entries(service, caller)
    assert [entry["charged"] for entry in made[:2]] == [0, 0]
    assert (made[-1]["charged"], made[-1]["replay_of"]) == (1, None)


async def test_a_repeated_call_is_not_charged_again_although_redis_lost_everything(
    service: Service,
) -> None:
    caller = service.newcomer()
    first = await ask(service, caller)
    async with open_server(service.valkey.url) as redis:
        await redis.flushall()
    assert (await answered(service, caller, within=1)).access_id != first.access_id
    made = await entries(service, caller)
    assert [entry["charged"] for entry in made] == [1, 0]
    assert made[-1]["replay_of"] == first.access_id


async def test_a_repeated_call_is_not_charged_again_although_postgresql_crashed(
    service: Service,
) -> None:
    caller = service.newcomer()
    first = await ask(service, caller)
    async with away(service.log, "stopped"):
        refused = await ask(service, caller)
    assert refused.reason == "audit-unavailable"
    assert refused.seconds < 1
    await answered(service, caller, within=RECOVERED_SECONDS)
    made = await entries(service, caller)
    assert [entry["charged"] for entry in made] == [1, 0]
    assert made[-1]["replay_of"] == first.access_id


@pytest.mark.slow
async def test_a_key_whose_worker_was_killed_is_free_once_its_claim_has_run_out(
    service: Service,
) -> None:
    caller = service.newcomer()
    victim, *_ = service.gateway.workers()
    async with (
        service.gateway.connection_to(victim) as connection,
        away(service.registry, "frozen"),
        asyncio.TaskGroup() as tasks,
    ):
        lost = tasks.create_task(is_lost(service, caller, connection))
        await asyncio.sleep(0.3)
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
    assert lost.result()
    told = await ask(service, caller)
    assert told.status == 409
    wait = int(told.headers["retry-after"])
    assert wait <= CLAIM_SECONDS
    await asyncio.sleep(wait)
    assert (await ask(service, caller)).status == 200
    assert time.monotonic() - began < CLAIM_SECONDS + RECOVERED_SECONDS
    made = await entries(service, caller)
    assert [entry["reason"] for entry in made] == ["idempotency-conflict", None]
    assert [entry["charged"] for entry in made] == [0, 1]


async def is_lost(service: Service, caller: Caller, connection: Connection) -> bool:
    try:
        await ask(service, caller, connection)
    except Lost:
        return True
    return False


async def test_after_24_hours_a_key_is_as_new(service: Service) -> None:
    caller = service.newcomer()
    await ask(service, caller)
    superuser = await asyncpg.connect(service.log.dsn(database=LOG))
    for minutes, charged in ((24 * 60 - 1, 0), (2, 1)):
        await superuser.execute(
            "UPDATE idempotency_answers SET batch = batch - ($2 * 60000::bigint << 21)"
            " WHERE institution = $1",
            caller.institution,
            minutes,
        )
        await superuser.execute("UPDATE idempotency_claims SET until = now()")
        assert (await ask(service, caller)).status == 200
        assert (await entries(service, caller))[-1]["charged"] == charged
    await superuser.close()
