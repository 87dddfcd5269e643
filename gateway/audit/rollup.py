"""Counts the sealed log by hour and by day, so that summaries need not read it.

A step counts some batches and moves the mark past them in one transaction, which
holds the mark's row: a crash anywhere leaves both as they were, and no batch is
counted twice, however many processes roll up. It is a task beside the sealer, not a
part of its pass: an entry waits for a count of others no more than for its own.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from gateway.audit.entry import batch_instant
from gateway.clock import SECOND, to_datetime
from gateway.postgres import Connection, Link, queries

SQL = queries("gateway.audit")
# Longer costs summaries, which read what is not rolled up yet; shorter costs writes,
# since what comes again within a pause is one row.
PAUSE: Final = 5.0
MOST_BATCHES: Final = 2000
# Batches further apart than this are read one after the other: a batch that was
# committed a day late must not have the day between read with it.
_NEAR: Final = 60 * SECOND
# Of some hundred thousand PostgreSQL makes no hash that fits into its work_mem (4 MB): each entry
# would be looked for among all of them, one after the other.
MOST_OF_A_RUN: Final = 50_000


def runs(batches: Iterable[int]) -> Iterator[list[int]]:
    """The batches in order, apart where the log is not read through from one to the next.

    A run is of MOST_OF_A_RUN at most.
    """
    run: list[int] = []
    for batch in sorted(batches):
        apart = run and batch_instant(batch) - batch_instant(run[-1]) > _NEAR
        if apart or len(run) == MOST_OF_A_RUN:
            yield run
            run = []
        run.append(batch)
    if run:
        yield run


def extent(run: Sequence[int]) -> tuple[int, int]:
    """Microseconds between which, inclusive, the schema holds the entries of a run."""
    return batch_instant(run[0]) - 60 * SECOND, batch_instant(run[-1]) + SECOND


class Rollups:
    """Keeps the rollups of one log, by the sealer's role."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def run(self) -> None:
        """For ever: what is sealed is rolled up within the pause, or as fast as it can."""
        async with self._link.connection() as connection:
            while True:
                if await self.step(connection) < MOST_BATCHES:
                    await asyncio.sleep(PAUSE)

    async def step(self, connection: Connection) -> int:
        """Counts the next sealed batches; how many there were, at most MOST_BATCHES."""
        async with connection.transaction():
            below = await connection.fetchval(SQL["hold_rollups"])
            sealed = await connection.fetch(SQL["sealed_from"], below, MOST_BATCHES)
            if not sealed:
                return 0
            for run in runs([row["batch"] for row in sealed]):
                starts, ends = map(to_datetime, extent(run))
                await connection.execute(
                    SQL["roll_up"], run, run[0], run[-1], starts, ends
                )
            await connection.execute(SQL["rolled_up_to"], sealed[-1]["first_leaf"] + 1)
        return len(sealed)
