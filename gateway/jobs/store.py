"""Where jobs are kept: PostgreSQL, beside the log, so that both change together or not at all."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

import asyncpg

from gateway.audit.batch import SQL as AUDIT_SQL
from gateway.audit.batch import BatchDigests, append
from gateway.audit.entry import Entry, batch_number
from gateway.patience import PatienceUntil
from gateway.postgres import SERVER_GONE, Connection, Link, Pool, queries
from gateway.problems import AuditUnavailable
from gateway.settings import NumberedKeys

SQL: Final = queries("gateway.jobs")
# From an admission to its entry no more may pass (gateway/quota/epochs.py).
ANSWER_SECONDS: Final = 0.9
_COUNTERS: Final = 1024
_SLICES_AT_ONCE: Final = 100


class Overtaken(Exception):
    """The job is another's by now, or over: nothing was changed."""


class Store:
    """Transactions go one after another over a connection of their own.

    Raises, from every method:
        AuditUnavailable: PostgreSQL does not answer; from a transaction within a second.
            Only there the fate of what was asked may be unknown.
    """

    def __init__(self, pool: Pool, link: Link, peppers: NumberedKeys) -> None:
        self._pool = pool
        self._link = link
        self._digests = BatchDigests(peppers)
        self._turn = asyncio.Lock()
        self._worker: int | None = None
        self._counter = 0

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        async with self._turn, self._link.connection() as connection:
            yield connection

    async def fetch(self, query: str, *values: Any) -> list[asyncpg.Record]:
        """What a statement of its own gives."""
        try:
            async with self._pool.acquire() as connection:
                return await connection.fetch(SQL[query], *values)
        except SERVER_GONE as error:
            raise AuditUnavailable(fate_unknown=False) from error

    async def drop(self, job: UUID, *, answers: bool) -> None:
        """Deletes its items, maybe its answers, some at a time: a million take seconds."""
        for query in ("drop_items", "drop_answers")[: 1 + answers]:
            while await self.fetch(query, job, _SLICES_AT_ONCE):
                pass

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Transaction"]:
        """All that is done in it is durable once control returns, or nothing is."""
        deadline, committing = asyncio.get_running_loop().time() + ANSWER_SECONDS, False
        try:
            with PatienceUntil(deadline):
                async with self._connection() as connection:
                    await connection.execute("BEGIN")
                    try:
                        yield Transaction(self, connection)
                    except Exception:
                        await connection.execute("ROLLBACK")
                        raise
                    committing = True
                    await connection.execute("COMMIT")
        except SERVER_GONE as error:
            raise AuditUnavailable(fate_unknown=committing) from error

    async def append(
        self, connection: Connection, entries: Sequence[Entry]
    ) -> list[str]:
        """Entries of one instant, as a batch of the log; gives their access_ids."""
        if self._worker is None:
            drawn = await connection.fetchval(AUDIT_SQL["draw_worker_number"])
            self._worker = int(drawn)
        self._counter = (self._counter + 1) % _COUNTERS
        number = batch_number(entries[-1].at, self._worker, self._counter)
        return await append(connection, number, entries, self._digests)


class Transaction:
    """Changes of jobs, and entries of the log."""

    def __init__(self, store: Store, connection: Connection) -> None:
        self._store = store
        self._connection = connection

    async def enter(self, entries: Sequence[Entry]) -> list[str]:
        return await self._store.append(self._connection, entries)

    async def change(self, query: str, job: UUID, *values: Any) -> asyncpg.Record:
        """The row that the query changed or locked.

        Raises:
            Overtaken: there is none.
        """
        row = await self._connection.fetchrow(SQL[query], job, *values)
        if row is None:
            raise Overtaken
        return row

    async def execute(self, query: str, job: UUID, *values: Any) -> None:
        await self._connection.execute(SQL[query], job, *values)
