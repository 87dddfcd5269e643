"""What of the log is measured now and then, so that it is seen before it is a fault."""

import asyncio
from typing import Final

from gateway import telemetry
from gateway.audit.tree import SQL
from gateway.postgres import Pool, Reader

# Both change by the day; the size is read from every file of the database.
MEASURE_SECONDS: Final = 30.0


async def measure(connection: Reader) -> None:
    """How many days ahead have partitions, and how large the database is, as metrics."""
    days = await connection.fetchval(SQL["days_ahead"])
    telemetry.PARTITION_DAYS_AHEAD.set(days)
    size = await connection.fetchval(SQL["database_bytes"])
    telemetry.DATABASE_BYTES.set(size)


async def keep_measuring(pool: Pool) -> None:
    """For ever, by the auditor's role."""
    while True:
        async with pool.acquire() as connection:
            await measure(connection)
        await asyncio.sleep(MEASURE_SECONDS)
