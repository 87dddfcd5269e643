"""Days that are over: their indexes are rebuilt beside readers, and nothing else changes."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from gateway.audit.tidying import tidy
from gateway.clock import SECOND, from_datetime
from gateway.postgres import Connection
from tests.benchmarks.filling import DAY, make_day
from tests.conftest import Database
from tests.integration import logs

SIZE = """
    SELECT sum(pg_relation_size(indexrelid))::bigint FROM pg_index
    WHERE indrelid = $1::text::regclass AND indexrelid::regclass::text !~ 'batch_at'
"""


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.dsn("owner"))
    yield connection
    await connection.close()


@pytest.fixture
async def days(owner: Connection, superuser: Connection, hot: Connection) -> list[str]:
    """Partitions of two days that are over and of today, each with entries."""
    await logs.make_key(superuser)
    now = from_datetime(await hot.fetchval("SELECT clock_timestamp()"))
    names = []
    for back in (3, 2, 0):
        at = now - back * DAY
        midnight = (at + 7 * 3600 * SECOND) // DAY * DAY - 7 * 3600 * SECOND
        await make_day(owner, midnight)
        for n in range(20):
            noon = midnight + DAY // 2 if back else now
            entries = [logs.answer(noon + n, 1 + n % 7 * m % 500) for m in range(500)]
            await logs.write(hot, entries)
        query = "SELECT tableoid::regclass::text FROM entries ORDER BY at DESC LIMIT 1"
        names.append(
            await superuser.fetchval(
                query.replace("ORDER", "WHERE at < $1 ORDER"),
                await superuser.fetchval(
                    "SELECT to_timestamp($1)", (midnight + DAY) / SECOND
                ),
            )
        )
    return names


async def tidied(owner: Connection) -> list[str]:
    return [name async for name in tidy(owner)]


async def test_days_that_are_over_are_tidied_once_and_keep_their_entries(
    owner: Connection, superuser: Connection, days: list[str]
) -> None:
    everything = "SELECT md5(string_agg(e::text, ',' ORDER BY batch, position)) FROM entries AS e"
    before = await superuser.fetchval(everything)
    sizes = {day: await superuser.fetchval(SIZE, day) for day in days}
    done = await tidied(owner)
    assert {*days[:2], *(day.replace("entries", "batches") for day in days[:2])} <= set(
        done
    )
    assert days[2] not in done
    for day in days[:2]:
        assert await superuser.fetchval(SIZE, day) < sizes[day]
    assert await superuser.fetchval(SIZE, days[2]) == sizes[days[2]]
    assert await superuser.fetchval(everything) == before
    assert await tidied(owner) == []


async def test_what_an_interrupted_rebuild_left_is_removed(
    owner: Connection, superuser: Connection, days: list[str]
) -> None:
    left = f"{days[0]}_subject_head_idx_ccnew"
    await owner.execute(f"CREATE INDEX {left} ON {days[0]} (subject_head)")
    await superuser.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = $1::text::regclass",
        left,
    )
    assert days[0] in await tidied(owner)
    assert await superuser.fetchval("SELECT to_regclass($1)", left) is None
