"""Everybody's limits at once, and the tally of the day's refusals."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from gateway.clock import ServerClock
from gateway.embedded.valkey import ValkeyServer
from gateway.quota.limit import DAY, REFUSALS_A_MINUTE, Decision, day_end
from gateway.quota.limiter import Limiter
from gateway.quota.overview import AT_ONCE, Order, Overview, Usage
from gateway.quota.tally import Tally, tally_key
from gateway.vocabulary import Limits
from tests.conftest import Database
from tests.integration.limiting import limiter_of

pytestmark = pytest.mark.integration

KEY = 7
LIMITS = Limits(rate=5, burst=20, day=10, month=1_000)
RATE, DAILY = ("rate",), ("day",)
COUNTRY = 6_668


@asynccontextmanager
async def overview_of(
    redis: Redis, database: Database
) -> AsyncIterator[tuple[Limiter, Overview]]:
    clock = ServerClock()
    seconds, micros = await redis.time()
    clock.observe(seconds * 1_000_000 + micros)
    async with limiter_of(redis, database, clock) as limiter:
        yield limiter, Overview(limiter, clock)


def now() -> int:
    return time.time_ns() // 1000


async def command(redis: Redis, *words: str | int) -> Any:
    call: Callable[..., Awaitable[Any]] = redis.execute_command
    return await call(*words)


async def spend(limiter: Limiter, institution: int, units: int) -> Decision:
    asks = (limiter.admit(institution, KEY, LIMITS) for _ in range(units))
    return (await asyncio.gather(*asks))[-1]


async def first(
    overview: Overview, institutions: int, order: Order, most: int
) -> list[Usage]:
    limits = dict.fromkeys(range(1, institutions + 1), LIMITS)
    return await overview.first(limits, order, most)


@pytest.mark.parametrize("order", Order)
async def test_of_everybody_is_told_what_admission_has_decided(
    redis: Redis, order: Order, database: Database
) -> None:
    many = 2 * AT_ONCE + 7
    async with overview_of(redis, database) as (limiter, overview):
        told = {
            institution: await spend(limiter, institution, 1 + institution % 3)
            for institution in range(1, many, 2)
        }
        usages = await first(overview, many, order, many)
    assert sorted(usage.institution for usage in usages) == list(range(1, many + 1))
    for usage in usages:
        assert usage.known
        shown = usage.decision.standings[1:]
        decided = told.get(usage.institution)
        if decided is None:
            assert [one.used for one in shown] == [0, 0]
        else:
            for one, other in zip(shown, decided.standings[1:], strict=True):
                assert one[:-1] == other[:-1]


async def test_the_first_are_chosen_among_all(redis: Redis, database: Database) -> None:
    last = 2 * AT_ONCE
    async with overview_of(redis, database) as (limiter, overview):
        await spend(limiter, last, 9)
        await spend(limiter, 3, 10 + 1)
        await spend(limiter, last - 1, 10 + 2)
        used = await first(overview, last, Order.USED, 4)
        refused = await first(overview, last, Order.REFUSED, 3)
    assert [one.institution for one in used] == [3, last - 1, last, 1]
    assert [one.share for one in used] == [1, 1, 0.9, 0]
    assert [one.institution for one in refused] == [last - 1, 3, 1]
    assert [one.refused.asks for one in refused] == [2, 1, 0]


async def test_a_window_that_has_turned_is_told_as_unused(
    redis: Redis, database: Database
) -> None:
    async with overview_of(redis, database) as (limiter, overview):
        await spend(limiter, 1, 5)
        yesterday = day_end(now()) - DAY
        await command(redis, "HSET", "{i:1}", "day_ends", yesterday)
        (usage,) = await first(overview, 1, Order.USED, 1)
    assert [one.used for one in usage.decision.standings[1:]] == [0, 5]


async def test_no_key_is_looked_for_and_nothing_is_spent(
    redis: Redis, database: Database
) -> None:
    async with overview_of(redis, database) as (limiter, overview):
        await spend(limiter, 1, 1)
        # The counters of who has not called yet are loaded.
        before = await first(overview, 3 * AT_ONCE, Order.USED, 5)
        await command(redis, "CONFIG", "RESETSTAT")
        after = await first(overview, 3 * AT_ONCE, Order.USED, 5)
        ran = await command(redis, "INFO", "commandstats")
    calls = {name.removeprefix("cmdstat_"): one["calls"] for name, one in ran.items()}
    # Each asks for the state, and for refusals of nobody's key.
    assert calls.pop("hmget") == 2 * 3 * AT_ONCE
    assert calls.pop("hgetall") == 1
    assert not {"keys", "scan", "hset"} & calls.keys()
    assert [one.decision.state for one in after] == [
        one.decision.state for one in before
    ]


async def test_without_redis_nothing_is_known_and_the_ids_decide(
    redis: Redis, valkey: ValkeyServer, database: Database
) -> None:
    async with overview_of(redis, database) as (limiter, overview):
        await spend(limiter, 2, 5)
        valkey.stop()
        try:
            usages = await first(overview, 9, Order.USED, 2)
        finally:
            valkey.start()
        assert [(one.institution, one.known) for one in usages] == [
            *((1, False), (2, False))
        ]
        again = await first(overview, 9, Order.USED, 2)
        # A server that began anew counts from the log, which holds none of this.
        assert [(one.institution, one.known) for one in again] == [
            *((1, True), (2, True))
        ]


async def test_refusals_of_several_workers_add_up_by_policy(redis: Redis) -> None:
    ends = day_end(now())
    one, other = Tally(redis), Tally(redis)
    for tally, violated, times in (
        (one, RATE, 3),
        (other, RATE, 40),
        (other, (*RATE, *DAILY), 2),
    ):
        for _ in range(times):
            tally.add(5, ends, violated)
    one.add(6, ends, DAILY)
    one.add(6, ends - DAY, DAILY)
    for tally in (one, other, one):
        await tally.write()
    read = await other.read(ends)
    assert read[5].asks == 45
    assert read[5].by_policy == Counter(rate=45, day=2)
    assert (read[6].asks, set(read)) == (1, {5, 6})
    assert set(await one.read(ends - DAY)) == {6}
    assert await one.read(ends + DAY) == {}
    slots = {key_slot(tally_key(at).encode()) for at in (ends, ends - DAY)}
    assert len(slots) == 1
    for key in await redis.keys():
        assert await redis.pttl(key) > 0


async def test_a_flood_of_refusals_is_one_write(
    redis: Redis, database: Database
) -> None:
    async with overview_of(redis, database) as (limiter, overview):
        refused = await spend(limiter, 1, 10 + 500)
        assert refused.violated
        await command(redis, "CONFIG", "RESETSTAT")
        await limiter.tally.write()
        ran = await command(redis, "INFO", "commandstats")
        (usage,) = await first(overview, 1, Order.REFUSED, 1)
    assert ran["cmdstat_hincrby"]["calls"] <= 3
    assert usage.refused.asks == 500


async def test_a_key_blocked_for_its_refusals_is_tallied_so(
    redis: Redis, database: Database
) -> None:
    async with overview_of(redis, database) as (limiter, overview):
        for _ in range(REFUSALS_A_MINUTE + 2):
            await limiter.count_refusal(1, KEY)
        (usage,) = await first(overview, 1, Order.REFUSED, 1)
    # Two, or none where the server's minute has turned meanwhile.
    assert usage.refused.by_policy in (Counter(refusals=2), Counter())


async def test_what_redis_does_not_take_is_added_later(
    redis: Redis, valkey: ValkeyServer
) -> None:
    ends = day_end(now())
    tally = Tally(redis)
    for institution in range(1, 1001):
        tally.add(institution, ends, RATE)
    valkey.stop()
    try:
        with pytest.raises(RedisError):
            await tally.write()
        tally.add(1, ends, RATE)
    finally:
        valkey.start()
    await tally.write()
    read = await tally.read(ends)
    assert (read[1].asks, read[1000].asks, len(read)) == (2, 1, 1000)
    await tally.write()
    assert (await tally.read(ends))[1].asks == 2


async def test_a_whole_country_is_told_at_once(
    redis: Redis, database: Database
) -> None:
    async with overview_of(redis, database) as (limiter, overview):
        for institution in range(1, COUNTRY + 1, 50):
            await spend(limiter, institution, 1)
        usages = await first(overview, COUNTRY, Order.USED, 1000)
    assert len(usages) == 1000
    assert sum(usage.decision.state.day_used for usage in usages) == COUNTRY // 50 + 1
