"""How many entries a second one sealer seals, by how many a batch has."""

import os
import time
from random import Random

import asyncpg
import pytest

from gateway.clock import SECOND
from gateway.postgres import Connection
from tests.conftest import Database
from tests.integration import logs

pytestmark = pytest.mark.benchmark

ENTRIES = 60_000
# As flushes follow each other under load.
APART = SECOND // 100


async def fill(hot: Connection, now: int, a_batch: int) -> None:
    chance = Random(a_batch)  # noqa: S311 - the same log at every run
    for n in range(ENTRIES // a_batch):
        at = now + n * APART
        await logs.write(hot, [logs.any_entry(chance, at) for _ in range(a_batch)])


@pytest.mark.parametrize("a_batch", [7, 50, 200])
async def test_sealing_rate(database: Database, a_batch: int) -> None:
    superuser = await asyncpg.connect(database.dsn("superuser"))
    await logs.make_key(superuser)
    hot = await asyncpg.connect(database.dsn("hot"))
    await fill(hot, time.time_ns() // 1000, a_batch)
    sealing, link = logs.sealer(database)
    async with link.connection() as connection:
        await sealing._prepare(connection)
        frontier = await sealing.frontier(connection)
        began, busy = time.perf_counter(), time.process_time()
        while (grown := await sealing.seal(connection, frontier)).size > frontier.size:
            frontier = grown
        took, worked = time.perf_counter() - began, time.process_time() - busy
    link.drop()
    for one in (superuser, hot):
        await one.close()
    print(  # noqa: T201 - what is measured
        f"\nbatches of {a_batch}: {frontier.size / took:,.0f} entries/s"
        f" ({frontier.size:,} in {took:.1f} s, {worked:.1f} s of it the sealer's own;"
        f" load {os.getloadavg()[0]:.1f})"
    )
