"""What one institution asked that reached admission: read from the log, in order.

The index of an institution's entries goes by the eight seconds of their batches, and
an entry is up to a minute older than its batch. So they are read in the index's order
and held back until none that is older can follow: memory is that of a minute's calls,
and nothing is read twice, however long the time and the log.
"""

from bisect import bisect_left
from collections.abc import AsyncIterator, Iterator
from typing import Final

import asyncpg

from gateway.audit.entry import batch_instant, batch_number
from gateway.audit.extract import AFTER_BATCH, BEFORE_BATCH
from gateway.clock import from_datetime, to_datetime
from gateway.postgres import Reader, queries

SQL: Final = queries("gateway.audit")
AT_ONCE: Final = 20_000
_SHIFT: Final = 34
# A query looks into two days' partitions, not into all that there are.
_EIGHTHS_AT_ONCE: Final = 24 * 3600 * 1000 >> 13

# An instant, the units of quota asked for (0 or 1), and how many calls alike.
Ask = tuple[int, int, int]


def _eighth(at: int) -> int:
    """The eight seconds (2^13 ms), as the index numbers them, of a batch of that instant."""
    return batch_number(at, 0, 0) >> _SHIFT


def _begins(eighth: int) -> int:
    return batch_instant(eighth << _SHIFT)


class Admissions:
    """One institution's, read by the auditor's role, `at_once` or so in a page."""

    def __init__(
        self, connection: Reader, institution: int, *, at_once: int | None = None
    ) -> None:
        self._connection = connection
        self._institution = institution
        self._at_once = at_once or AT_ONCE

    async def extent(self, from_at: int, to_at: int | None) -> tuple[int, int] | None:
        """The part of that time, end exclusive, in which the log can have entries."""
        row = await self._connection.fetchrow(SQL["extent"])
        if row is None or row["oldest"] is None:
            return None
        newest = batch_instant(row["newest"]) + 2 * AFTER_BATCH
        starts = max(from_at, batch_instant(row["oldest"]) - BEFORE_BATCH)
        ends = newest if to_at is None else min(to_at, newest)
        return (starts, ends) if starts < ends else None

    async def between(self, from_at: int, to_at: int) -> AsyncIterator[list[Ask]]:
        """The asks from `from_at` to before `to_at`, in the order of their instants.

        What is charged, refused for its quota or a question about the account or a
        receipt has been admitted or refused by the limits; a flood's entry is all the
        calls it counts. Alike instants are in an order that is the same every time.
        """
        held: list[Ask] = []
        async for asks, reached in self._pages(from_at, to_at):
            held += asks
            held.sort()
            # No batch to come begins before this, and no entry lies further back.
            whole = bisect_left(held, (_begins(reached + 1) - BEFORE_BATCH,))
            yield held[:whole]
            del held[:whole]
        yield held

    async def charged(self, from_at: int, to_at: int) -> int:
        """Units of quota kept from `from_at` to before `to_at`."""
        total = 0
        for first, last in _days(from_at, to_at):
            bounds = self._bounds(first, last, from_at, to_at)
            total += await self._connection.fetchval(SQL["units_charged"], *bounds)
        return total

    async def _pages(
        self, from_at: int, to_at: int
    ) -> AsyncIterator[tuple[list[Ask], int]]:
        """Asks as the index has them, and the eight seconds up to which these are all."""
        for first, last in _days(from_at, to_at):
            unread = first
            while unread <= last:
                bounds = self._bounds(unread, last, from_at, to_at)
                rows = await self._page(*bounds)
                reached = rows[-1]["eighth"] if len(rows) >= self._at_once else last
                yield (
                    [(from_datetime(at), units, times) for _, at, units, times in rows],
                    reached,
                )
                unread = reached + 1

    async def _page(self, *bounds: object) -> list[asyncpg.Record]:
        # A transaction of its own: a snapshot held for hours would hold up vacuum.
        async with self._connection.transaction(readonly=True):
            await self._connection.execute(SQL["read_in_index_order"])
            return await self._connection.fetch(
                SQL["admissions"], *bounds, self._at_once
            )

    def _bounds(
        self, first: int, last: int, from_at: int, to_at: int
    ) -> tuple[object, ...]:
        """A query's arguments: the instants let it leave out the other partitions."""
        starts = max(from_at, _begins(first) - BEFORE_BATCH)
        ends = min(to_at, _begins(last + 1) + AFTER_BATCH)
        return self._institution, first, last, to_datetime(starts), to_datetime(ends)


def _days(from_at: int, to_at: int) -> Iterator[tuple[int, int]]:
    """From which eight seconds to which, inclusive, batches have entries of that time."""
    first, last = _eighth(from_at - AFTER_BATCH), _eighth(to_at + BEFORE_BATCH)
    for begins in range(first, last + 1, _EIGHTHS_AT_ONCE):
        yield begins, min(last, begins + _EIGHTHS_AT_ONCE - 1)
