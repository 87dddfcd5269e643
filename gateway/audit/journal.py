"""The journal: makes entries durable before any answer leaves.

Entries of concurrent calls are gathered into one flush, which is one statement, or the
statements of one transaction: a batch row and its entries. If a worker dies before the server
commits, nothing of the flush is in the log and no answer of it has left; if it dies
after, the entries are in the log and the answers may not have left. Never is there
an answer without its entry.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import asyncpg
import structlog

from gateway import telemetry
from gateway.audit.access import Access
from gateway.audit.batch import (
    SQL,
    BatchDigests,
    Prepared,
    make,
    prepare,
    prepare_now,
)
from gateway.audit.entry import MOST_ENTRIES_A_BATCH, Entry, Place, batch_number
from gateway.audit.floods import Floods
from gateway.clock import SECOND, ServerClock
from gateway.gathering import Gatherer, Unanswered
from gateway.leisure import at_leisure
from gateway.postgres import Connection, Link
from gateway.problems import AuditUnavailable, CallerGone, Problem
from gateway.settings import NumberedKeys
from gateway.vocabulary import Outcome, Reason

log = structlog.get_logger()

PATIENCE = 0.9
CONNECT_SECONDS = 0.4
MOST_A_FLUSH = 1000
CAPACITY = 20_000
# By weight, in entries: forty batches of a hundred go together, or four of a thousand.
MOST_A_FLUSH_OF_BATCHES = 4_000
CAPACITY_FOR_BATCHES = 100_000
FLOOD_SECONDS = 0.4
MOST_SEALING_LAG = 4 * 3600.0
# Entries further apart than this do not share a batch: the schema says so, and
# searches by time rely on it. They are, after a server's clock was set.
SPAN = 50 * SECOND
# SQLSTATE classes after which a commit's fate is unknown: the connection lost (asyncpg's
# own word), operator intervention (shut down while committing), system and internal error.
_FATE_UNKNOWN = ("08", "57", "58", "XX")
# Data exception, integrity constraint violation.
_ABOUT_DATA = ("22", "23")


_NOTHING: Final = Prepared([], [])
T = TypeVar("T")
R = TypeVar("R")


class NotWritten(Exception):
    """Nothing of the flush was sent, or nothing that PostgreSQL would keep."""


class Journal:
    """One worker's way into the log.

    Args:
        links: one for single entries, and one for those of batches, for which no single
            one waits.
    """

    def __init__(
        self,
        links: tuple[Link, Link],
        *,
        peppers: NumberedKeys,
        clock: ServerClock,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._links = links
        self._digests = BatchDigests(peppers)
        self._clock = clock
        self._floods = Floods()
        self._down = False
        self._sealing_lag = 0.0
        self._has_room = True
        self._worker: int | None = None
        self._counter = 0
        self._single = Gatherer[Entry, str](
            self._flush_singles,
            stage="journal",
            tasks=tasks,
            most=MOST_A_FLUSH,
            capacity=CAPACITY,
            patience=PATIENCE,
        )
        self._together = Gatherer[Prepared, list[str]](
            self._flush_batches,
            stage="journal",
            tasks=tasks,
            most=MOST_A_FLUSH_OF_BATCHES,
            capacity=CAPACITY_FOR_BATCHES,
            patience=PATIENCE,
        )

    def recording(self, access: Access) -> "Recording":
        """Wraps a call: however it ends, its entry is durable before control returns."""
        return Recording(self, access)

    async def record(self, access: Access) -> None:
        """Makes the access's entry durable and sets its `access_id`.

        One of a flood is only counted: it stays without an id and does not wait.

        Raises:
            AuditUnavailable: within a second, if the entry is not known to be durable.
        """
        entry = access.entry(self._clock.now())
        if self._floods.absorb(entry, proved=access.proved):
            telemetry.FLOOD_ENTRIES.labels(
                str(entry.reason and entry.reason.word)
            ).inc()
            return
        access.at = entry.at
        access.access_id = await self._enter(entry)

    async def record_all(self, parts: list[Access]) -> None:
        """Makes the entries of a batch durable, all or none; see `record`."""
        now = self._clock.now()
        entries = await at_leisure((part.entry(now) for part in parts), lasting=True)
        try:
            if self._worker is None:
                # Whoever connects first draws the number that names its batches.
                await self._together.ask(_NOTHING)
            prepared = await self._prepared(entries)
            names = await self._together.ask(prepared, weight=prepared.weight)
        except Unanswered as unanswered:
            raise _unavailable(unanswered) from unanswered
        for part, name in zip(parts, names, strict=True):
            part.access_id = name

    async def _prepared(self, entries: list[Entry]) -> Prepared:
        """Before the log is asked, which is waited for for less than a second."""
        number = self._next_batch(max(entry.at for entry in entries))
        places = (Place(number, position) for position in range(len(entries)))
        made = await at_leisure(map(make, entries, places), lasting=True)
        return prepare(number, entries, made, self._digests)

    async def _enter(self, entry: Entry) -> str:
        try:
            return await self._single.ask(entry)
        except Unanswered as unanswered:
            raise _unavailable(unanswered) from unanswered

    async def _flush_singles(self, entries: list[Entry]) -> list[str]:
        try:
            ids = await self._flush(self._links[0], len(entries), self._write, entries)
        except BaseException as error:
            # Calls then end at once instead of waiting for the log one by one.
            self._down = self._down or not _concerns_its_entries(error)
            raise
        self._down = False
        return ids

    async def _flush_batches(self, batches: list[Prepared]) -> list[list[str]]:
        """That one fails says nothing about single entries, which go another way."""
        number = sum(len(batch.names) for batch in batches)
        return await self._flush(self._links[1], number, self._write_batches, batches)

    async def _flush(
        self,
        link: Link,
        number: int,
        write: Callable[[Link, Connection, list[T]], Awaitable[list[R]]],
        asks: list[T],
    ) -> list[R]:
        try:
            with telemetry.flush_seconds_of("journal").time():
                connection = await self._connection(link)
                answers = await write(link, connection, asks)
        except BaseException as error:
            telemetry.FLUSH_FAILURES.labels("journal").inc()
            log.warning("journal_flush_failed", error=type(error).__name__)
            raise
        telemetry.flush_size_of("journal").observe(number)
        return answers

    def check(self) -> None:
        """Refuses a call at its beginning while entries are known not to be taken.

        Raises:
            AuditUnavailable: the last flush failed, and nothing has said since that
                the log can be written again; its disk is all but full; sealing is over
                4 h behind; or no server has told the time yet.
        """
        behind = self._sealing_lag > MOST_SEALING_LAG
        shut = self._down or behind or not self._has_room
        if shut or not self._clock.known:
            raise AuditUnavailable(fate_unknown=False)

    def found_sealing_lag(self, seconds: float) -> None:
        """Somebody saw how long the oldest entry has waited for its leaf number."""
        self._sealing_lag = seconds

    def found_room(self, *, enough: bool) -> None:
        """Somebody saw whether the disk of the log has room for more."""
        self._has_room = enough

    def found_writable(self) -> None:
        """Somebody saw PostgreSQL take writes: calls may try again."""
        self._down = False

    async def _connection(self, link: Link) -> Connection:
        try:
            connection = await link.ready()
            if self._worker is None:
                self._worker = await connection.fetchval(SQL["draw_worker_number"])
        except BaseException as error:
            # Also the flush's deadline: nothing of it has been sent.
            link.drop()
            raise NotWritten from error
        return connection

    async def _write(
        self, link: Link, connection: Connection, entries: list[Entry]
    ) -> list[str]:
        names: dict[int, str] = {}
        statements = []
        for batch in _batches(entries):
            chosen = [entries[i] for i in batch]
            number = self._next_batch(chosen[-1].at)
            prepared = prepare_now(number, chosen, self._digests)
            names.update(zip(batch, prepared.names, strict=True))
            statements += prepared.statements
        await _commit(link, connection, statements)
        return [names[i] for i in range(len(entries))]

    async def _write_batches(
        self, link: Link, connection: Connection, batches: list[Prepared]
    ) -> list[list[str]]:
        statements = [one for batch in batches for one in batch.statements]
        if statements:
            await _commit(link, connection, statements)
        return [batch.names for batch in batches]

    def _next_batch(self, newest: int) -> int:
        # The counter runs on through every millisecond: a number could only come
        # again if the server's clock went back to the very millisecond, and then the
        # primary key refuses it.
        self._counter = (self._counter + 1) % 1024
        if self._worker is None:
            msg = "a worker draws its number before it writes"
            raise RuntimeError(msg)
        return batch_number(newest, self._worker, self._counter)

    async def write_floods(self) -> None:
        """For ever: enters what floods were counted, within a second of them."""
        while True:
            await asyncio.sleep(FLOOD_SECONDS)
            await self.drain_floods()

    async def drain_floods(self) -> None:
        """Enters the counted floods now. What cannot be written stays counted."""
        drained = self._floods.drain()
        results = await asyncio.gather(
            *(self._enter(entry) for entry in drained), return_exceptions=True
        )
        # Where a commit's fate is unknown a count could come twice; rather that
        # than lose it.
        failed = [
            entry
            for entry, result in zip(drained, results, strict=True)
            if isinstance(result, BaseException)
        ]
        self._floods.restore(failed)


async def _commit(
    link: Link, connection: Connection, statements: list[tuple[Any, ...]]
) -> None:
    """One statement, or several in one transaction: durable then, or nothing of them.

    Raises:
        NotWritten: COMMIT was not sent.
    """
    alone = len(statements) == 1
    try:
        if not alone:
            await connection.execute("BEGIN")
            for statement in statements:
                await connection.execute(*statement)
    except BaseException as error:
        # Not asyncpg's transaction, which would wait for a server that hangs.
        link.drop()
        if _concerns_its_entries(error):
            raise
        raise NotWritten from error
    try:
        await connection.execute(*statements[0] if alone else ("COMMIT",))
    except BaseException as error:
        if not _known_undone(error):
            link.drop()
        raise


def _unavailable(unanswered: Unanswered) -> AuditUnavailable:
    fate_unknown = unanswered.sent and not _known_undone(unanswered.__cause__)
    return AuditUnavailable(fate_unknown=fate_unknown)


def _known_undone(cause: BaseException | None) -> bool:
    if isinstance(cause, NotWritten):
        return True
    return isinstance(cause, asyncpg.PostgresError) and not (
        cause.sqlstate or "XX"
    ).startswith(_FATE_UNKNOWN)


def _batches(entries: list[Entry]) -> list[list[int]]:
    """Which entries go into which batch, each oldest first: nearly always one."""
    waiting = sorted(range(len(entries)), key=lambda i: entries[i].at)
    batches = []
    while waiting:
        newest = entries[waiting[-1]].at
        batches.append([i for i in waiting if entries[i].at > newest - SPAN])
        waiting = [i for i in waiting if entries[i].at <= newest - SPAN]
    return batches


def _concerns_its_entries(error: BaseException) -> bool:
    """Whether other entries may fare better: the server is well, it minded these."""
    return isinstance(error, asyncpg.PostgresError) and (
        error.sqlstate or ""
    ).startswith(_ABOUT_DATA)


class Recording:
    """The audit policy of a call, in one place.

    Every way out leaves exactly one entry: answered, refused, failed, cancelled; save
    where the log is not available, and nothing is released. A change that is durable
    has its own (gateway/changes.py), and none is added.
    """

    def __init__(self, journal: Journal, access: Access) -> None:
        self._journal = journal
        self._access = access

    async def __aenter__(self) -> Self:
        self._journal.check()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.end(error)

    async def end(self, error: BaseException | None) -> None:
        """Enters how it ended: with its answer, or this error.

        Raises:
            AuditUnavailable: the entry is not known to be durable.
        """
        access = self._access
        if access.access_id is not None or isinstance(error, AuditUnavailable):
            # A change entered itself, or could not: its entry is in its transaction. And
            # a log that was asked and did not answer is not asked once more: that would
            # take longer than the second in which it is to be told.
            return
        if isinstance(error, Problem):
            access.outcome, access.reason = error.outcome, error.reason
        elif error is not None:
            access.outcome = Outcome.FAILED
            if isinstance(error, Exception) and not isinstance(error, CallerGone):
                access.reason = Reason.INTERNAL_ERROR
        if error is None and access.parts is not None:
            await self._journal.record_all(access.parts)
        else:
            await self._journal.record(access)


assert MOST_A_FLUSH <= MOST_ENTRIES_A_BATCH  # noqa: S101 - positions are smallint
