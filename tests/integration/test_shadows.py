"""Limits in shadow, counted in Redis and in PostgreSQL: told, and deciding nothing."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import asyncpg
import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from structlog.testing import capture_logs

from gateway.clock import SECOND, ServerClock, from_datetime
from gateway.embedded.valkey import ValkeyServer
from gateway.postgres import Connection
from gateway.quota.limit import REFUSALS_A_MINUTE, Decision, day_end
from gateway.quota.limiter import Limiter
from gateway.quota.overview import Order, Overview
from gateway.quota.script import shadow_key, state_key
from gateway.quota.tally import Refused
from gateway.redis import open_server
from gateway.vocabulary import Limits, Shadow
from tests.conftest import Database
from tests.integration import logs
from tests.integration.limiting import limiter_of

pytestmark = pytest.mark.integration

KEY = 7
LIMITS = Limits(rate=1_000_000, burst=10_000, day=100, month=1_000)
SINCE = 1_764_060_000_123_456
SHADOW = Shadow(LIMITS._replace(day=10), SINCE)
Place = Literal["redis", "postgresql"]
PLACES: tuple[Place, ...] = ("redis", "postgresql")


@asynccontextmanager
async def counting_in(
    place: Place, redis: Redis, database: Database
) -> AsyncIterator[Limiter]:
    if place == "postgresql":
        await leave_redis(database)
    clock = ServerClock()
    seconds, micros = await redis.time()
    clock.observe(seconds * SECOND + micros)
    async with limiter_of(redis, database, clock) as limiter:
        yield limiter


async def leave_redis(database: Database) -> None:
    """Long enough ago that PostgreSQL counts by now."""
    hot = await asyncpg.connect(database.dsn("hot"))
    await hot.execute(
        "UPDATE quota_epoch SET epoch = epoch + 1, since = now() - interval '1 minute'"
    )
    await hot.close()


async def spend(
    limiter: Limiter, calls: int, shadow: Shadow | None = SHADOW, institution: int = 1
) -> list[Decision]:
    asks = (
        limiter.admit(institution, KEY, LIMITS, shadow=shadow) for _ in range(calls)
    )
    return list(await asyncio.gather(*asks))


def would_refuse(decisions: list[Decision]) -> Counter[tuple[str, ...]]:
    beside = [decision.shadow for decision in decisions]
    return Counter(one.violated for one in beside if one is not None and one.violated)


async def tallied(limiter: Limiter) -> dict[int, Refused]:
    await limiter.tally.write()
    return await limiter.tally.read(day_end(time.time_ns() // 1000))


async def command(redis: Redis, *words: str | int) -> Any:
    call: Callable[..., Awaitable[Any]] = redis.execute_command
    return await call(*words)


@pytest.mark.parametrize("place", PLACES)
async def test_ten_a_day_in_shadow_refuse_nobody_and_would_fifteen_of_twenty_five(
    redis: Redis, database: Database, place: Place
) -> None:
    counted = ("gateway_shadow_refused_total", {"policy": "day"})
    before = REGISTRY.get_sample_value(*counted) or 0
    async with counting_in(place, redis, database) as limiter:
        decisions = await spend(limiter, 25)
        told = await tallied(limiter)
    assert all(decision.admitted for decision in decisions)
    assert would_refuse(decisions) == {("day",): 15}
    assert decisions[-1].state.day_used == 25
    assert decisions[-1].shadow is not None
    assert decisions[-1].shadow.state.day_used == 10
    assert REGISTRY.get_sample_value(*counted) == before + 15
    # Real refusals have nothing of it.
    assert (told[1].asks, told[1].by_policy) == (0, Counter())
    assert told[1].of_shadow(SINCE).asks == 15
    assert told[1].of_shadow(SINCE).by_policy == Counter(day=15)


@pytest.mark.parametrize("place", PLACES)
async def test_what_the_limits_get_back_their_shadow_gets_back(
    redis: Redis, database: Database, place: Place
) -> None:
    async with counting_in(place, redis, database) as limiter:
        decisions = await spend(limiter, 12)
        # Ten that the shadow would have admitted, and two that it would have refused.
        for decision in (*decisions[:3], *decisions[10:]):
            assert await limiter.give_back(1, decision) is not None
        after = await spend(limiter, 5)
    assert after[-1].state.day_used == 12 - 5 + 5
    assert would_refuse(after) == {("day",): 2}


@pytest.mark.parametrize("place", PLACES)
async def test_the_counters_of_the_limits_are_what_they_are_without_a_shadow(
    redis: Redis, database: Database, place: Place
) -> None:
    async with counting_in(place, redis, database) as limiter:
        for shadow, institution in ((SHADOW, 1), (None, 2)):
            decisions = await spend(limiter, 105, shadow, institution)
            assert [one.admitted for one in decisions].count(True) == 100
            await limiter.give_back(institution, decisions[0])
        one, other = [await limiter.peek(each, LIMITS) for each in (1, 2)]
    assert one.state[1:] == other.state[1:]
    assert (one.state.day_used, one.shadow) == (99, None)


@pytest.mark.parametrize("place", PLACES)
async def test_a_shadow_begins_with_what_the_limits_have_used_and_so_does_another(
    redis: Redis, database: Database, place: Place
) -> None:
    wider = Shadow(LIMITS._replace(day=30), SINCE + 1)
    async with counting_in(place, redis, database) as limiter:
        await spend(limiter, 8, None)
        assert would_refuse(await spend(limiter, 5)) == {("day",): 3}
        assert would_refuse(await spend(limiter, 20, wider)) == {("day",): 3}
        # And it goes on where it was while it is the same.
        assert would_refuse(await spend(limiter, 2, wider)) == {("day",): 2}
        told = (await tallied(limiter))[1]
    assert (told.of_shadow(SINCE).asks, told.of_shadow(SINCE + 1).asks) == (3, 5)


@pytest.mark.parametrize("place", PLACES)
async def test_a_key_blocked_for_its_refusals_is_no_refusal_of_the_shadow(
    redis: Redis, database: Database, place: Place
) -> None:
    async with counting_in(place, redis, database) as limiter:
        await spend(limiter, 1)
        for _ in range(REFUSALS_A_MINUTE + 1):
            await limiter.count_refusal(1, KEY)
        (decision,) = await spend(limiter, 1)
        told = await tallied(limiter)
    if place == "redis" and decision.violated:
        # Unless the server's minute turned, it is blocked, and spends nothing anywhere.
        assert decision.shadow is not None
        assert decision.shadow.state.day_used == 1
    assert told.get(1, Refused()).shadows == {}


@pytest.mark.parametrize("loss", ["flush", "postgresql"])
async def test_a_shadow_is_counted_from_the_log_when_its_counters_are_lost(
    redis: Redis,
    database: Database,
    superuser: Connection,
    hot: Connection,
    loss: str,
) -> None:
    await logs.make_key(superuser)
    wide = Shadow(LIMITS._replace(day=20), SINCE)
    async with counting_in("redis", redis, database) as limiter:
        assert not would_refuse(await spend(limiter, 15, wide))
    now = from_datetime(await hot.fetchval("SELECT clock_timestamp()")) - SECOND
    await logs.write(hot, [logs.answer(now + n, 1) for n in range(15)])
    if loss == "flush":
        await redis.flushall()
    place: Place = "redis" if loss == "flush" else "postgresql"
    async with counting_in(place, redis, database) as limiter:
        after = await spend(limiter, 9, wide)
    assert after[-1].state.day_used == 15 + 9
    assert would_refuse(after) == {("day",): 4}


async def test_a_shadow_that_was_counted_elsewhere_begins_again_with_the_limits(
    redis: Redis, database: Database
) -> None:
    async with counting_in("postgresql", redis, database) as limiter:
        assert would_refuse(await spend(limiter, 12)) == {("day",): 2}
    await leave_redis(database)
    async with limiter_of(redis, database) as limiter:
        (decision,) = await spend(limiter, 1)
    assert decision.state.day_used == 13
    assert decision.shadow is not None
    assert decision.shadow.violated == ("day",)


async def test_a_flush_with_shadows_is_one_script_call(
    redis: Redis, database: Database
) -> None:
    async with counting_in("redis", redis, database) as limiter:
        await spend(limiter, 1)
        await command(redis, "CONFIG", "RESETSTAT")
        await spend(limiter, 50)
        ran = await command(redis, "INFO", "commandstats")
    assert ran["cmdstat_evalsha"]["calls"] == 1


async def test_without_a_shadow_no_key_or_row_of_one_is_touched(
    redis: Redis, database: Database, superuser: Connection
) -> None:
    async with counting_in("redis", redis, database) as limiter:
        await spend(limiter, 3, None)
    async with counting_in("postgresql", redis, database) as limiter:
        await spend(limiter, 3, None)
    assert await redis.exists(state_key(1))
    assert not await redis.exists(shadow_key(1))
    assert await superuser.fetchval("SELECT count(*) FROM quota_shadows") == 0


async def test_the_first_would_be_refusal_of_a_day_is_told_once_for_each_policy(
    redis: Redis, valkey: ValkeyServer, database: Database
) -> None:
    narrow = Shadow(LIMITS._replace(day=10, month=12), SINCE)
    elsewhere = open_server(valkey.url)
    with capture_logs() as lines:
        async with (
            limiter_of(redis, database) as one,
            limiter_of(elsewhere, database) as two,
        ):
            for limiter in (one, two, one):
                await spend(limiter, 11, narrow)
                await limiter.tally.write()
            await spend(one, 5, narrow, institution=2)
            await one.tally.write()
    await elsewhere.aclose()
    told = [line for line in lines if line["event"] == "shadow_would_refuse"]
    assert [(line["institution"], line["policy"]) for line in told] == [(1, "day")]


async def test_ops_are_told_of_a_shadow_beside_the_limits(
    redis: Redis, database: Database
) -> None:
    async with counting_in("redis", redis, database) as limiter:
        await spend(limiter, 25, institution=9)
        clock = ServerClock()
        clock.observe(time.time_ns() // 1000)
        overview = Overview(limiter, clock)
        every = dict.fromkeys(range(1, 10), LIMITS)
        shadows = {9: SHADOW, 3: SHADOW}
        first, second, *_ = await overview.first(every, Order.REFUSED, 9, shadows)
        again = await overview.first(every, Order.REFUSED, 9, shadows)
    # Nobody was refused: then those come first whom their shadow would have refused.
    assert (first.institution, second.institution) == (9, 1)
    assert first.refused.asks == 0
    assert first.shadow is not None
    assert first.shadow.refused.by_policy == Counter(day=15)
    rate, day, month = first.shadow.decision.standings
    assert (rate.quota, day.quota, day.used, month.used) == (LIMITS.rate, 10, 10, 10)
    assert second.shadow is None
    # To look spends nothing of a shadow either, nor refuses.
    assert again[0].shadow is not None
    assert again[0].shadow.decision.state == first.shadow.decision.state
    assert again[0].shadow.refused == first.shadow.refused
