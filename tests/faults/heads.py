"""Every head the log ever showed, looked for all the time, by two ways."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from gateway.postgres import SERVER_GONE
from tests.acceptance.service import LOG, Service
from tests.acceptance.wire import Lost

PAUSE: Final = 0.03
# The last is what asyncpg says of a session that was cut off within an answer.
GONE: Final = (*SERVER_GONE, asyncpg.PostgresError, asyncpg.InternalClientError)
_NEWEST: Final = "SELECT note FROM checkpoints ORDER BY size DESC LIMIT 50"

_SEALS: Final = """
WITH written AS (SELECT batch, count(*) AS entries FROM entries GROUP BY batch)
SELECT s.first_leaf, length(s.leaves) / 32 AS leaves, b.entries, w.entries AS written
FROM seals AS s
LEFT JOIN batches AS b ON b.batch = s.batch
LEFT JOIN written AS w ON w.batch = s.batch
ORDER BY s.first_leaf
"""


@dataclass
class Heads:
    """The notes that were shown, and how often each way showed one."""

    service: Service
    notes: set[str] = field(default_factory=set)
    shown: Counter[str] = field(default_factory=Counter)
    ending: bool = False

    @property
    def largest(self) -> int:
        """The size of the newest head."""
        return max((int(note.split("\n")[1]) for note in self.notes), default=0)

    async def grow(self, *, within: float) -> None:
        """Waits until a head is shown that is newer than all so far."""
        before = self.largest
        async with asyncio.timeout(within):
            while self.largest == before:  # noqa: ASYNC110 - no event tells of a head
                await asyncio.sleep(PAUSE)

    async def look_into_the_database(self) -> None:
        while not self.ending:
            with suppress(*GONE):
                dsn = self.service.log.dsn(database=LOG)
                connection = await asyncpg.connect(dsn, timeout=2)
                try:
                    while not self.ending:
                        rows = await connection.fetch(_NEWEST)
                        self._note("database", *(row["note"] for row in rows))
                        await asyncio.sleep(PAUSE)
                finally:
                    connection.terminate()
            await asyncio.sleep(PAUSE)

    async def look_over_http(self) -> None:
        """At workers as they come."""
        while not self.ending:
            with suppress(Lost, OSError):
                answer = await self.service.ask("GET", "/log/checkpoint")
                if answer.status == 200:
                    self._note("http", answer.body.decode())
            await asyncio.sleep(5 * PAUSE)

    def _note(self, way: str, *notes: str) -> None:
        self.notes.update(notes)
        self.shown[way] += len(notes)


@asynccontextmanager
async def watched(service: Service) -> AsyncIterator[Heads]:
    """While this is open, every head that is shown is noted."""
    heads = Heads(service)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(heads.look_into_the_database())
        tasks.create_task(heads.look_over_http())
        try:
            yield heads
        finally:
            heads.ending = True


async def sealed_leaves(dsn: str) -> int:
    """How many: their numbers run from 0 without gap or overlap, over whole batches.

    Every entry that there is has one.
    """
    connection = await asyncpg.connect(dsn)
    reached = 0
    for row in await connection.fetch(_SEALS):
        assert row["first_leaf"] == reached
        assert row["leaves"] == row["entries"] == row["written"]
        reached += row["leaves"]
    assert reached == await connection.fetchval("SELECT count(*) FROM entries")
    assert reached == await connection.fetchval("SELECT max(size) FROM checkpoints")
    await connection.close()
    return reached
