"""How the log stands, read in bounded time: sealing, witnesses, partitions."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest

from gateway.audit import condition
from gateway.audit.condition import Condition, Conditions, State
from gateway.clock import JAKARTA_OFFSET, SECOND, ServerClock, to_datetime
from gateway.postgres import Connection, pool
from tests.conftest import Database
from tests.integration.logs import refusal, seal, write

pytestmark = pytest.mark.integration

DAY = 86_400 * SECOND


def now() -> int:
    return time.time_ns() // 1000


@asynccontextmanager
async def conditions_of(database: Database) -> AsyncIterator[Conditions]:
    clock = ServerClock()
    clock.observe(now())
    dsn = database.dsn("auditor")
    async with pool(dsn, name="auditor", size=1, statement_seconds=5) as auditor:
        yield Conditions(auditor, clock)


async def condition_of(database: Database) -> Condition:
    async with conditions_of(database) as conditions:
        return await conditions.now()


async def test_of_an_empty_log_all_is_told(database: Database) -> None:
    told = await condition_of(database)
    assert (told.sealing.size, told.sealing.sealed_at) == (None, None)
    assert (told.sealing.lag, told.sealing.waiting) == (0, 0)
    assert (told.cosigned, told.default_rows) == ([], 0)
    today = to_datetime(now() + JAKARTA_OFFSET).date()
    assert [(one.day, one.state) for one in told.partitions] == [
        (today - timedelta(days=1), State.CLOSED),
        (today, State.OPEN),
        *((today + timedelta(days=n), State.AHEAD) for n in range(1, 8)),
    ]


async def test_what_waits_for_its_leaf_numbers_is_counted_until_it_is_sealed(
    database: Database, hot: Connection
) -> None:
    at = now()
    for age, entries in ((9, 3), (4, 2)):
        await write(hot, [refusal(at - age * SECOND)] * entries)
    waiting = (await condition_of(database)).sealing
    assert waiting.waiting == 5
    assert 9 <= waiting.lag < 60
    await seal(database)
    sealed = (await condition_of(database)).sealing
    assert (sealed.waiting, sealed.lag, sealed.size) == (0, 0, 5)
    assert sealed.sealed_at is not None
    assert 0 <= now() - sealed.sealed_at < 60 * SECOND


async def test_more_than_can_be_counted_in_bounded_time_is_not_counted(
    database: Database, hot: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(condition, "MOST_WAITING", 2)
    at = now()
    for _ in range(2):
        await write(hot, [refusal(at)] * 4)
    assert (await condition_of(database)).sealing.waiting == 8
    await write(hot, [refusal(at)])
    assert (await condition_of(database)).sealing.waiting is None


async def test_rows_that_no_partition_took_are_told(
    database: Database, hot: Connection
) -> None:
    await write(hot, [refusal(now())])
    assert (await condition_of(database)).default_rows == 0
    await write(hot, [refusal(now() + 40 * DAY)] * 6)
    assert (await condition_of(database)).default_rows == 6 + 1


async def test_rows_that_no_partition_took_are_counted_up_to_ten_thousand(
    database: Database, hot: Connection
) -> None:
    for _ in range(11):
        await write(hot, [refusal(now() + 40 * DAY)] * 1000)
    assert (await condition_of(database)).default_rows == 10_000 + 11


async def test_a_day_is_as_large_as_its_partitions_with_their_indexes(
    database: Database, hot: Connection, superuser: Connection
) -> None:
    before = (await condition_of(database)).partitions
    await write(hot, [refusal(now(), institution=1)] * 500)
    after = (await condition_of(database)).partitions
    grown = [
        one for one, other in zip(after, before, strict=True) if one.bytes > other.bytes
    ]
    assert [one.state for one in grown] == [State.OPEN]
    sizes = [
        await superuser.fetchval(
            "SELECT pg_table_size($1::text::regclass) + pg_indexes_size($1::text::regclass)",
            f"{table}_{grown[0].day:%Y%m%d}",
        )
        for table in ("entries", "batches")
    ]
    assert grown[0].bytes == sum(sizes)


async def test_the_newest_head_of_each_witness_is_told(
    database: Database, hot: Connection, superuser: Connection
) -> None:
    for _ in range(3):
        await write(hot, [refusal(now())])
        await seal(database)
    for size, witness in ((1, "a"), (2, "a"), (1, "b")):
        await superuser.execute(
            "INSERT INTO cosignatures (size, witness, line) VALUES ($1, $2, $3)",
            *(size, witness, f"\u2014 {witness} AAAA"),
        )
    told = (await condition_of(database)).cosigned
    assert [(one.witness, one.size) for one in told] == [("a", 2), ("b", 1)]
    assert all(abs(now() - one.at) < 60 * SECOND for one in told)


async def test_a_log_that_is_held_up_is_given_up_on(
    database: Database, superuser: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(condition, "READ_SECONDS", 0.3)
    async with superuser.transaction(), conditions_of(database) as conditions:
        await superuser.execute("LOCK TABLE entries_default IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TimeoutError):
            await conditions.now()
    await asyncio.sleep(0)
    auditor = await asyncpg.connect(database.dsn("auditor"))
    left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND datname = $2"
    assert await auditor.fetchval(left, "gateway-auditor", database.name) == 0
    await auditor.close()
