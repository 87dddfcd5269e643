"""Which leaves of the log an export holds, and their proof.

Batches are sealed nearly in the order of their numbers, but one that committed late
is sealed among younger ones: so the range is searched for, not computed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import asyncpg

from gateway.audit import merkle, tree
from gateway.audit.archived import Archive, expired
from gateway.audit.days import first_batch
from gateway.audit.entry import batch_instant
from gateway.audit.folding import HASH
from gateway.audit.sealed import encoded
from gateway.audit.tree import SQL, Head, NotAsSealed
from gateway.clock import SECOND, from_datetime, to_datetime
from gateway.postgres import Reader

# The schema holds an entry between this much before its batch's instant …
BEFORE_BATCH: Final = 60 * SECOND
# … and this much after it.
AFTER_BATCH: Final = SECOND // 1000
# An hour of the busiest log is searched well within a statement's time.
_SEARCHED_AT_ONCE: Final = 3600 * SECOND


@dataclass(frozen=True, slots=True)
class Extract:
    """A range of leaves of the log, `end` exclusive, and its proof under a head."""

    start: int
    end: int
    head: Head
    proof: merkle.RangeProof

    @property
    def numbers(self) -> dict[str, int]:
        return {"start": self.start, "end": self.end, "tree_size": self.head.size}

    @property
    def range_document(self) -> dict[str, object]:
        """As GET /log/proof/range gives it."""
        return {
            **self.numbers,
            "left": encoded(self.proof.left),
            "right": encoded(self.proof.right),
        }

    @property
    def log_range(self) -> str:
        """As the header `Log-Range` gives it."""
        return f"{self.start}-{self.end}/{self.head.size}"


async def find(
    connection: Reader, archive: Archive, from_at: int | None, to_at: int | None
) -> Extract | None:
    """The smallest range with every sealed entry from `from_at` to `to_at`.

    Args:
        connection: of the auditor's role, outside any transaction.
        archive: what is asked for entries that are no longer in PostgreSQL.
        from_at: microseconds, inclusive; None is the beginning of the log.
        to_at: microseconds, exclusive; None is its end.

    Returns:
        None, if no sealed entry lies in that time.

    Raises:
        NotAsSealed: entries around those instants, or hashes for the proof, are not in
            the database or the archive.
        EntriesExpired, ArchiveUnavailable: the archive cannot give what is needed.
    """
    # Seals and head as of one moment.
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        head = await tree.head(connection)
        leaves = await _leaves_between(connection, archive, from_at, to_at)
        if head is None or leaves is None:
            return None
        try:
            proof = await tree.prove(
                connection,
                lambda subtree: merkle.range_proof(*leaves, head.size, subtree),
            )
        except KeyError:
            raise NotAsSealed(
                "Hashes that the proof needs are not in the database."
            ) from None
        return Extract(*leaves, head, proof)


async def _leaves_between(
    connection: Reader, archive: Archive, from_at: int | None, to_at: int | None
) -> tuple[int, int] | None:
    """The first leaf and the one past the last of the entries in that time."""
    extent = await connection.fetchrow(SQL["sealed_extent"])
    if extent is None or extent["oldest"] is None:
        return None
    oldest = batch_instant(extent["oldest"]) - BEFORE_BATCH
    newest = batch_instant(extent["newest"]) + 2 * AFTER_BATCH
    from_at = oldest if from_at is None else max(from_at, oldest)
    to_at = newest if to_at is None else min(to_at, newest)
    days = await archive.days(connection, from_at, to_at)
    if any(day.expired for day in days):
        raise expired(days)
    searched = [
        await _search(connection, archive, span, from_at, to_at)
        for span in _spans(from_at, to_at)
    ]
    found = [leaves for leaves in searched if leaves is not None]
    if not found:
        return None
    return min(first for first, _ in found), max(past for _, past in found)


class Span(NamedTuple):
    """Instants of batches, `past` exclusive; `within` if all their entries are wanted."""

    first: int
    past: int
    within: bool


def _spans(from_at: int, to_at: int) -> Iterator[Span]:
    """Spans that cover every batch with an entry in that time.

    Of batches that lie within it the entries need not be read, which are nearly all.
    """
    if from_at >= to_at:
        return
    first, past = from_at - AFTER_BATCH, to_at + BEFORE_BATCH
    within = from_at + BEFORE_BATCH, to_at - AFTER_BATCH
    if within[0] >= within[1]:
        yield Span(first, past, within=False)
        return
    yield Span(first, within[0], within=False)
    steps = [*range(*within, _SEARCHED_AT_ONCE), within[1]]
    for one, other in pairwise(steps):
        yield Span(one, other, within=True)
    yield Span(within[1], past, within=False)


async def _search(
    connection: Reader, archive: Archive, span: Span, from_at: int, to_at: int
) -> tuple[int, int] | None:
    """The leaves of what lies in a span: the first, and the one past the last."""
    batches = first_batch(span.first), first_batch(span.past)
    if span.within:
        row = await connection.fetchrow(SQL["leaves_of_batches"], *batches)
    else:
        row = await connection.fetchrow(
            SQL["leaves_of_entries"],
            *batches,
            to_datetime(from_at),
            to_datetime(to_at),
            to_datetime(span.first - BEFORE_BATCH),
            to_datetime(span.past + AFTER_BATCH),
        )
        if row is not None and not row["complete"]:
            return await _search_archive(connection, archive, span, from_at, to_at)
    return None if row is None or row["first"] is None else (row["first"], row["past"])


async def _search_archive(
    connection: Reader, archive: Archive, span: Span, from_at: int, to_at: int
) -> tuple[int, int] | None:
    """The same, where entries of some of these batches are not in PostgreSQL."""
    batches = first_batch(span.first), first_batch(span.past)
    sealed = await connection.fetch(SQL["sealed_batches"], *batches, None)
    live = await connection.fetch(
        SQL["places_of_leaves"],
        *batches,
        to_datetime(span.first - BEFORE_BATCH),
        to_datetime(span.past + AFTER_BATCH),
    )
    instants = {row["leaf"]: from_datetime(row["at"]) for row in live}
    missing = _leaves_of(sealed).difference(instants)
    found = await archive.scattered(connection, missing)
    instants |= {one.leaf_index: one.entry.at for one in found}
    missing.difference_update(instants)
    if missing:
        raise await archive.why_missing(connection, missing)
    within = [leaf for leaf, at in instants.items() if from_at <= at < to_at]
    return (min(within), max(within) + 1) if within else None


def _leaves_of(sealed: Iterable[asyncpg.Record]) -> set[int]:
    return {
        row["first_leaf"] + position
        for row in sealed
        for position in range(len(row["leaves"]) // HASH)
    }
