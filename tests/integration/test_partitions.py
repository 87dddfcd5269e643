"""Partitions by the day of Asia/Jakarta: there before they are due, and exact."""

import time
from datetime import UTC, datetime, timedelta, timezone

import asyncpg
import pytest

from gateway.audit.batch import SQL, BatchDigests, append
from gateway.audit.entry import Entry, batch_number, parse_address
from gateway.clock import SECOND, from_datetime, to_datetime
from gateway.postgres import Connection
from gateway.settings import NumberedKeys
from gateway.vocabulary import Actor, Operation, Outcome, Reason
from tests.conftest import Database

pytestmark = pytest.mark.integration

JAKARTA = timezone(timedelta(hours=7))
DIGESTS = BatchDigests(NumberedKeys({1: bytes(32)}))
PARTITIONS = """
    SELECT inhrelid::regclass::text AS name FROM pg_inherits
    WHERE inhparent = $1::regclass AND inhrelid::regclass::text NOT LIKE '%_default'
    ORDER BY 1
"""


def today() -> datetime:
    """The first instant of this day in Jakarta."""
    here = to_datetime(time.time_ns() // 1000).astimezone(JAKARTA)
    return here.replace(hour=0, minute=0, second=0, microsecond=0)


def failed(at: int) -> Entry:
    return Entry(
        at=at,
        actor=Actor.UNIDENTIFIED,
        outcome=Outcome.FAILED,
        reason=Reason.INTERNAL_ERROR,
        operation=Operation.VERIFY,
        address=parse_address("192.0.2.1"),
    )


async def partitions(superuser: Connection, table: str) -> list[str]:
    return [row["name"] for row in await superuser.fetch(PARTITIONS, table)]


async def drop_all(superuser: Connection) -> None:
    for table in ("entries", "batches"):
        for name in await partitions(superuser, table):
            await superuser.execute(f"DROP TABLE {name}")


@pytest.mark.parametrize("role", ["hot", "sealer"])
async def test_nine_days_of_partitions_are_made_from_yesterday_on(
    database: Database, superuser: Connection, role: str
) -> None:
    await drop_all(superuser)
    connection = await asyncpg.connect(database.dsn(role))
    assert await connection.fetchval(SQL["create_partitions"]) == 9
    await connection.close()
    days = [(today() + timedelta(days=n)).strftime("%Y%m%d") for n in range(-1, 8)]
    for table in ("entries", "batches"):
        assert await partitions(superuser, table) == [f"{table}_{day}" for day in days]


async def test_to_make_partitions_again_makes_none(
    database: Database, superuser: Connection
) -> None:
    hot = await asyncpg.connect(database.dsn("hot"))
    before = await partitions(superuser, "entries")
    assert await hot.fetchval(SQL["create_partitions"]) == 0
    assert await partitions(superuser, "entries") == before
    await hot.close()


async def test_a_missing_day_alone_is_made(
    database: Database, superuser: Connection
) -> None:
    names = await partitions(superuser, "entries")
    await superuser.execute(
        f"DROP TABLE {names[3]}, {names[4].replace('entries', 'batches')}"
    )
    hot = await asyncpg.connect(database.dsn("hot"))
    assert await hot.fetchval(SQL["create_partitions"]) == 1
    await hot.close()
    assert await partitions(superuser, "entries") == names
    assert len(await partitions(superuser, "batches")) == len(names)


async def write(database: Database, instants: list[int]) -> None:
    hot = await asyncpg.connect(database.dsn("hot"))
    for n, at in enumerate(instants):
        await append(hot, batch_number(at, 1, n), [failed(at)], DIGESTS)
    await hot.close()


async def where(superuser: Connection, table: str) -> list[str]:
    rows = await superuser.fetch(
        f"SELECT tableoid::regclass::text AS name FROM {table} ORDER BY batch"
    )
    return [row["name"] for row in rows]


async def test_a_day_begins_and_ends_at_midnight_in_jakarta(
    database: Database, superuser: Connection
) -> None:
    begins = from_datetime(today().astimezone(UTC))
    ends = from_datetime((today() + timedelta(days=1)).astimezone(UTC))
    await write(database, [begins - 1, begins, ends - 1, ends])
    days = [(today() + timedelta(days=n)).strftime("%Y%m%d") for n in (-1, 0, 0, 1)]
    assert await where(superuser, "entries") == [f"entries_{day}" for day in days]
    assert await where(superuser, "batches") == [f"batches_{day}" for day in days]


async def test_no_entry_of_the_days_ahead_lands_in_the_default(
    database: Database, superuser: Connection
) -> None:
    first = from_datetime(today().astimezone(UTC)) - 86_400 * SECOND
    await write(database, [first + n * 3600 * SECOND for n in range(9 * 24)])
    for table in ("entries", "batches"):
        assert f"{table}_default" not in await where(superuser, table)
        assert len(set(await where(superuser, table))) == 9


async def test_an_entry_of_a_day_without_a_partition_is_kept_all_the_same(
    database: Database, superuser: Connection
) -> None:
    far = from_datetime(today().astimezone(UTC)) + 30 * 86_400 * SECOND
    await write(database, [far])
    assert await where(superuser, "entries") == ["entries_default"]
    assert await where(superuser, "batches") == ["batches_default"]


async def test_an_entry_over_a_minute_from_its_batch_is_refused(
    database: Database,
) -> None:
    at = from_datetime(today().astimezone(UTC))
    hot = await asyncpg.connect(database.dsn("hot"))
    for wrong in (at - 61 * SECOND, at + SECOND):
        with pytest.raises(asyncpg.CheckViolationError, match="within_a_minute"):
            await append(hot, batch_number(at, 1, 1), [failed(wrong)], DIGESTS)
    await hot.close()
