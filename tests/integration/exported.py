"""A sealed log that is exported: its database, its writers and its readers."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.audit.export import Exports
from gateway.audit.inspection import Inspection
from gateway.clock import SECOND, from_datetime
from gateway.postgres import Connection, pool
from tests.conftest import Database
from tests.integration import logs


@dataclass(frozen=True)
class Log:
    """A log under test; `now` is the server's instant at its beginning."""

    database: Database
    hot: Connection
    superuser: Connection
    exports: Exports
    inspection: Inspection
    now: int

    async def write(
        self, first: int, batches: int, apart: int, seed: int = 1
    ) -> dict[str, int]:
        """Batches of 1 to 90 entries of every kind; access_id to instant."""
        chance = random.Random(seed)  # noqa: S311 - the same log at every run
        made: dict[str, int] = {}
        for n in range(batches):
            newest = first + n * apart
            ages = [chance.randrange(50 * SECOND) for _ in range(chance.randint(1, 90))]
            instants = sorted(newest - age for age in ages)
            entries = [logs.any_entry(chance, at) for at in instants]
            names = await logs.write(self.hot, entries)
            made |= dict(zip(names, instants, strict=True))
        return made

    async def seal(self) -> None:
        await logs.seal(self.database)

    async def entry(self, access_id: str) -> tuple[bytes, int]:
        """The line and the leaf index."""
        found = await self.inspection.entry(access_id)
        assert found is not None
        assert found[1] is not None
        return found[0], found[1]


@asynccontextmanager
async def opened(
    database: Database, superuser: Connection, hot: Connection
) -> AsyncIterator[Log]:
    await logs.make_key(superuser)
    now = from_datetime(await hot.fetchval("SELECT clock_timestamp()"))
    async with pool(
        database.dsn("auditor"), name="auditor", size=2, statement_seconds=30
    ) as auditor:
        yield Log(database, hot, superuser, Exports(auditor), Inspection(auditor), now)
