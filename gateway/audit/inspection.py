"""What auditors ask of the log: pages of entries, newest first, and single ones."""

import base64
import binascii
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

import asyncpg

from gateway.audit.entry import (
    Place,
    PurposeName,
    batch_instant,
    batch_number,
    line,
    place_of,
)
from gateway.audit.rows import read_entry
from gateway.audit.subject import Subject
from gateway.clock import SECOND, from_datetime, to_datetime
from gateway.postgres import Pool, Reader, queries
from gateway.settings import NumberedKeys
from gateway.vocabulary import Actor, Operation, Outcome

SQL = queries("gateway.audit")
MOST_A_PAGE: Final = 1000
_CONDITIONS: Final = "/* and what is asked for */"
# This much time is searched first, then more: a page is full long before the log is read
# back to its beginning. Only a subject's entries are few wherever they are.
_FIRST_SPAN: Final = 60 * SECOND
_FIRST_SPAN_OF_AN_INSTITUTION: Final = 24 * 3600 * SECOND
_WIDER: Final = 8
# What makes up the log; the rest is in indexes of its own (migration 67).
_LOOKUPS: Final = (
    Operation.VERIFY,
    Operation.FETCH,
    Operation.BATCH_VERIFY,
    Operation.BATCH_FETCH,
)
_SPAN_LIMIT: Final = 2**63 - 1


class Mark(NamedTuple):
    """A place in the order of pages: only entries below it follow."""

    at: int
    batch: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """What entries are asked for; None is anything. Instants in microseconds.

    `outside` are those of no institution alone: of staff, and of nobody known. `key_of`
    is whose the key is: its entries are that institution's, or of nobody known where
    the key was not valid.
    """

    from_at: int | None = None
    to_at: int | None = None
    institution: int | None = None
    key: int | None = None
    key_of: int | None = None
    purpose: PurposeName | None = None
    operation: Operation | None = None
    outcome: Outcome | None = None
    actor: Actor | None = None
    subjects: Sequence[Subject] | None = None
    outside: bool = False

    @property
    def parts(self) -> "list[Criteria]":
        """What together finds the same, each part by an index of its own."""
        if self.key_of is None or self.institution is not None:
            return [self]
        its = replace(self, key_of=None, institution=self.key_of)
        return [its, replace(self, key_of=None, outside=True)]

    @property
    def seldom(self) -> bool:
        """Whether an index holds what is asked for, and little else."""
        return (
            self.of_no_institution
            or self.outcome is Outcome.FAILED
            or self.operation not in {None, *_LOOKUPS}
        )

    @property
    def of_no_institution(self) -> bool:
        return self.outside or self.actor not in {None, Actor.INSTITUTION}

    @property
    def first_span(self) -> int:
        if self.subjects is not None or self.seldom:
            return _SPAN_LIMIT
        if self.institution is not None:
            return _FIRST_SPAN_OF_AN_INSTITUTION
        return _FIRST_SPAN

    def conditions(self, span: tuple[int, int], first: int) -> "_Conditions":
        """For entries of one span of time; its first argument is `$first`."""
        asked = _Conditions(first)
        self._add_words(asked)
        if self.key is not None:
            asked.add("key = {}", self.key)
        if self.purpose is not None:
            asked.add("purpose = {}", self.purpose.number)
        if self.institution is not None:
            asked.add(
                "institution <> 0 AND institution = {}"
                " AND (batch >> 34)::integer BETWEEN {} AND {}",
                self.institution,
                # The schema holds a batch within this of its entries.
                batch_number(span[0] - SECOND // 1000, 0, 0) >> 34,
                batch_number(span[1] + 60 * SECOND, 0, 0) >> 34,
            )
        if self.subjects is not None:
            asked.add(
                "subject_key <> 0 AND subject_head = ANY({}::bigint[])"
                " AND subject_tail = ANY({}::bigint[])",
                [subject.head for subject in self.subjects],
                [subject.tail for subject in self.subjects],
            )
        return asked

    def _add_words(self, asked: "_Conditions") -> None:
        for column, word in (
            ("operation", self.operation),
            ("outcome", self.outcome),
            ("actor", self.actor),
        ):
            if word is not None:
                # No argument: or the planner could not tell which index holds it.
                asked.add(f'{column} = {word.value}::"char"')
        if self.of_no_institution:
            asked.add("institution = 0")


class _Conditions:
    """SQL and its arguments. It says what the partial indexes say, or they do not serve."""

    def __init__(self, first: int) -> None:
        self.sql = ""
        self.arguments: list[object] = []
        self._next = first

    def add(self, sql: str, *arguments: object) -> None:
        marks = [f"${self._next + n}" for n in range(len(arguments))]
        self.sql += f" AND {sql.format(*marks)}"
        self.arguments += arguments
        self._next += len(arguments)


@dataclass(frozen=True, slots=True)
class Page:
    """Lines with their leaf indexes (None until sealed), and where the next begins."""

    entries: list[tuple[bytes, int | None]]
    next: Mark | None


class Inspection:
    """The log, read by the auditor's role."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def entry(self, access_id: str) -> tuple[bytes, int | None] | None:
        """The line with this access_id and its leaf index (None until sealed)."""
        place = place_of(access_id)
        if place is None:
            return None
        around = to_datetime(batch_instant(place.batch))
        row = await self._pool.fetchrow(SQL["entry_at"], *place, around)
        return None if row is None else (read_line(row), row["leaf_index"])

    async def page(self, criteria: Criteria, below: Mark | None, limit: int) -> Page:
        """At most `limit` entries, newest first, and the mark for the page after it."""
        async with self._pool.acquire() as connection:
            return await page_of(connection, criteria, below, limit)


async def page_of(
    connection: Reader, criteria: Criteria, below: Mark | None, limit: int
) -> Page:
    """A page of what this connection's role may see of the log."""
    rows = [
        row
        for part in criteria.parts
        for row in await _newest(connection, part, below, limit + 1)
    ]
    rows.sort(key=_mark, reverse=True)
    kept = rows[:limit]
    more = len(rows) > limit
    return Page(
        [(read_line(row), row["leaf_index"]) for row in kept],
        _mark(kept[-1]) if more else None,
    )


async def _newest(
    connection: Reader, criteria: Criteria, below: Mark | None, number: int
) -> list[asyncpg.Record]:
    """So many rows, or all that there are."""
    oldest, ends = await _extent(connection, criteria)
    if below is not None:
        ends = min(ends, below.at + 1)
    span = criteria.first_span
    rows: list[asyncpg.Record] = []
    while ends > oldest and len(rows) < number:
        starts = max(oldest, ends - span)
        rows += await _rows(
            connection, criteria, (starts, ends), below, number - len(rows)
        )
        ends, span = starts, span * _WIDER
    return rows


async def _rows(
    connection: Reader,
    criteria: Criteria,
    span: tuple[int, int],
    below: Mark | None,
    limit: int,
) -> list[asyncpg.Record]:
    if criteria.institution is not None and criteria.first_span != _SPAN_LIMIT:
        asked = _asked("page_reach", criteria, span, below, limit)
        reach: datetime | None = await connection.fetchval(*asked)
        if reach is None:
            return []
        span = (from_datetime(reach), span[1])
    return await connection.fetch(*_asked("page", criteria, span, below, limit))


async def _extent(connection: Reader, criteria: Criteria) -> tuple[int, int]:
    """The span, end exclusive, in which anything asked for can lie."""
    row = await connection.fetchrow(SQL["extent"])
    if row is None or row["oldest"] is None:
        return 0, 0
    # The schema holds every entry within this of its batch.
    oldest = batch_instant(row["oldest"]) - 60 * SECOND
    newest = batch_instant(row["newest"]) + SECOND
    return (
        oldest if criteria.from_at is None else max(oldest, criteria.from_at),
        newest if criteria.to_at is None else min(newest, criteria.to_at),
    )


def _asked(
    query: str,
    criteria: Criteria,
    span: tuple[int, int],
    below: Mark | None,
    limit: int,
) -> tuple[Any, ...]:
    """A query and its arguments."""
    asked = criteria.conditions(span, first=7)
    mark = below or Mark(span[1], 0, 0)
    return (
        SQL[query].replace(_CONDITIONS, asked.sql),
        to_datetime(span[0]),
        to_datetime(span[1]),
        to_datetime(mark.at),
        mark.batch,
        mark.position,
        limit,
        *asked.arguments,
    )


def _mark(row: asyncpg.Record) -> Mark:
    return Mark(from_datetime(row["at"]), row["batch"], row["position"])


def read_line(row: asyncpg.Record) -> bytes:
    return line(read_entry(row), Place(row["batch"], row["position"]))


class Cursors:
    """Marks as opaque texts that only the gateway can make, for one question only."""

    def __init__(self, peppers: NumberedKeys) -> None:
        self._key = hmac.digest(peppers.by_number[peppers.newest], b"cursor", sha256)

    def seal(self, mark: Mark, question: str) -> str:
        packed = struct.pack(">qqh", *mark)
        return base64.urlsafe_b64encode(self._tag(packed, question) + packed).decode()

    def open(self, cursor: str, question: str) -> Mark | None:
        """The mark, or None for a text that was not sealed for this question."""
        try:
            text = base64.b64decode(cursor, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        if base64.urlsafe_b64encode(text).decode() != cursor:
            # Some of its last bits say nothing: it has one spelling all the same.
            return None
        tag, packed = text[:16], text[16:]
        if not hmac.compare_digest(tag, self._tag(packed, question)):
            return None
        return Mark(*struct.unpack(">qqh", packed))

    def _tag(self, packed: bytes, question: str) -> bytes:
        return hmac.digest(self._key, packed + question.encode(), sha256)[:16]
