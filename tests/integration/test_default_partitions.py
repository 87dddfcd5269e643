"""Entries that no partition took: kept, told of, and moved where they belong."""

from collections.abc import AsyncIterator
from datetime import date, timedelta

import asyncpg
import pytest

from gateway.audit import partitions
from gateway.audit.days import begins, day_of
from gateway.audit.partitions import State
from gateway.audit.tree import SQL
from gateway.clock import SECOND, from_datetime
from gateway.postgres import Connection
from tests.conftest import Database
from tests.integration import logs
from tests.integration.test_partitions import drop_all, where

pytestmark = pytest.mark.integration

HOUR = 3600 * SECOND


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.dsn("owner"))
    yield connection
    await connection.close()


@pytest.fixture
async def today(owner: Connection) -> date:
    return day_of(from_datetime(await owner.fetchval("SELECT clock_timestamp()")))


async def write(hot: Connection, *instants: int) -> None:
    for at in instants:
        await logs.write(hot, [logs.refusal(at - 1), logs.refusal(at)])


async def test_rows_in_a_default_are_moved_to_their_days(
    superuser: Connection, owner: Connection, hot: Connection, today: date
) -> None:
    await drop_all(superuser)
    first = begins(today) - 30 * HOUR
    await write(hot, *(first + n * HOUR for n in range(0, 240, 7)))
    lines = "SELECT array_agg(e ORDER BY batch, position) FROM entries AS e"
    before = await owner.fetchval(lines)
    assert set(await where(superuser, "entries")) == {"entries_default"}
    assert await hot.fetchval(SQL["default_rows"]) == 3 * 35
    assert await partitions.repair(owner) == 3 * 35
    for table in ("entries", "batches"):
        found = set(await where(superuser, table))
        assert f"{table}_default" not in found
        assert len(found) == 11
    assert await owner.fetchval(lines) == before
    assert await hot.fetchval(SQL["default_rows"]) == 0
    # And the days that had no entries have their partitions too.
    assert await hot.fetchval(SQL["create_partitions"]) == 0


async def test_writers_go_on_before_during_and_after_the_move(
    database: Database,
    superuser: Connection,
    owner: Connection,
    hot: Connection,
    today: date,
) -> None:
    await drop_all(superuser)
    at = begins(today) + HOUR
    await write(hot, at, at + HOUR)
    other = await asyncpg.connect(database.dsn("hot"))
    # Written after the rows were copied and before the log was locked.
    writing = other.transaction()
    await writing.start()
    await write(other, at + 2 * HOUR)
    await owner.execute("SET lock_timeout = '100ms'")
    with pytest.raises(asyncpg.LockNotAvailableError):
        await owner.fetchval(SQL["move_default_rows"], "entries")
    await writing.commit()
    assert await partitions.repair(owner) == 9
    await write(hot, at + 3 * HOUR)
    assert await hot.fetchval(SQL["default_rows"]) == 0
    assert len(await where(superuser, "entries")) == 8
    await other.close()


async def test_rows_of_a_day_that_is_archived_stay_where_they_are(
    superuser: Connection, owner: Connection, hot: Connection, today: date
) -> None:
    day = today - timedelta(days=5)
    await owner.execute(
        "INSERT INTO archived_days (day, bytes, entries) VALUES ($1, 0, 0)", day
    )
    await write(hot, begins(day) + HOUR, begins(today) + 40 * 24 * HOUR)
    assert await partitions.repair(owner) == 3
    assert await hot.fetchval(SQL["default_rows"]) == 3
    places = await where(superuser, "entries")
    assert places.count("entries_default") == 2


async def test_each_day_is_listed_as_what_it_is(
    owner: Connection, hot: Connection, today: date
) -> None:
    await owner.execute(
        "INSERT INTO archived_days (day, bytes, entries, expired_at)"
        " VALUES ($1, 0, 0, NULL), ($2, 0, 0, now())",
        today - timedelta(days=5),
        today - timedelta(days=6),
    )
    await owner.fetchval(SQL["hold_days"], today, today + timedelta(days=1), "why")
    await write(hot, begins(today) + HOUR)
    await owner.execute("ANALYZE entries")
    listed = await partitions.standings(owner)
    assert [one.state for one in listed] == [
        State.EXPIRED,
        State.ARCHIVED,
        State.CLOSED,
        State.OPEN,
        *[State.AHEAD] * 7,
    ]
    assert [one.held for one in listed] == [False] * 3 + [True] * 2 + [False] * 6
    (now,) = (one for one in listed if one.day == today)
    assert now.entries == 2
    assert now.bytes > 8192
