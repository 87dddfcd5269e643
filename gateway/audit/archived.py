"""Archived days, read: questions to their files, each answer held against its seals.

A file lies on a disk that may be less guarded than the database: an entry is shown only
if it has the hash that was sealed. A file that is missing or not as long as it was is an
error, never a shorter answer.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import asyncpg
import msgspec

from gateway.audit.archive_rows import Archived, read_row
from gateway.audit.columnar import SQL as STATEMENTS
from gateway.audit.columnar import Columnar
from gateway.audit.days import begins, day_number, ends, in_words
from gateway.audit.entry import Place, leaf_hash
from gateway.audit.inspection import Criteria, Mark
from gateway.audit.tree import SQL, NotAsSealed
from gateway.postgres import Reader
from gateway.problems import ArchiveUnavailable, EntriesExpired

# Pages of everybody's entries begin with the newest day, then eight times as many.
_FIRST_DAYS: Final = 1
_WIDER: Final = 8
_MOST_FILES: Final = 400
_PAGE_SECONDS: Final = 20.0
_CONDITIONS: Final = "/* and what is asked for */"
_RANGES: Final = "/* or leaves of these */"

_RANGES_AT_ONCE: Final = 500
_WINDOW: Final = 32 * 1024

Range = tuple[int, int]
T = TypeVar("T")


class ArchivedDay(NamedTuple):
    """A day as `archived_days` has it; without entries it has no file and no leaves."""

    day: date
    file: str | None
    bytes: int
    entries: int
    lowest_leaf: int | None
    highest_leaf: int | None
    expired: bool

    @property
    def begins(self) -> int:
        return begins(self.day)

    @property
    def ends(self) -> int:
        return ends(self.day)

    @classmethod
    def of(cls, row: asyncpg.Record) -> "ArchivedDay":
        return cls(*(row[name] for name in cls._fields))


def expired(days: Iterable[ArchivedDay]) -> EntriesExpired:
    """The refusal that names those of the days whose entries are kept no longer."""
    gone = in_words(one.day for one in days if one.expired)
    return EntriesExpired(f"Entries of {gone} (Asia/Jakarta) have expired.")


class Archive:
    """The files below a folder. Connections are of the auditor's role.

    `folder` is None where no GATEWAY_ARCHIVE_DIR is set: then there must be no archived
    day either, or what needs one fails.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder.resolve()
        self._columnar = Columnar()

    async def days(
        self, connection: Reader, from_at: int, to_at: int
    ) -> list[ArchivedDay]:
        """Archived days with an instant from `from_at` to before `to_at`, newest first."""
        if from_at >= to_at:
            return []
        rows = await connection.fetch(
            SQL["archived_days"], day_number(from_at), day_number(to_at - 1)
        )
        return [ArchivedDay.of(row) for row in rows]

    async def days_of_leaves(
        self, connection: Reader, ranges: Sequence[Range]
    ) -> list[ArchivedDay]:
        """Archived days that may hold a leaf of these, newest first."""
        rows = await connection.fetch(
            SQL["archived_days_of_leaves"],
            min(start for start, _ in ranges),
            max(end for _, end in ranges),
        )
        days = [ArchivedDay.of(row) for row in rows]
        return [day for day in days if any(_holds(day, one) for one in ranges)]

    async def page(
        self,
        connection: Reader,
        criteria: Criteria,
        below: Mark,
        limit: int,
        days: Sequence[ArchivedDay],
    ) -> list[Archived]:
        """At most `limit` entries of these days, newest first, each as it was sealed."""
        terms = await self._conditions(connection, criteria)
        found: list[Archived] = []
        step = _MOST_FILES if criteria.subjects is not None else _FIRST_DAYS
        at = 0
        try:
            async with asyncio.timeout(_PAGE_SECONDS):
                while at < len(days) and len(found) < limit:
                    some = days[at : at + step]
                    found += await self._page(
                        criteria, terms, below, limit - len(found), some
                    )
                    at, step = at + step, min(step * _WIDER, _MOST_FILES)
        except TimeoutError:
            raise ArchiveUnavailable(
                "The archive took too long to answer; ask for a shorter time."
            ) from None
        await self.prove(connection, found)
        return found

    async def _page(
        self,
        criteria: Criteria,
        terms: tuple[str, list[object]],
        below: Mark,
        limit: int,
        days: Sequence[ArchivedDay],
    ) -> list[Archived]:
        from_at, to_at = days[-1].begins, days[0].ends
        if criteria.from_at is not None:
            from_at = max(from_at, criteria.from_at)
        if criteria.to_at is not None:
            to_at = min(to_at, criteria.to_at)
        rows = await self._ask(
            STATEMENTS["page"].replace(_CONDITIONS, terms[0]),
            days,
            [
                from_at,
                to_at,
                below.at,
                below.at,
                below.batch,
                below.position,
                *terms[1],
                limit,
            ],
        )
        return [read_row(row) for row in rows]

    async def leaves(
        self, connection: Reader, ranges: Sequence[Range]
    ) -> list[Archived]:
        """Those of the leaves that files hold, in leaf order, each as it was sealed."""
        days = await self.days_of_leaves(connection, ranges)
        kept = [day for day in days if not day.expired]
        found = [read_row(row) for row in await self.leaf_rows(kept, ranges)]
        await self.prove(connection, found)
        return found

    async def scattered(
        self, connection: Reader, leaves: Iterable[int]
    ) -> list[Archived]:
        """The same for leaves that lie apart."""
        found: list[Archived] = []
        for ranges in in_pieces(_ranges(leaves), _RANGES_AT_ONCE):
            found += await self.leaves(connection, ranges)
        return found

    async def refuse_expired(self, connection: Reader, leaves: Iterable[int]) -> None:
        """Raises EntriesExpired, if a day may have held leaves that are nowhere."""
        days = await self.days_of_leaves(connection, list(_ranges(leaves)))
        if any(day.expired for day in days):
            raise expired(days)

    async def why_missing(self, connection: Reader, leaves: Iterable[int]) -> Exception:
        """What is to be raised of sealed entries that are nowhere."""
        await self.refuse_expired(connection, leaves)
        return NotAsSealed(
            "Sealed entries of that time are not in the database, nor archived."
        )

    async def find(self, connection: Reader, place: Place) -> Archived | None:
        """The entry at a place, if a file holds it."""
        leaf = await connection.fetchval(SQL["leaf_at"], *place)
        if leaf is None:
            return None
        found = await self.leaves(connection, [(leaf, leaf + 1)])
        return found[0] if found else None

    async def entry(self, connection: Reader, place: Place) -> Archived | None:
        """The entry at a place that is not in PostgreSQL; None if none was sealed there.

        Raises:
            EntriesExpired: it is kept no longer.
            NotAsSealed: no file has it, or it is another.
            ArchiveUnavailable: it may be in a file that cannot be read now.
        """
        found = await self.find(connection, place)
        leaf = await connection.fetchval(SQL["leaf_at"], *place)
        if found is not None or leaf is None:
            return found
        raise await self.why_missing(connection, [leaf])

    async def leaf_rows(
        self, days: Sequence[ArchivedDay], ranges: Sequence[Range]
    ) -> list[bytes]:
        """The same of these days, as rows that nobody has held against their seals."""
        return await self._ask(
            leaves_statement(len(ranges)),
            days,
            [number for one in ranges for number in one],
        )

    async def count(
        self, by: str, span: Range, days: Sequence[ArchivedDay]
    ) -> list[tuple[str | None, int, int, int]]:
        """What the entries of these days within a span of instants come to.

        Each a key in the words of the file, entries, units charged, and refusals.
        """
        rows = await self._ask(STATEMENTS["count"], days, [*span, by])
        return [tuple(msgspec.json.decode(row)) for row in rows]

    async def prove(self, connection: Reader, found: Sequence[Archived]) -> None:
        """Holds entries against their seals.

        Raises:
            NotAsSealed: for the first that is another: its place is in its line.
        """
        sealed = {
            row["leaf"]: row["hash"]
            for row in await connection.fetch(
                SQL["sealed_hashes"], [one.leaf_index for one in found]
            )
        }
        for one in found:
            if sealed.get(one.leaf_index) != leaf_hash(one.line):
                raise NotAsSealed(
                    f"An archived entry (access_id {one.name}) is not as it was sealed."
                )

    async def _ask(
        self, statement: str, days: Sequence[ArchivedDay], parameters: list[Any]
    ) -> list[bytes]:
        files = self._files(days)
        if not files or self._folder is None:
            return []
        return await self._columnar.ask(statement, [files, *parameters], self._folder)

    def _files(self, days: Sequence[ArchivedDay]) -> list[str]:
        """Raises ArchiveUnavailable, or EntriesExpired, unless every file is there."""
        if any(day.expired for day in days):
            raise expired(days)
        held = [day for day in days if day.file is not None]
        if held and self._folder is None:
            raise ArchiveUnavailable(
                f"{in_words(day.day for day in held)} archived, and GATEWAY_ARCHIVE_DIR "
                "is not set."
            )
        return [self._file(day) for day in held]

    def _file(self, day: ArchivedDay) -> str:
        path = Path(self._folder or "", day.file or "")
        try:
            size = path.stat().st_size
        except OSError:
            raise ArchiveUnavailable(f"The file of {day.day} is not there.") from None
        if size != day.bytes:
            raise ArchiveUnavailable(f"The file of {day.day} is not as long as it was.")
        return str(path)

    @staticmethod
    async def _conditions(
        connection: Reader, criteria: Criteria
    ) -> tuple[str, list[object]]:
        key = None
        if criteria.key is not None:
            # A key that nobody has was used by nobody.
            key = await connection.fetchval(SQL["key_id"], criteria.key) or ""
        equal = {
            "institution": criteria.institution,
            "key": key,
            "purpose": criteria.purpose and criteria.purpose.name,
            "operation": criteria.operation and criteria.operation.word,
            "outcome": criteria.outcome and criteria.outcome.word,
            "actor": criteria.actor and criteria.actor.word,
        }
        given = {name: value for name, value in equal.items() if value is not None}
        terms = [f"AND {name} = ?" for name in given]
        arguments: list[object] = list(given.values())
        if criteria.subjects is not None:
            # Of a reference's halves the first lets most of a file be passed over.
            marks = ", ".join("?" for _ in criteria.subjects)
            terms.append(f"AND subject_head IN ({marks}) AND subject_tail IN ({marks})")
            arguments += [one.head for one in criteria.subjects]
            arguments += [one.tail for one in criteria.subjects]
        return " ".join(terms), arguments


def leaves_statement(ranges: int) -> str:
    """Asks for the leaves of so many ranges, whose bounds follow the files."""
    within = ["OR (leaf_index >= ? AND leaf_index < ?)"] * ranges
    return STATEMENTS["leaves"].replace(_RANGES, " ".join(within))


def in_pieces(items: Iterable[T], size: int) -> Iterator[list[T]]:
    held = iter(items)
    while piece := list(islice(held, size)):
        yield piece


def _ranges(leaves: Iterable[int]) -> Iterator[Range]:
    """Leaves that follow each other, as ranges whose ends are exclusive."""
    first = past = -1
    for leaf in sorted(leaves):
        if leaf != past:
            if past >= 0:
                yield first, past
            first = leaf
        past = leaf + 1
    if past >= 0:
        yield first, past


def not_expired(days: Sequence[ArchivedDay]) -> list[ArchivedDay]:
    """The days down to the first that has expired."""
    return list(takewhile(lambda day: not day.expired, days))


def _holds(day: ArchivedDay, leaves: Range) -> bool:
    if day.lowest_leaf is None or day.highest_leaf is None:
        return False
    return day.lowest_leaf < leaves[1] and day.highest_leaf >= leaves[0]


class Shelf:
    """Archived leaves for one who reads them in their order, a window at a time.

    Only what is taken is made into entries: a worker that exports also answers lookups.
    """

    def __init__(self, archive: Archive, end: int) -> None:
        self._archive = archive
        self._end = end
        self._past = 0
        self._rows: deque[bytes] = deque()

    async def take(self, connection: Reader, leaves: Sequence[int]) -> list[Archived]:
        """The entries of these leaves, which nobody has held against their seals.

        Raises:
            EntriesExpired: one of them was in a file that is kept no longer.
        """
        if leaves[-1] >= self._past:
            start = max(leaves[0], self._past)
            self._past = max(leaves[-1] + 1, min(start + _WINDOW, self._end))
            window = [(start, self._past)]
            days = await self._archive.days_of_leaves(connection, window)
            kept = [day for day in days if not day.expired]
            self._rows.extend(await self._archive.leaf_rows(kept, window))
        wanted = set(leaves)
        taken: list[Archived] = []
        while self._rows and _leaf_of(self._rows[0]) <= leaves[-1]:
            row = self._rows.popleft()
            if _leaf_of(row) in wanted:
                taken.append(read_row(row))
        wanted.difference_update(one.leaf_index for one in taken)
        if wanted:
            await self._archive.refuse_expired(connection, wanted)
        return taken


def _leaf_of(row: bytes) -> int:
    return int(row[1 : row.index(b",")])
