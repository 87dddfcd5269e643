"""What of the log is measured: days ahead, and bytes on the disk."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from gateway import telemetry
from gateway.audit.measures import measure
from gateway.postgres import Connection
from tests.conftest import Database

pytestmark = pytest.mark.integration

DAY_AHEAD = "SELECT (clock_timestamp() AT TIME ZONE 'Asia/Jakarta')::date + $1::int"


@pytest.fixture
async def auditor(database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.dsn("auditor"))
    yield connection
    await connection.close()


async def days_ahead(auditor: Connection) -> float:
    await measure(auditor)
    ((sample,),) = (
        family.samples for family in telemetry.PARTITION_DAYS_AHEAD.collect()
    )
    return sample.value


async def test_days_ahead_are_those_in_a_row_that_have_all_their_partitions(
    auditor: Connection, superuser: Connection
) -> None:
    assert await days_ahead(auditor) == 7
    for table, ahead, left in (
        ("entries", 6, 5),
        # A hole: what is behind it is not in a row.
        ("batches", 3, 2),
        # Yesterday is not ahead.
        ("entries", -1, 2),
        ("entries", 1, 0),
    ):
        day = await superuser.fetchval(DAY_AHEAD, ahead)
        await superuser.execute(f"DROP TABLE {table}_{day:%Y%m%d}")
        assert await days_ahead(auditor) == left


async def test_the_databases_size_is_that_of_its_files(
    auditor: Connection, superuser: Connection
) -> None:
    size = "SELECT pg_database_size(current_database())"
    before = await superuser.fetchval(size)
    await superuser.execute(
        "CREATE TABLE large AS SELECT repeat('x', 1000) FROM generate_series(1, 5000)"
    )
    await measure(auditor)
    ((sample,),) = (family.samples for family in telemetry.DATABASE_BYTES.collect())
    assert before + 5_000_000 < sample.value <= await superuser.fetchval(size)
