"""Exports of the sealed log: lines in leaf order, and what proves them.

The lines are made from the rows again, and each must have the hash that was sealed:
an export ends with an error rather than hold anything else. The log is read in small
pieces and no connection is held between them, however slow the reader is.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import BinaryIO, Final, Self

from gateway.audit.archived import Archive, Shelf
from gateway.audit.columnar import AT_ONCE, Task, stream
from gateway.audit.columnar import SQL as STATEMENTS
from gateway.audit.entry import (
    Entry,
    Place,
    access_id,
    batch_instant,
    leaf_hash,
    line,
)
from gateway.audit.exported import ExportFiles
from gateway.audit.extract import (
    AFTER_BATCH,
    BEFORE_BATCH,
    Extract,
    find,
)
from gateway.audit.folding import HASH, Fold, leaf_hashes, subtrees
from gateway.audit.rollup import runs
from gateway.audit.rows import read_entry
from gateway.audit.tree import SQL, NotAsSealed
from gateway.clock import to_datetime
from gateway.postgres import Pool, Reader

# So many leaves are read at once, and so many lines handed on at once: a worker that
# exports also answers lookups, which wait for as long as it makes lines.
_LEAVES_AT_ONCE: Final = 1024
_LINES_AT_ONCE: Final = 64

# Where each leaf's entry stands, in leaf order, and the hash that was sealed.
Sealed = dict[Place, bytes]
Rows = dict[Place, Entry]


class Exports:
    """Read by the auditor's role."""

    def __init__(self, pool: Pool, archive: Archive | None = None) -> None:
        self._pool = pool
        self._archive = archive or Archive(None)
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def find(self, from_at: int | None, to_at: int | None) -> Extract | None:
        """As `gateway.audit.extract.find`."""
        async with self._pool.acquire() as connection:
            try:
                return await find(connection, self._archive, from_at, to_at)
            except NotAsSealed:
                # A day may have been archived since this looked for its entries here.
                return await find(connection, self._archive, from_at, to_at)

    async def lines(self, extract: Extract) -> AsyncIterator[list[bytes]]:
        """The lines of an extract in leaf order, some at a time.

        Raises:
            NotAsSealed: at the first entry that is missing or altered; or at the end,
                if the lines do not give the root that was signed.
            EntriesExpired, ArchiveUnavailable: at one that was archived.
        """
        shelf = Shelf(self._archive, extract.end)
        fold = Fold(extract.start, extract.proof.left)
        for start in range(extract.start, extract.end, _LEAVES_AT_ONCE):
            end = min(start + _LEAVES_AT_ONCE, extract.end)
            async with self._pool.acquire() as connection:
                sealed, rows = await _read(connection, start, end)
                there = await _from_archive(connection, shelf, start, sealed, rows)
            fold.add(subtrees(start, b"".join(sealed.values())))
            for piece in _pieces(sealed, rows | there):
                yield piece
        if fold.root(extract.head.size, extract.proof.right) != extract.head.root:
            raise NotAsSealed("The sealed leaf hashes do not give the signed root.")

    async def parquet(self, extract: Extract | None) -> AsyncGenerator[bytes, None]:
        """The same entries as a Parquet file: a column a member, and `leaf_index`.

        A few are made at once, each in a process of its own; the others wait.

        Raises:
            NotAsSealed, EntriesExpired, ArchiveUnavailable: as `lines`. What came is then
                no Parquet file: its end is missing.
        """
        task = Task(statement=STATEMENTS["export"])
        async with self._turns, aclosing(stream(task, self._members(extract))) as made:
            async for piece in made:
                yield piece

    async def _members(self, extract: Extract | None) -> AsyncIterator[bytes]:
        if extract is None:
            return
        leaf = extract.start
        async for lines in self.lines(extract):
            yield b"".join(
                line[:-1] + b',"leaf_index":%d}\n' % (leaf + n)
                for n, line in enumerate(lines)
            )
            leaf += len(lines)


async def _read(connection: Reader, start: int, end: int) -> tuple[Sealed, Rows]:
    """The places of these leaves in leaf order with their hashes, and the rows there."""
    sealed: Sealed = {}
    for row in await connection.fetch(SQL["find_leaves"], start, end):
        first, leaves = row["first_leaf"], row["leaves"]
        for position in range(
            max(0, start - first), min(end - first, len(leaves) // HASH)
        ):
            at = position * HASH
            sealed[Place(row["batch"], position)] = leaves[at : at + HASH]
    if len(sealed) != end - start:
        raise NotAsSealed(f"Leaf hashes between {start} and {end} are not there.")
    rows: Rows = {}
    for batches in runs({place.batch for place in sealed}):
        for row in await connection.fetch(
            SQL["entries_of_named_batches"],
            batches[0],
            batches[-1],
            to_datetime(batch_instant(batches[0]) - BEFORE_BATCH),
            to_datetime(batch_instant(batches[-1]) + AFTER_BATCH),
            batches,
        ):
            rows[Place(row["batch"], row["position"])] = read_entry(row)
    return sealed, rows


async def _from_archive(
    connection: Reader, shelf: Shelf, start: int, sealed: Sealed, rows: Rows
) -> Rows:
    """The entries of these places, of which the first is leaf `start`, that have no row."""
    missing = [start + n for n, place in enumerate(sealed) if place not in rows]
    if not missing:
        return {}
    found = await shelf.take(connection, missing)
    return {one.place: one.entry for one in found}


def _pieces(sealed: Sealed, rows: Rows) -> Iterator[list[bytes]]:
    places = list(sealed)
    for at in range(0, len(places), _LINES_AT_ONCE):
        yield [
            _line(place, rows.get(place), sealed[place])
            for place in places[at : at + _LINES_AT_ONCE]
        ]


def _line(place: Place, entry: Entry | None, sealed: bytes) -> bytes:
    if entry is None:
        raise NotAsSealed(
            f"A sealed entry ({_named(place)}) is not in the database, nor archived."
        )
    made = line(entry, place)
    if leaf_hash(made) != sealed:
        raise NotAsSealed(f"An entry ({_named(place)}) is not as it was sealed.")
    return made


def _named(place: Place) -> str:
    return f"access_id {access_id(place)}"


async def write_export(
    exports: Exports,
    file: Path,
    extract: Extract,
    progress: Callable[[int, int], None] = lambda _, __: None,
) -> None:
    """Writes FILE, FILE.proof.json and FILE.leaves, readable by their owner only.

    They take their names when all three are whole on the disk, FILE last: a crash
    leaves what was there before, and files ending in `.new`.

    Args:
        exports: reads the log.
        file: FILE.
        extract: of `exports.find`.
        progress: is told how many lines are written, and of how many.

    Raises:
        NotAsSealed: as `Exports.lines`; nothing then bears FILE's name.
    """
    written = 0
    with _NewFiles(ExportFiles(file)) as files:
        async for lines in exports.lines(extract):
            files.add(lines)
            written += len(lines)
            progress(written, extract.end - extract.start)
        files.finish({"range": extract.range_document, "checkpoint": extract.head.note})


class _NewFiles:
    """The files of an export until they are whole."""

    def __init__(self, names: ExportFiles) -> None:
        self._names = (names.proof, names.leaves, names.lines)
        self._held = ExitStack()

    def __enter__(self) -> Self:
        proof, leaves, lines = [self._open(_new(name)) for name in self._names]
        self._proof, self._leaves, self._lines = proof, leaves, lines
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()
        for name in self._names:
            _new(name).unlink(missing_ok=True)

    def add(self, lines: list[bytes]) -> None:
        self._lines.writelines(line + b"\n" for line in lines)
        self._leaves.write(leaf_hashes(lines))

    def finish(self, proof: Mapping[str, object]) -> None:
        """Everything is on the disk before any file takes its name."""
        self._proof.write(json.dumps(proof, indent=1).encode() + b"\n")
        for each in (self._proof, self._leaves, self._lines):
            each.flush()
            os.fsync(each.fileno())
        for name in self._names:
            _new(name).replace(name)

    def _open(self, new: Path) -> BinaryIO:
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)
        return self._held.enter_context(new.open("wb"))


def _new(name: Path) -> Path:
    return name.with_name(name.name + ".new")
