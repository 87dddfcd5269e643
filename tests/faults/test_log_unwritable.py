"""PostgreSQL answers, but takes no entry: read-only, or blocked by a lock."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
import pytest

from gateway.embedded.passage import Lost, Passage
from tests.acceptance import questions
from tests.acceptance.callers import Caller
from tests.acceptance.ledger import of_institution
from tests.acceptance.questions import Question, nik_of
from tests.acceptance.service import LOG, Service
from tests.acceptance.wire import Answer
from tests.faults.breaking import account_once_back, answer_when
from tests.faults.load import Load, under_load

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("whole")]

ANSWER_SECONDS: Final = 1.0
SLACK: Final = 0.25
NOT_READY_SECONDS: Final = 2.0
FIRST_SUCCESS_SECONDS: Final = 5.0


@asynccontextmanager
async def superuser(
    service: Service,
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(service.log.dsn(database=LOG))
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def read_only(service: Service) -> AsyncIterator[None]:
    """As a standby after a failover would be."""
    async with superuser(service) as connection:
        await connection.execute("SET default_transaction_read_only = off")
        setting = "ALTER SYSTEM SET default_transaction_read_only"
        await connection.execute(f"{setting} = on")
        await connection.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            await connection.execute(f"{setting} = off")
            await connection.execute("SELECT pg_reload_conf()")


@asynccontextmanager
async def locked(service: Service) -> AsyncIterator[None]:
    """Every INSERT waits, as it would behind a careless migration."""
    async with superuser(service) as connection, connection.transaction():
        await connection.execute("LOCK TABLE entries IN ACCESS EXCLUSIVE MODE")
        yield


def asking(service: Service, caller: Caller) -> Question:
    return questions.fetch(caller, nik_of(service.residents[6]), ["name", "address"])


def check_refused(load: Load, gone: float, back: float) -> None:
    meanwhile = load.sent_between(gone, back - ANSWER_SECONDS - SLACK)
    assert len(meanwhile) > 8
    for one in meanwhile:
        assert (one.answer.status, one.answer.reason) == (503, "audit-unavailable")
        assert one.answer.access_id is None
        assert "resident" not in one.answer.json
    assert max(one.answer.seconds for one in load.answered) <= ANSWER_SECONDS + SLACK
    assert {one.answer.status for one in load.answered} == {200, 503}
    assert not load.lost


async def check_entries(service: Service, load: Load, caller: Caller) -> int:
    """Every answer with data has its entry; gives the number of entries without one."""
    entered = await of_institution(service.auditor_dsn, caller.institution)
    ids = {entry["access_id"] for entry in entered}
    assert len(ids) == len(entered)
    given = {one.answer.access_id for one in load.answered if one.answer.status == 200}
    assert given <= ids
    return len(ids - given)


async def day_used(service: Service, caller: Caller) -> int:
    within = FIRST_SUCCESS_SECONDS
    account = await account_once_back(service, caller, within=within)
    day = account["limits"][1]
    used: int = day["quota"] - day["remaining"]
    return used


async def test_while_the_log_is_read_only_nothing_is_released_or_charged(
    service: Service,
) -> None:
    caller = service.newcomer()
    async with under_load(service, lambda: asking(service, caller), callers=8) as load:
        await load.first_success(after=0, within=5)
        async with read_only(service):
            await asyncio.sleep(0.3)
            gone = time.monotonic()
            await answer_when(
                lambda: service.ask("GET", "/health/ready"),
                lambda a: a.status == 503 and a.json["degraded"] == ["postgres"],
                since=gone,
                within=NOT_READY_SECONDS,
            )
            await asyncio.sleep(2)
            still_gone = time.monotonic()
        back = time.monotonic()
        seconds = await load.first_success(after=back, within=FIRST_SUCCESS_SECONDS)
        assert seconds <= FIRST_SUCCESS_SECONDS
    check_refused(load, gone, still_gone)
    assert await check_entries(service, load, caller) == 0
    disclosed = sum(one.answer.status == 200 for one in load.answered)
    assert await day_used(service, caller) == disclosed


async def test_a_log_that_takes_longer_than_a_second_releases_nothing(
    service: Service,
) -> None:
    caller = service.newcomer()
    # Has its counters made from the log, which the lock would keep a first call from.
    await account_once_back(service, caller, within=FIRST_SUCCESS_SECONDS)
    async with under_load(service, lambda: asking(service, caller), callers=8) as load:
        await load.first_success(after=0, within=5)
        async with locked(service):
            gone = time.monotonic()
            await asyncio.sleep(4)
            still_gone = time.monotonic()
        back = time.monotonic()
        seconds = await load.first_success(after=back, within=FIRST_SUCCESS_SECONDS)
        assert seconds <= FIRST_SUCCESS_SECONDS
        await asyncio.sleep(1)
    check_refused(load, gone, still_gone)
    refused = sum(one.answer.status == 503 for one in load.answered)
    unanswered = await check_entries(service, load, caller)
    # The server may yet commit what it was sent: the log decides on its charge.
    assert unanswered <= refused
    entered = await of_institution(service.auditor_dsn, caller.institution)
    billable = sum(entry["charged"] for entry in entered)
    assert billable <= await day_used(service, caller) <= billable + refused


@asynccontextmanager
async def beside(
    service: Service, caller: Caller
) -> AsyncIterator[tuple[Passage, Load]]:
    """Another gateway, whose way to the log can be cut off, under load of its own."""
    port = service.log.port
    async with Passage(port).open() as way:
        straight = service.environment["GATEWAY_POSTGRES_DSN"]
        dsn = straight.replace(f":{port}/", f":{way.port}/")
        async with service.second_gateway(GATEWAY_POSTGRES_DSN=dsn) as gateway:
            load = Load(gateway.port, lambda: asking(service, caller), float("inf"))
            async with asyncio.TaskGroup() as tasks:
                for _ in range(8):
                    tasks.create_task(load.keep_asking())
                await load.first_success(after=0, within=5)
                try:
                    yield way, load
                finally:
                    load.ending = True


def worst(load: Load) -> Answer:
    """The answer with the highest status so far."""
    return max((one.answer for one in load.answered), key=lambda one: one.status)


@pytest.mark.parametrize(
    "lost", ["answer", pytest.param("question", marks=pytest.mark.slow)]
)
async def test_a_commit_that_is_cut_off_releases_nothing_and_its_charge_stays(
    service: Service, lost: Lost
) -> None:
    caller = service.newcomer()
    async with beside(service, caller) as (way, load):
        assert way.lose(lost, of=b"gateway-journal") == 1
        await answer_when(
            lambda: asyncio.sleep(0, worst(load)),
            lambda answer: answer.status == 503,
            since=time.monotonic(),
            within=ANSWER_SECONDS + SLACK,
        )
        back = time.monotonic()
        seconds = await load.first_success(after=back, within=FIRST_SUCCESS_SECONDS)
        assert seconds <= FIRST_SUCCESS_SECONDS
    refused = [one.answer for one in load.answered if one.answer.status == 503]
    assert {one.reason for one in refused} == {"audit-unavailable"}
    assert not any("resident" in one.json for one in refused)
    assert max(one.answer.seconds for one in load.answered) <= ANSWER_SECONDS + SLACK
    assert not load.lost
    unanswered = await check_entries(service, load, caller)
    # Of one flush at most: the calls after it ended at their beginning.
    assert 1 <= unanswered <= 8 if lost == "answer" else unanswered == 0
    disclosed = len(load.answered) - len(refused)
    used = await day_used(service, caller)
    assert disclosed + max(1, unanswered) <= used <= disclosed + 8
