"""How often, by whom and with what outcome: the log counted, exactly.

Whole days and hours come from the rollups, what juts out at either end from the
entries, and what is not rolled up yet from the entries of its batches, sealed or not.
All of it is read in one snapshot, so no entry is missed or counted twice between them.
What juts out into an archived day is counted in its file.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import asyncpg

from gateway.audit.archived import Archive, ArchivedDay
from gateway.audit.entry import BATCH_TIME_SHIFT
from gateway.audit.rollup import MOST_OF_A_RUN, SQL, extent, runs
from gateway.audit.unsealed import LOOK_BACK_MS, SLICE_MS
from gateway.clock import JAKARTA_OFFSET, SECOND, to_datetime
from gateway.postgres import Pool, Reader
from gateway.vocabulary import Outcome

HOUR: Final = 3600 * SECOND
DAY: Final = 24 * HOUR
# Midnights of Asia/Jakarta before the first and after the last instant that can be.
_BEGINNING: Final = -JAKARTA_OFFSET
_END: Final = 100_000 * DAY - JAKARTA_OFFSET
_LOOK_BACK: Final = LOOK_BACK_MS << BATCH_TIME_SHIFT
_SLICE: Final = SLICE_MS << BATCH_TIME_SHIFT


class By(StrEnum):
    """What a row of a summary is about."""

    INSTITUTION = "institution"
    DAY = "day"
    OUTCOME = "outcome"
    PURPOSE = "purpose"


@dataclass(frozen=True, slots=True)
class Row:
    """What was counted under one key.

    `key` is an institution's id, "YYYY-MM-DD" in Asia/Jakarta, an outcome's word or a
    purpose's name; None where the entries have none. `entries` are accesses, also
    those that a flood's entry only counts; `charged` units of quota kept; `refused`
    the accesses among `entries` that were.
    """

    key: int | str | None
    entries: int
    charged: int
    refused: int


class Span(NamedTuple):
    """Instants in microseconds; the end is exclusive."""

    start: int
    end: int

    def whole(self, unit: int) -> tuple["Span", list["Span"]]:
        """The whole units in it, counted from a midnight of Jakarta, and the rest."""
        first = -(-(self.start + JAKARTA_OFFSET) // unit) * unit - JAKARTA_OFFSET
        last = (self.end + JAKARTA_OFFSET) // unit * unit - JAKARTA_OFFSET
        if first >= last:
            return Span(self.start, self.start), [self]
        return Span(first, last), [Span(self.start, first), Span(last, self.end)]

    def within(self, day: ArchivedDay) -> "Span":
        """What of it lies within a day; the end is not after the start if nothing does."""
        return Span(max(self.start, day.begins), min(self.end, day.ends))

    def without(self, days: Sequence[ArchivedDay]) -> list["Span"]:
        """What of it lies in none of the days."""
        left, starts = [], self.start
        for day in sorted(days):
            if day.begins < self.end and day.ends > starts:
                left.append(Span(starts, day.begins))
                starts = day.ends
        return [*left, Span(starts, self.end)]


Tally = dict[int | None, list[int]]


class Summaries:
    """The log, counted by the auditor's role."""

    def __init__(self, pool: Pool, archive: Archive | None = None) -> None:
        self._pool = pool
        self._archive = archive or Archive(None)

    async def summarise(
        self, by: By, from_at: int | None, to_at: int | None
    ) -> list[Row]:
        """Counts the entries from `from_at` to before `to_at`, in microseconds.

        Every entry committed before is in it, unless its commit hung for over two
        minutes, which no caller waits for: that one comes when it is sealed. Rows are
        in the order of their keys, None last.

        Raises:
            EntriesExpired, ArchiveUnavailable: less than an hour of an archived day is
                asked for, and its file is no longer kept, or cannot be read.
        """
        asked = Span(
            _BEGINNING if from_at is None else max(_BEGINNING, from_at),
            _END if to_at is None else min(_END, to_at),
        )
        if asked.start >= asked.end:
            return []
        _, jutting = asked.whole(HOUR)
        while True:
            days = await self._archived_days(jutting)
            tally, names = await self._tally(by, asked, days)
            # One that was archived meanwhile may be missing in what was counted.
            if await self._archived_days(jutting) == days:
                break
        ordered = sorted(tally, key=lambda key: (key is None, key or 0))
        return [Row(names[key], *tally[key]) for key in ordered]

    async def _archived_days(self, spans: Sequence[Span]) -> list[ArchivedDay]:
        async with self._pool.acquire() as connection:
            return [
                day
                for span in spans
                for day in await self._archive.days(connection, *span)
            ]

    async def _tally(
        self, by: By, asked: Span, days: Sequence[ArchivedDay]
    ) -> tuple[Tally, dict[int | None, int | str | None]]:
        tally: Tally = defaultdict(lambda: [0, 0, 0])
        _, jutting = asked.whole(HOUR)
        async with self._pool.acquire() as connection:
            async with connection.transaction(
                isolation="repeatable_read", readonly=True
            ):
                for key, *counted in await self._count(connection, by, asked, days):
                    _add(tally, key, counted)
            numbers = {
                row["name"]: row["number"]
                for row in await connection.fetch(SQL["purpose_names"])
            }
            for day in days:
                for span in jutting:
                    cut = span.within(day)
                    if cut.start < cut.end:
                        for word, *sums in await self._archive.count(by, cut, [day]):
                            _add(tally, _key(by, word, numbers), sums)
            return tally, await _names(connection, by, tally)

    async def _count(
        self, connection: Reader, by: By, asked: Span, days: Sequence[ArchivedDay]
    ) -> list[asyncpg.Record]:
        """Rows of key and sums, of which several may have one key."""
        hours, jutting = asked.whole(HOUR)
        whole_days, other_hours = hours.whole(DAY)
        counted: list[asyncpg.Record] = []
        rolled_up = [("count_days", whole_days)]
        rolled_up += [("count_hours", hour) for hour in other_hours]
        for query, span in rolled_up:
            if span.start < span.end:
                counted += await connection.fetch(
                    SQL[query], by, *map(to_datetime, span)
                )
        for span in (part for one in jutting for part in one.without(days)):
            if span.start < span.end:
                counted += await connection.fetch(
                    SQL["count_span"], by, *map(to_datetime, span)
                )
        async for run, span in not_rolled_up(connection, hours):
            counted += await connection.fetch(
                SQL["count_batches"],
                by,
                *map(to_datetime, span),
                run,
                run[0],
                run[-1],
            )
        return counted


def _add(tally: Tally, key: int | None, counted: Iterable[int]) -> None:
    sums = tally[key]
    for place, number in enumerate(counted):
        sums[place] += number


def _key(by: By, word: str | None, purposes: Mapping[str, int]) -> int | None:
    """What PostgreSQL has as the key for what a file has."""
    if word is None:
        return None
    if by is By.PURPOSE:
        return purposes[word]
    outcome = Outcome.worded(word)
    return int(word) if outcome is None else outcome.value


async def not_rolled_up(
    connection: Reader, span: Span
) -> AsyncIterator[tuple[list[int], Span]]:
    """Batches that the rollups do not hold, and where in `span` they may have entries.

    Some at a time, of however many: rollups that lag for hours are millions behind.
    """
    async for batches in _behind(connection):
        for run in runs(batches):
            starts, ends = extent(run)
            cut = Span(max(span.start, starts), min(span.end, ends + 1))
            if cut.start < cut.end:
                yield run, cut


async def _behind(connection: Reader) -> AsyncIterator[list[int]]:
    """What is sealed and not rolled up, and then what is not sealed."""
    leaf, newest = await connection.fetchrow(SQL["reach"]) or (0, None)
    more = True
    while more:
        rows = await connection.fetch(SQL["sealed_from"], leaf, MOST_OF_A_RUN)
        yield [row["batch"] for row in rows]
        more = len(rows) == MOST_OF_A_RUN
        leaf = rows[-1]["first_leaf"] + 1 if more else leaf
    above = max(0, (newest or 0) - _LOOK_BACK)
    while first := await connection.fetchval(SQL["first_batch_above"], above):
        above = first + _SLICE
        rows = await connection.fetch(SQL["late_batches"], first - 1, above, None)
        yield [row["batch"] for row in rows]


async def _names(
    connection: Reader, by: By, tally: Tally
) -> dict[int | None, int | str | None]:
    """What the keys of a tally are called outside."""
    if by is By.PURPOSE:
        rows = await connection.fetch(SQL["purpose_names"])
        return {None: None} | {row["number"]: row["name"] for row in rows}
    names: dict[int | None, int | str | None] = {}
    for key in tally:
        if key is None or by is By.INSTITUTION:
            names[key] = key
        elif by is By.OUTCOME:
            names[key] = Outcome.numbered(key).word
        else:
            names[key] = to_datetime(key * DAY).date().isoformat()
    return names
