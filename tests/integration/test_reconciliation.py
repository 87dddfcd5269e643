"""Counters and the log: counters come from it, and what differs is named."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.audit.charges import Charges
from gateway.clock import SECOND, from_datetime
from gateway.postgres import Connection, Pool, pool
from gateway.quota import reconciliation
from gateway.quota.limit import DAY, day_end, month_begin
from gateway.quota.reconciliation import Difference, reconcile
from gateway.quota.script import state_key
from gateway.vocabulary import Limits, Outcome
from tests.conftest import Database
from tests.integration import logs
from tests.integration.limiting import limiter_of

pytestmark = pytest.mark.integration

KEY = 1
LIMITS = Limits(rate=1_000, burst=1_000, day=50, month=1_000)
SLOW = Limits(rate=1, burst=20, day=1_000, month=1_000)


@pytest.fixture
async def auditor(
    database: Database, superuser: Connection, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Pool]:
    await logs.make_key(superuser)
    monkeypatch.setattr(reconciliation, "PAUSE", 0.0)
    dsn = database.dsn("auditor")
    async with pool(dsn, name="test", size=2, statement_seconds=9) as auditor:
        yield auditor


async def now_of(connection: Connection) -> int:
    return from_datetime(await connection.fetchval("SELECT clock_timestamp()"))


async def write_answers(hot: Connection, at: int, institution: int, units: int) -> None:
    await logs.write(hot, [logs.answer(at + n, institution) for n in range(units)])


@pytest.mark.usefixtures("auditor")
async def test_counters_that_are_not_there_are_made_from_the_log(
    redis: Redis, database: Database, hot: Connection
) -> None:
    now = await now_of(hot) - SECOND
    await write_answers(hot, now, 1, 7)
    # Sealed and not, with what costs nothing: refused, and charged to another.
    await logs.seal(database)
    await write_answers(hot, now, 1, 5)
    await logs.write(hot, [logs.refusal(now, 1), logs.answer(now, 2)])
    async with limiter_of(redis, database) as limiter:
        decision = await limiter.admit(1, KEY, LIMITS)
        other = await limiter.admit(2, KEY, LIMITS)
        nobody = await limiter.admit(3, KEY, LIMITS)
    used = [(d.state.day_used, d.state.month_used) for d in (decision, other, nobody)]
    assert used == [(13, 13), (2, 2), (1, 1)]


@pytest.mark.usefixtures("auditor")
async def test_a_burst_that_was_spent_is_not_there_again_once_counters_are_lost(
    redis: Redis, database: Database, hot: Connection
) -> None:
    await write_answers(hot, await now_of(hot) - SECOND, 1, 18)
    async with limiter_of(redis, database) as limiter:
        decisions = [await limiter.admit(1, KEY, SLOW) for _ in range(6)]
    admitted = [decision.admitted for decision in decisions]
    # 20 less 18, and one for each second since; never a whole burst.
    assert admitted.count(True) in {2, 3, 4}
    assert admitted == sorted(admitted, reverse=True)


@pytest.mark.usefixtures("auditor")
async def test_a_unit_spent_before_the_loss_is_not_given_back_after_it(
    redis: Redis, database: Database
) -> None:
    async with limiter_of(redis, database) as limiter:
        before = await limiter.admit(1, KEY, LIMITS)
        await redis.flushall()
        after = await limiter.admit(1, KEY, LIMITS)
        assert after.generation != before.generation
        assert await limiter.give_back(1, before) is None
        again = await limiter.admit(1, KEY, LIMITS)
    assert again.state.day_used == 2


async def test_charges_are_those_of_the_days_and_months_in_which_they_were_made(
    auditor: Pool, database: Database, hot: Connection
) -> None:
    now = await now_of(hot)
    today, this_month = day_end(now) - DAY, month_begin(now)
    instants = [today - SECOND, today, this_month - SECOND, this_month, now - SECOND]
    for at in instants:
        await logs.write(hot, [logs.answer(at, 1, Outcome.NOT_FOUND)])
    expected = (
        sum(at >= today for at in instants),
        sum(at >= this_month for at in instants),
    )
    charges = Charges(auditor)
    assert await charges.charged([1, 2], this_month, today) == {1: expected}
    await logs.seal(database)
    await logs.roll_up(database)
    assert await charges.charged([1, 2], this_month, today) == {1: expected}


async def test_there_is_no_difference_in_health_and_a_forced_one_is_named(
    redis: Redis,
    auditor: Pool,
    database: Database,
    hot: Connection,
) -> None:
    now = await now_of(hot) - SECOND
    await write_answers(hot, now, 1, 4)
    async with limiter_of(redis, database) as limiter:
        await limiter.peek(1, LIMITS)
        ledger = Charges(auditor)
        assert await reconcile(redis, auditor, ledger) == (1, [])
        call: Callable[..., Awaitable[Any]] = redis.execute_command
        await call("HINCRBY", state_key(1), "day_used", 3)
        found = await reconcile(redis, auditor, ledger)
        assert found.differences == [Difference(1, 7, 4, 4, 4)]
        # Of an older generation, they are nobody's counters.
        await redis.flushall()
        assert await reconcile(redis, auditor, ledger) == (0, [])


async def test_what_was_in_flight_is_no_difference(
    redis: Redis,
    auditor: Pool,
    database: Database,
    hot: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconciliation, "PAUSE", 0.5)
    async with limiter_of(redis, database) as limiter:
        await limiter.admit(1, KEY, LIMITS)
        looking = asyncio.ensure_future(reconcile(redis, auditor, Charges(auditor)))
        await asyncio.sleep(0.2)
        await write_answers(hot, await now_of(hot), 1, 1)
        assert await looking == (1, [])
