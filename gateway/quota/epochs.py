"""Where limits are counted: in Redis, or in PostgreSQL while Redis is away.

All workers must count in one place. The place is a number in PostgreSQL, the epoch: even
is Redis, odd PostgreSQL. A worker admits by Redis only under an epoch that it read less
than a second ago; so a worker that loses Redis raises the epoch, and once that second is
over nobody spends there. PostgreSQL tells by a lock that nobody spends in it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg
import structlog

from gateway import telemetry
from gateway.clock import SECOND, from_datetime
from gateway.patience import PatienceUntil
from gateway.postgres import SERVER_GONE, Connection, Link, queries
from gateway.problems import AuditUnavailable

log = structlog.get_logger()

SQL = queries("gateway.quota")
READ_SECONDS: Final = 0.3
# An epoch counts as known for so long after the worker asked for it.
KNOWN_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 0.8
# What may pass from a call's admission until its entry is committed. A call whose
# registry answers more slowly than this, at the instant at which Redis is lost, is not
# counted in what is made from the log.
COMMIT_SECONDS: Final = 1.0
# Known for a second, and a flush to Redis under way for a quarter of one.
FENCE_SECONDS: Final = KNOWN_SECONDS + 0.25 + COMMIT_SECONDS


class Elsewhere(Exception):
    """Limits are counted in the other place by now: ask there."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """`counts_from` is PostgreSQL's instant from which an odd epoch may count."""

    number: int
    counts_from: int

    @property
    def in_redis(self) -> bool:
        return self.number % 2 == 0


class Epochs:
    """One worker's knowledge of the epoch."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._epoch: Epoch | None = None
        self._asked_at = 0.0
        self._ahead = 0
        self._turn = asyncio.Lock()

    async def watch(self) -> None:
        """For ever: the epoch is known."""
        while True:
            async with self._asking() as connection:
                await self._read(connection)
            await asyncio.sleep(READ_SECONDS)

    async def current(self) -> Epoch:
        """The epoch, as it was within the last second.

        Raises:
            AuditUnavailable: PostgreSQL does not tell it, so it takes no entry either.
        """
        return self.known or await self.read(self._epoch)

    async def read(self, seen: Epoch | None = None) -> Epoch:
        """The epoch as it is now; `seen` where another one is news enough.

        Raises:
            AuditUnavailable: PostgreSQL does not tell it, so it takes no entry either.
        """
        try:
            async with self._asking() as connection:
                if self.known is None or seen is None:
                    await self._read(connection)
        except (*SERVER_GONE, asyncpg.PostgresError) as error:
            raise AuditUnavailable(fate_unknown=False) from error
        if (known := self.known) is None:
            raise AuditUnavailable(fate_unknown=False)
        return known

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[Connection]:
        """The connection, for one at a time and not for long."""
        with PatienceUntil(asyncio.get_running_loop().time() + ANSWER_SECONDS):
            async with self._turn, self._link.connection() as connection:
                yield connection

    @property
    def known(self) -> Epoch | None:
        """The epoch, if it was read within the last second."""
        age = asyncio.get_running_loop().time() - self._asked_at
        return self._epoch if age <= KNOWN_SECONDS else None

    def seconds_until_counting(self, epoch: Epoch) -> float:
        """0 where calls may be admitted under it; else how long that takes."""
        if epoch.in_redis:
            return 0.0
        now = asyncio.get_running_loop().time() * SECOND + self._ahead
        return max(0.0, (epoch.counts_from - now) / SECOND)

    async def _read(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        row = await connection.fetchrow(SQL["epoch"])
        if row is None:
            raise RuntimeError("the table quota_epoch has lost its row")
        self._ahead = from_datetime(row["now"]) - int(loop.time() * SECOND)
        fence = int(FENCE_SECONDS * SECOND)
        epoch = Epoch(row["epoch"], from_datetime(row["since"]) + fence)
        if self._epoch is not None and epoch.number != self._epoch.number:
            log.warning("limits_counted_elsewhere", in_redis=epoch.in_redis)
        self._epoch, self._asked_at = epoch, asked_at
        telemetry.LIMITS_IN_POSTGRES.set(not epoch.in_redis)

    async def leave_redis(self, seen: Epoch) -> None:
        """Redis is lost: nobody counts there once the fence is over."""
        async with self._asking() as connection:
            async with connection.transaction():
                # It must not wait for a standby: the fence runs from the instant it names.
                await connection.execute("SET LOCAL synchronous_commit = local")
                await connection.execute(SQL["leave_redis"], seen.number)
            await self._read(connection)

    async def return_to_redis(self, seen: Epoch) -> None:
        """Redis is back: no admission in PostgreSQL is under way once this is done."""
        async with self._asking() as connection:
            async with connection.transaction():
                await connection.execute(SQL["admit_alone"])
                await connection.execute(SQL["return_to_redis"], seen.number)
            await self._read(connection)


async def under(connection: Connection, epoch: Epoch) -> int | None:
    """PostgreSQL's instant, if this still is the epoch; it stays until the transaction ends."""
    await connection.execute(SQL["admit_beside_others"])
    row = await connection.fetchrow(SQL["epoch"])
    if row is None or row["epoch"] != epoch.number:
        return None
    return from_datetime(row["now"])
