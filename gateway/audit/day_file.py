"""One day's file: written from the sealed log, read back against its seals, kept.

It holds the entries of the day, as `at` says. Batches near midnight hold entries of two
days, up to a minute before themselves: of those, what is not of the day must be found
where it is said to be, or an entry was removed.
"""

import heapq
import os
from array import array
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import date
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from shutil import rmtree
from typing import Final, NamedTuple, TypeVar

import asyncpg

from gateway.audit import tree
from gateway.audit.archive_rows import Archived, read_row, write_row
from gateway.audit.archived import Archive, in_pieces, leaves_statement
from gateway.audit.columnar import SQL as STATEMENTS
from gateway.audit.columnar import WRITER_MEMORY, Columnar, Task, stream
from gateway.audit.days import begins, ends, first_batch
from gateway.audit.entry import Place, leaf_hash
from gateway.audit.extract import AFTER_BATCH, BEFORE_BATCH
from gateway.audit.folding import HASH
from gateway.audit.rows import read_entry
from gateway.audit.tree import SQL, NotAsSealed
from gateway.clock import to_datetime
from gateway.postgres import Connection

SPILL: Final = ".spill"
_BATCHES_AT_ONCE: Final = 500
_ROWS_A_PIECE: Final = 500
_LEAVES_AT_ONCE: Final = 32 * 1024
_SORTED_AT_ONCE: Final = 1 << 20
_LOWEST: Final = -(2**63)
_HIGHEST: Final = 2**63 - 1

Told = Callable[[int, int], None]
T = TypeVar("T")


class CannotArchive(Exception):
    """Nothing was taken away. The text is one sentence saying why."""


class Kept(NamedTuple):
    """What is recorded of a day's file, in the order of `record_archived_day`."""

    file: str | None
    sha256: bytes | None
    bytes: int
    entries: int
    lowest_leaf: int | None
    highest_leaf: int | None


class DayFile:
    """The file of one day, below the archive's folder, while it is made."""

    def __init__(self, connection: Connection, folder: Path, day: date) -> None:
        self._connection = connection
        self._folder = folder
        self._day = day
        self._columnar = Columnar()
        self.name = f"day={day}/entries.parquet"
        # Readers of the folder pass over what begins with a dot.
        self._new = folder / f"day={day}" / ".entries.parquet.new"
        # The leaves of the day's entries, and those of its batches' other entries.
        self._leaves = array("q")
        self._elsewhere = array("q")

    async def make(self, told: Told) -> Kept:
        """Writes it, reads it back, and gives it its name.

        Raises:
            NotAsSealed: a sealed entry of the day is missing, altered or not sealed.
            ArchiveUnavailable: it could not be made or read back.
            CannotArchive: the folder cannot be written.
        """
        entries = await self._connection.fetchval(
            SQL["count_entries"], *map(to_datetime, self._span)
        )
        digest = await self._write(lambda done: told(done, 2 * entries))
        if len(self._leaves) != entries:
            raise NotAsSealed(f"{self._day} holds entries that no seal knows.")
        await self._find_elsewhere()
        if not entries:
            self._new.unlink()
            return Kept(None, None, 0, 0, None, None)
        ordered = in_order(self._leaves)
        await self._read_back(ordered, lambda done: told(entries + done, 2 * entries))
        size = self._new.stat().st_size
        self._keep()
        return Kept(self.name, digest, size, entries, ordered[0], ordered[-1])

    @property
    def _span(self) -> tuple[int, int]:
        return begins(self._day), ends(self._day)

    async def _write(self, told: Callable[[int], None]) -> bytes:
        """Writes the new file, whole on the disk when this returns; gives its SHA-256."""
        with on_disk(self._folder):
            # What a process that was killed left there is nobody's.
            rmtree(self._folder / SPILL, ignore_errors=True)
            self._new.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync(self._folder)
            self._new.unlink(missing_ok=True)
            self._new.touch(mode=0o600)
        digest = sha256()
        task = Task(
            statement=STATEMENTS["write"],
            folder=self._folder,
            spill=self._folder / SPILL,
            memory=WRITER_MEMORY,
        )
        with on_disk(self._folder), self._new.open("wb") as file:
            async with aclosing(stream(task, self._rows(told))) as pieces:
                async for piece in pieces:
                    file.write(piece)
                    digest.update(piece)
            file.flush()
            os.fsync(file.fileno())
        return digest.digest()

    async def _rows(self, told: Callable[[int], None]) -> AsyncIterator[bytes]:
        """The day's entries, a piece at a time, in the order of their batches."""
        first, past = self._span
        batch, last = first_batch(first), first_batch(past + BEFORE_BATCH + AFTER_BATCH)
        while sealed := await self._connection.fetch(
            SQL["sealed_batches"], batch, last, _BATCHES_AT_ONCE
        ):
            entries = await self._connection.fetch(
                SQL["entries_of_batches"],
                sealed[0]["batch"],
                sealed[-1]["batch"],
                to_datetime(first),
                to_datetime(past - 1),
            )
            for rows in in_pieces(self._place(sealed, entries), _ROWS_A_PIECE):
                yield b"".join(rows)
            told(len(self._leaves))
            batch = sealed[-1]["batch"] + 1

    def _place(
        self, sealed: Sequence[asyncpg.Record], entries: Sequence[asyncpg.Record]
    ) -> Iterator[bytes]:
        rows = {(row["batch"], row["position"]): row for row in entries}
        for batch in sealed:
            for position in range(len(batch["leaves"]) // HASH):
                place = Place(batch["batch"], position)
                leaf = batch["first_leaf"] + position
                row = rows.get(place)
                if row is None:
                    self._elsewhere.append(leaf)
                else:
                    self._leaves.append(leaf)
                    yield write_row(Archived(leaf, place, read_entry(row)))

    async def _find_elsewhere(self) -> None:
        """Finds what the day's batches hold of other days: here, or in their files."""
        first, past = self._span
        missing = set(self._elsewhere)
        for span in (
            (first - BEFORE_BATCH, first),
            (past, past + BEFORE_BATCH + AFTER_BATCH),
        ):
            rows = await self._connection.fetch(
                SQL["leaves_of_span"], *map(to_datetime, span)
            )
            missing.difference_update(row["leaf"] for row in rows)
        archive = Archive(self._folder)
        found = await archive.scattered(self._connection, missing)
        missing.difference_update(one.leaf_index for one in found)
        if missing:
            raise NotAsSealed(
                f"{len(missing)} sealed entries of {self._day} or its neighbours are "
                f"not there; the first is leaf {min(missing)}."
            )

    async def _read_back(
        self, expected: "array[int]", told: Callable[[int], None]
    ) -> None:
        """Every entry in the new file, and no other, has the hash that was sealed."""
        done, start = 0, _LOWEST
        while done < len(expected):
            past = bisect_left(expected, expected[done] + _LEAVES_AT_ONCE)
            # Windows leave nothing out, so that nothing can lie between or beside them.
            end = expected[past] if past < len(expected) else _HIGHEST
            rows = await self._ask(leaves_statement(1), start, end)
            await self._compare(expected[done:past], rows)
            done, start = past, end
            told(done)

    async def _compare(self, expected: "array[int]", rows: Sequence[bytes]) -> None:
        first = expected[0]
        sealed = await tree.leaves(self._connection, first, expected[-1] + 1)
        for leaf, row in zip_longest(expected, rows):
            one = None if row is None else read_row(row)
            if (
                one is None
                or one.leaf_index != leaf
                or leaf_hash(one.line) != sealed[leaf - first]
            ):
                raise NotAsSealed(
                    f"Leaf {leaf} of {self._day} is not in its file as it was sealed."
                )

    async def _ask(self, statement: str, *parameters: int) -> list[bytes]:
        files = [str(self._new)]
        return await self._columnar.ask(statement, [files, *parameters], self._folder)

    def _keep(self) -> None:
        """The new file takes its name, for good when this returns."""
        with on_disk(self._folder):
            self._new.replace(self._folder / self.name)
            sync(self._new.parent)


def in_order(numbers: "array[int]") -> "array[int]":
    """Sorted, in eight bytes each: a list of a whole day's would take five times as much.

    What is given is left in another order.
    """
    parts = []
    for start in range(0, len(numbers), _SORTED_AT_ONCE):
        part = slice(start, start + _SORTED_AT_ONCE)
        numbers[part] = array("q", sorted(numbers[part]))
        places = range(len(numbers))[part]
        parts.append(map(numbers.__getitem__, places))
    return array("q", heapq.merge(*parts))


@contextmanager
def on_disk(folder: Path) -> Iterator[None]:
    """Around work on the archive's files: CannotArchive for what the disk refuses."""
    try:
        yield
    except (ConnectionError, TimeoutError):
        # The database's, which was read meanwhile.
        raise
    except OSError as error:
        raise CannotArchive(
            f"{folder} cannot be written or cleared: {error.strerror}."
        ) from None


def sync(folder: Path) -> None:
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(held)
    finally:
        os.close(held)
