"""The whole log as auditors ask it: what is in PostgreSQL and what is archived, as one.

PostgreSQL is asked first and the list of archived days after it. A day is recorded
before its partitions go, so whatever was missing in the first answer is in the second;
what is in both counts once.
"""

from datetime import datetime
from typing import NamedTuple

import msgspec

from gateway.audit.archived import Archive, ArchivedDay, expired, not_expired
from gateway.audit.entry import place_of
from gateway.audit.inspection import Criteria, Inspection, Mark, Page
from gateway.audit.tree import NotAsSealed
from gateway.clock import from_datetime
from gateway.postgres import Pool

Found = tuple[bytes, int | None]
_ALWAYS = 2**62


class WholeLog:
    """Read by the auditor's role."""

    def __init__(self, pool: Pool, archive: Archive) -> None:
        self._pool = pool
        self._archive = archive
        self._live = Inspection(pool)

    async def entry(self, access_id: str) -> Found | None:
        """The line with this access_id and its leaf index (None until sealed).

        Raises:
            EntriesExpired, NotAsSealed, ArchiveUnavailable: as `Archive.entry`.
        """
        found = await self._live.entry(access_id)
        place = place_of(access_id)
        if found is not None or place is None:
            return found
        async with self._pool.acquire() as connection:
            archived = await self._archive.entry(connection, place)
            if archived is None:
                return None
        return archived.line, archived.leaf_index

    async def page(self, criteria: Criteria, below: Mark | None, limit: int) -> Page:
        """At most `limit` entries, newest first, and the mark for the page after it.

        A page ends where a day begins that has expired; the page after it is refused.

        Raises:
            EntriesExpired: all that could follow has expired, or lies before what has.
            NotAsSealed, ArchiveUnavailable: the archive cannot be trusted, or read.
        """
        live = await self._live.page(criteria, below, limit)
        rows = [_Row(_mark(line), line, leaf) for line, leaf in live.entries]
        # What is older than a full page is not on it.
        reach = None if live.next is None else rows[-1].mark.at
        days = await self._days(criteria, below, reach)
        if not days:
            return live
        held = not_expired(days)
        horizon = days[len(held)].ends if len(held) < len(days) else None
        rows += await self._archived(criteria, below, limit, held)
        return _page(rows, limit, horizon, days, more=live.next is not None)

    async def _days(
        self, criteria: Criteria, below: Mark | None, reach: int | None
    ) -> list[ArchivedDay]:
        from_at = -_ALWAYS if criteria.from_at is None else criteria.from_at
        from_at = from_at if reach is None else max(from_at, reach)
        to_at = _ALWAYS if criteria.to_at is None else criteria.to_at
        if below is not None:
            to_at = min(to_at, below.at + 1)
        async with self._pool.acquire() as connection:
            return await self._archive.days(connection, from_at, to_at)

    async def _archived(
        self,
        criteria: Criteria,
        below: Mark | None,
        limit: int,
        days: list[ArchivedDay],
    ) -> list["_Row"]:
        if not days:
            return []
        mark = below or Mark(days[0].ends, 0, 0)
        async with self._pool.acquire() as connection:
            found = await self._archive.page(
                connection, criteria, mark, limit + 1, days
            )
        return [
            _Row(Mark(one.entry.at, *one.place), one.line, one.leaf_index)
            for one in found
        ]


class _Row(NamedTuple):
    mark: Mark
    line: bytes
    leaf_index: int | None


def _page(
    rows: list[_Row],
    limit: int,
    horizon: int | None,
    days: list[ArchivedDay],
    *,
    more: bool,
) -> Page:
    """The page of what was found, down to the end of a day that has expired."""
    if horizon is not None:
        rows = [row for row in rows if row.mark.at >= horizon]
        if not rows:
            raise expired(days)
    # One that is here and archived, since its partition is about to go, is one.
    ordered = sorted({row.mark: row for row in rows}.values(), reverse=True)
    kept = ordered[:limit]
    following = None
    if more or len(ordered) > limit:
        following = kept[-1].mark
    elif horizon is not None:
        following = Mark(horizon, 0, 0)
    return Page([(row.line, row.leaf_index) for row in kept], following)


class _Named(msgspec.Struct):
    """Of a line, what its place in the order of pages is made of."""

    access_id: str
    at: datetime


def _mark(line: bytes) -> Mark:
    named = msgspec.json.decode(line, type=_Named)
    place = place_of(named.access_id)
    if place is None:
        raise NotAsSealed("An entry has a name that the log cannot have given.")
    return Mark(from_datetime(named.at), *place)
