"""A sealed log of several days that are over, and what archives and asks it."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg

from gateway.audit.archive import Archiver, due
from gateway.audit.archived import ArchivedDay
from gateway.audit.batch import BatchDigests
from gateway.audit.days import begins, day_of, ends
from gateway.audit.deeds import Deed, do
from gateway.audit.entry import Entry, PurposeName, parse_address
from gateway.audit.rollup import MOST_BATCHES, Rollups
from gateway.audit.subject import Subject
from gateway.clock import SECOND, from_datetime
from gateway.postgres import Connection, Link, Pool, pool
from gateway.vocabulary import Actor, Operation, Outcome, Reason
from tests.conftest import Database
from tests.integration import logs

ADDRESSES = [
    parse_address(text) for text in ("192.0.2.1", "2001:db8::7", "203.0.113.250")
]
PEOPLE = [Subject(n * 7919 << 40, ~n, 1 + n % 2) for n in range(-12, 12)]
TEXTS = [
    None,
    None,
    "case 12",
    'quoted "\\/\u0001\u001f\u007f',
    "Müller\u00a0日本\u3000\U0001f600",
]
DEED = Deed(Operation.AUDIT_ARCHIVE, "monthly archive", "tester")


def any_entry(chance: random.Random, at: int) -> Entry:
    """Every kind of row: with and without each member that may be null."""
    match chance.randrange(6):
        case 0:
            return logs.refusal(at, times=chance.choice([1, 250]))
        case 1:
            return Entry(
                at=at,
                actor=Actor.AUDITOR,
                outcome=Outcome.DONE,
                address=chance.choice([None, *ADDRESSES]),
                operation=Operation.AUDIT_SUBJECT_SEARCH,
                subject=chance.choice([None, *PEOPLE]),
                reference=chance.choice(TEXTS),
            )
        case 2:
            return Entry(
                at=at,
                actor=Actor.UNIDENTIFIED,
                outcome=Outcome.FAILED,
                address=chance.choice(ADDRESSES),
                operation=chance.choice([None, Operation.FETCH]),
                reason=Reason.INTERNAL_ERROR,
            )
        case _:
            outcome = chance.choice(logs.ANSWERS)
            return Entry(
                at=at,
                actor=Actor.INSTITUTION,
                outcome=outcome,
                address=chance.choice(ADDRESSES),
                operation=chance.choice([Operation.VERIFY, Operation.FETCH]),
                institution=chance.randint(1, 4),
                key=logs.KEY,
                purpose=chance.choice([*logs.PURPOSES, PurposeName(1, "kyc")]),
                fields=chance.choice([None, 1, 0b10110, 2**22 - 1]),
                subject=chance.choice(PEOPLE),
                reason=Reason.RESIDENT_NOT_FOUND
                if outcome is Outcome.NOT_FOUND
                else None,
                reference=chance.choice(TEXTS),
                operator=chance.choice(TEXTS),
                replay_of=chance.choice(
                    [None, None, UUID(int=chance.getrandbits(128))]
                ),
            )


@dataclass
class PastLog:
    """A log whose days are, but for the last, over for long; `days` oldest first."""

    database: Database
    hot: Connection
    owner: Connection
    auditor: Pool
    folder: Path
    days: list[date]
    names: dict[str, int] = field(default_factory=dict)
    chance: random.Random = field(default_factory=lambda: random.Random(5))  # noqa: S311 - the same log at every run

    @property
    def superuser(self) -> Connection:
        """Who may change the log's tables."""
        return self.owner

    @property
    def eve(self) -> date:
        """The day before the first, which holds the little that batches reach back."""
        return self.days[0] - timedelta(days=1)

    async def write(self, newest: int, entries: int, within: int) -> list[str]:
        """One batch, its entries at instants up to `within` before its newest."""
        instants = [newest - self.chance.randrange(within) for _ in range(entries - 1)]
        instants.append(newest)
        held = [any_entry(self.chance, at) for at in instants]
        names = await logs.write(self.hot, held)
        self.names |= dict(zip(names, instants, strict=True))
        return names

    async def fill(self, batches: int = 6) -> None:
        """Entries all over each day, and in batches on both sides of each midnight."""
        for day in self.days:
            first, past = begins(day), ends(day)
            await self.write(first + SECOND // 5, 9, 2 * SECOND // 5)
            for _ in range(batches):
                newest = self.chance.randrange(first + 120 * SECOND, past)
                await self.write(newest, self.chance.randint(1, 30), 50 * SECOND)
            await self.write(past - 1000, 5, 1000)

    async def settle(self) -> None:
        """Seals and counts whatever has been committed."""
        await logs.seal(self.database)
        link = Link(self.database.dsn("sealer"), name="rollups", statement_seconds=30)
        rollups = Rollups(link)
        async with link.connection() as connection:
            while await rollups.step(connection) == MOST_BATCHES:
                pass
        link.drop()

    async def enter(self, work: Callable[[Connection], Awaitable[None]]) -> object:
        digests = BatchDigests(logs.PEPPERS)
        await do(self.owner, digests, DEED, work)
        return None

    async def archive(self, *days: date) -> list[ArchivedDay]:
        archiver = Archiver(self.owner, self.folder, self.enter)
        return [await archiver.archive(day) for day in days]

    async def reconnect(self) -> "PastLog":
        """The same log by another session of the owner's."""
        owner = await asyncpg.connect(self.database.dsn("owner"))
        return replace(self, owner=owner)

    async def due(self, before: date) -> list[date]:
        return await due(self.owner, before)

    def file(self, day: date) -> Path:
        return self.folder / f"day={day}" / "entries.parquet"

    async def partitions(self) -> set[str]:
        rows = await self.owner.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'r'"
            " AND relname ~ '^(entries|batches)_[0-9]{8}$'"
        )
        return {row["relname"] for row in rows}


async def make_partitions(owner: Connection, day: date) -> None:
    for table in ("entries", "batches"):
        await owner.execute(
            f"CREATE TABLE {table}_{day:%Y%m%d} (LIKE {table} INCLUDING ALL)"
        )
        await owner.execute("SELECT attach_partition($1, $2)", table, day)


@asynccontextmanager
async def past_log(
    database: Database, folder: Path, days: int
) -> AsyncIterator[PastLog]:
    """`days` days that are over for two days or more, without entries yet."""
    owner = await asyncpg.connect(database.dsn("owner"))
    hot = await asyncpg.connect(database.dsn("hot"))
    superuser = await asyncpg.connect(database.dsn("superuser"))
    await logs.make_key(superuser)
    await superuser.close()
    today = day_of(from_datetime(await hot.fetchval("SELECT clock_timestamp()")))
    over = [today - timedelta(days=2 + n) for n in range(days, 0, -1)]
    # The day before and the one after too: batches near midnight reach into them.
    for day in [over[0] - timedelta(days=1), *over, over[-1] + timedelta(days=1)]:
        await make_partitions(owner, day)
    async with pool(
        database.dsn("auditor"), name="auditor", size=2, statement_seconds=30
    ) as auditor:
        yield PastLog(database, hot, owner, auditor, folder, over)
    await owner.close()
    await hot.close()
