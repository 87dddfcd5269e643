"""The limiter against a real Valkey: together, apart, stopped, hanging and restarted."""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from redis.crc import key_slot
from structlog.testing import capture_logs

from gateway.clock import SECOND, ServerClock
from gateway.embedded.valkey import ValkeyServer
from gateway.problems import ReducedCapacity
from gateway.quota.limit import REFUSALS_A_MINUTE, Decision
from gateway.quota.limiter import Limiter
from gateway.quota.script import refused_key, state_key
from gateway.redis import open_server
from gateway.vocabulary import Limits
from tests.conftest import Database
from tests.integration.limiting import limiter_of

pytestmark = pytest.mark.integration

INSTITUTION, KEY = 123, 7
TIGHT = Limits(rate=1_000_000, burst=10_000, day=100, month=1_000)
SLOW = Limits(rate=1, burst=5, day=1_000, month=1_000)
# The contract's 250 ms, and what a busy test machine may add to waking up.
# What a busy machine may hold one of them up for beyond what is promised.
NOTICED, SLACK = 0.25, 0.5
FAILURES = ("gateway_flush_failures_total", {"stage": "limiter"})
UNRETURNED = ("gateway_charges_not_given_back_total",)


async def admit_together(
    limiter: Limiter, number: int, limits: Limits = TIGHT
) -> list[Decision]:
    asks = (limiter.admit(INSTITUTION, KEY, limits) for _ in range(number))
    return list(await asyncio.gather(*asks))


async def command(redis: Redis, *words: str | int) -> Any:
    call: Callable[..., Awaitable[Any]] = redis.execute_command
    return await call(*words)


async def kept(redis: Redis) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = await command(redis, "HGETALL", state_key(INSTITUTION))
    return fields


async def whole_minute_ahead(redis: Redis) -> None:
    """Waits where the server's minute is about to end under the test."""
    seconds, _ = await command(redis, "TIME")
    if seconds % 60 >= 50:
        await asyncio.sleep(60 - seconds % 60)


async def seconds_until_refused(limiter: Limiter) -> float:
    began = time.perf_counter()
    with pytest.raises(ReducedCapacity):
        await limiter.admit(INSTITUTION, KEY, TIGHT)
    return time.perf_counter() - began


async def ask_later(limiter: Limiter, wait: float) -> float:
    await asyncio.sleep(wait)
    return await seconds_until_refused(limiter)


async def test_a_day_limit_holds_exactly_over_concurrent_limiters(
    redis: Redis, valkey: ValkeyServer, database: Database
) -> None:
    other = open_server(valkey.url)
    async with limiter_of(redis, database) as one, limiter_of(other, database) as two:
        halves = await asyncio.gather(
            admit_together(one, 500), admit_together(two, 500)
        )
    await other.aclose()
    decisions = [decision for half in halves for decision in half]
    assert sum(decision.admitted for decision in decisions) == 100
    assert {d.violated for d in decisions if not d.admitted} == {("day",)}


async def test_each_share_of_a_quota_is_told_once_over_concurrent_limiters(
    redis: Redis, valkey: ValkeyServer, database: Database
) -> None:
    other = open_server(valkey.url)
    with capture_logs() as logs:
        async with (
            limiter_of(redis, database) as one,
            limiter_of(other, database) as two,
        ):
            await asyncio.gather(admit_together(one, 500), admit_together(two, 500))
    await other.aclose()
    logs = [line for line in logs if line["event"] == "quota_nearly_used"]
    told = [(line["policy"], line["percent"], line["used"]) for line in logs]
    assert sorted(told) == [("day", 80, 80), ("day", 95, 95), ("day", 100, 100)]
    assert {line["institution"] for line in logs} == {INSTITUTION}


async def test_asks_of_one_flush_are_decided_one_after_the_other(
    redis: Redis, database: Database
) -> None:
    async with limiter_of(redis, database) as limiter:
        decisions = await admit_together(limiter, 7, SLOW)
    left = [decision.standings[0].remaining for decision in decisions]
    assert left == [4, 3, 2, 1, 0, 0, 0]
    assert [d.violated for d in decisions[5:]] == [("rate",), ("rate",)]


async def test_a_refused_ask_changes_nothing(redis: Redis, database: Database) -> None:
    async with limiter_of(redis, database) as limiter:
        await limiter.admit(INSTITUTION, KEY, TIGHT)
        before = await kept(redis)
        refused = await limiter.admit(INSTITUTION, KEY, TIGHT, quota_cost=100)
        assert refused.violated == ("day",)
        assert await kept(redis) == before


async def test_every_key_has_a_ttl(redis: Redis, database: Database) -> None:
    weeks_of_debt = Limits(rate=1, burst=10_000_000, day=10**12, month=10**12)
    async with limiter_of(redis, database) as limiter:
        charged = await limiter.admit(1, KEY, TIGHT)
        await limiter.give_back(1, charged)
        await limiter.admit(2, KEY, SLOW, rate_cost=6)
        await limiter.admit(3, KEY, weeks_of_debt)
        owing = await limiter.admit(3, KEY, weeks_of_debt, rate_cost=9_000_000)
        await limiter.count_refusal(4, KEY)
        await limiter.give_back(5, charged)
    for key in await redis.keys():
        assert await redis.pttl(key) > 0
    assert await redis.pttl(state_key(3)) > (owing.state.tat - owing.at) / 1_000


async def test_all_keys_of_an_institution_lie_in_one_slot() -> None:
    slot = key_slot(b"i:123")
    assert key_slot(state_key(123).encode()) == slot
    assert key_slot(refused_key(123, 7).encode()) == slot


async def test_the_instant_is_the_servers_and_sets_the_clock(
    redis: Redis, database: Database
) -> None:
    clock = ServerClock()
    async with limiter_of(redis, database, clock) as limiter:
        seconds, microseconds = await command(redis, "TIME")
        decision = await limiter.admit(INSTITUTION, KEY, TIGHT)
        since = decision.at - seconds * SECOND - microseconds
        assert 0 <= since < SECOND
        assert 0 <= clock.now() - decision.at < SECOND


async def test_what_is_given_back_can_be_spent_again(
    redis: Redis, database: Database
) -> None:
    async with limiter_of(redis, database) as limiter:
        *_, last = await admit_together(limiter, 100)
        assert not (await limiter.admit(INSTITUTION, KEY, TIGHT)).admitted
        standing = await limiter.give_back(INSTITUTION, last)
        assert standing is not None
        assert standing.standings[1].remaining == 1
        assert (await limiter.admit(INSTITUTION, KEY, TIGHT)).admitted
        assert not (await limiter.admit(INSTITUTION, KEY, TIGHT)).admitted


async def test_a_refused_decision_cannot_be_given_back(
    redis: Redis, database: Database
) -> None:
    async with limiter_of(redis, database) as limiter:
        refused = await limiter.admit(INSTITUTION, KEY, SLOW, rate_cost=6)
        with pytest.raises(ValueError, match="admitted"):
            await limiter.give_back(INSTITUTION, refused)


async def test_refusals_block_only_that_key_for_the_rest_of_that_minute(
    redis: Redis, database: Database
) -> None:
    async with limiter_of(redis, database) as limiter:
        await whole_minute_ahead(redis)
        counts = await asyncio.gather(
            *(limiter.count_refusal(INSTITUTION, KEY) for _ in range(REFUSALS_A_MINUTE))
        )
        assert counts == list(range(1, REFUSALS_A_MINUTE + 1))
        assert (await limiter.admit(INSTITUTION, KEY, TIGHT)).admitted
        assert await limiter.count_refusal(INSTITUTION, KEY) == REFUSALS_A_MINUTE + 1
        before = await kept(redis)
        blocked = await limiter.admit(INSTITUTION, KEY, TIGHT)
        assert blocked.violated == ("refusals",)
        minute_ends = blocked.at // SECOND // 60 * 60 + 60
        assert blocked.retry_after == minute_ends - blocked.at // SECOND
        assert await kept(redis) == before
        assert (await limiter.admit(INSTITUTION, KEY + 1, TIGHT)).admitted
        assert (await limiter.admit(INSTITUTION + 1, KEY, TIGHT)).admitted
        # As if that minute were the one before.
        last_minute = (minute_ends - 60) * SECOND
        await command(redis, "HSET", refused_key(INSTITUTION, KEY), "ends", last_minute)
        assert (await limiter.admit(INSTITUTION, KEY, TIGHT)).admitted
        assert await limiter.count_refusal(INSTITUTION, KEY) == 1


@pytest.mark.hurried
async def test_a_stopped_redis_is_noticed_and_found_again(
    redis: Redis, valkey: ValkeyServer, database: Database
) -> None:
    async with limiter_of(redis, database) as limiter:
        charged = await limiter.admit(INSTITUTION, KEY, TIGHT)
        unreturned = REGISTRY.get_sample_value(*UNRETURNED) or 0
        valkey.stop()
        try:
            with capture_logs() as logs:
                waits = [await seconds_until_refused(limiter) for _ in range(5)]
            assert await limiter.give_back(INSTITUTION, charged) is None
            with pytest.raises(ReducedCapacity):
                await limiter.count_refusal(INSTITUTION, KEY)
        finally:
            valkey.start()
        assert statistics.median(waits) < NOTICED
        assert max(waits) < NOTICED + SLACK
        assert [line["event"] for line in logs] == ["limiter_lost_redis"]
        assert REGISTRY.get_sample_value(*UNRETURNED) == unreturned + 1
        with capture_logs() as logs:
            assert (await limiter.admit(INSTITUTION, KEY, TIGHT)).admitted
        assert [line["event"] for line in logs] == [
            *("limiter_found_redis", "counters_loaded")
        ]


@pytest.mark.hurried
async def test_a_hanging_redis_is_noticed_and_found_again(
    redis: Redis, valkey: ValkeyServer, database: Database
) -> None:
    async with limiter_of(redis, database) as limiter:
        await limiter.admit(INSTITUTION, KEY, TIGHT)
        pid = valkey.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            alone = [await seconds_until_refused(limiter) for _ in range(5)]
            crowd = await asyncio.gather(
                *(ask_later(limiter, wait / 200) for wait in range(100))
            )
        finally:
            os.kill(pid, signal.SIGCONT)
        assert statistics.median(alone) < NOTICED
        assert statistics.median(crowd) < NOTICED
        assert max(*alone, *crowd) < NOTICED + SLACK
        # Whatever the server does of what it was sent, an answer is the asker's own.
        other = await limiter.admit(INSTITUTION + 1, KEY, SLOW)
        assert (other.state.day_used, other.standings[0].remaining) == (1, 4)


async def test_a_script_that_was_flushed_is_loaded_without_failing_a_call(
    redis: Redis, database: Database
) -> None:
    async with limiter_of(redis, database) as limiter:
        for _ in range(2):
            await command(redis, "SCRIPT", "FLUSH")
            decisions = await admit_together(limiter, 50)
            assert all(decision.admitted for decision in decisions)
    assert (await kept(redis))[b"day_used"] == b"100"


async def test_a_redis_that_cannot_write_refuses_the_whole_flush(
    redis: Redis, database: Database
) -> None:
    async with limiter_of(redis, database) as limiter:
        await limiter.admit(INSTITUTION, KEY, TIGHT)
        before = await kept(redis)
        failed = REGISTRY.get_sample_value(*FAILURES) or 0
        await command(redis, "CONFIG", "SET", "maxmemory", "1")
        try:
            await seconds_until_refused(limiter)
        finally:
            await command(redis, "CONFIG", "SET", "maxmemory", "0")
        assert await kept(redis) == before
        assert REGISTRY.get_sample_value(*FAILURES) == failed + 1
        assert (await limiter.admit(INSTITUTION, KEY, TIGHT)).admitted


async def test_a_caller_cancelled_while_it_waits_still_hears_what_it_was_charged(
    redis: Redis, database: Database
) -> None:
    heard: list[Decision] = []

    async def call(limiter: Limiter) -> None:
        heard.append(await limiter.admit(INSTITUTION, KEY, TIGHT))

    async with limiter_of(redis, database) as limiter, asyncio.TaskGroup() as callers:
        await limiter.peek(INSTITUTION, TIGHT)
        caller = callers.create_task(call(limiter))
        await asyncio.sleep(0)
        caller.cancel()
    assert [decision.admitted for decision in heard] == [True]
    assert (await kept(redis))[b"day_used"] == b"1"
