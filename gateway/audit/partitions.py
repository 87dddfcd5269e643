"""The partitions of the log: which there are, and what to do where one was missing."""

import asyncio
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

import asyncpg

from gateway.audit.archived import ArchivedDay
from gateway.audit.days import begins, ends
from gateway.audit.tree import SQL
from gateway.clock import from_datetime
from gateway.postgres import Connection

# Writers wait behind a lock that is waited for: not long, and then again later.
LOCK_WAIT: Final = "SET LOCAL lock_timeout = '150ms'"
LOCK_TRIES: Final = 40
LOCK_PAUSE: Final = 0.5
LOCKED_OUT: Final = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)
_ALL_DAYS: Final = (-(2**31), 2**31 - 1)


class State(StrEnum):
    """Where a day's entries are, and whether more may come."""

    AHEAD = "ahead"
    OPEN = "open"
    CLOSED = "closed"
    ARCHIVED = "archived"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class DayStanding:
    """A day of the log. `entries` is an estimate unless it is archived.

    `bytes` are those of its partitions with their indexes, or of its file; an archived
    day that has partitions too is one whose archiving did not come to its end.
    """

    day: date
    state: State
    held: bool
    entries: int
    bytes: int
    partitioned: bool


async def standings(owner: Connection) -> list[DayStanding]:
    """Every day that has partitions or was archived, oldest first."""
    now = from_datetime(await owner.fetchval("SELECT clock_timestamp()"))
    live = {row["day"]: row for row in await owner.fetch(SQL["partitions"])}
    live.pop(None, None)
    archived = await archived_days(owner)
    holds = await owner.fetch(SQL["holds"])
    return [
        DayStanding(
            day,
            _state(day, archived.get(day), now),
            any(hold["first_day"] <= day <= hold["last_day"] for hold in holds),
            archived[day].entries if day in archived else live[day]["entries"],
            live[day]["bytes"] if day in live else archived[day].bytes,
            day in live,
        )
        for day in sorted({*live, *archived})
    ]


async def archived_days(owner: Connection) -> dict[date, ArchivedDay]:
    """All of them, expired ones too."""
    rows = await owner.fetch(SQL["archived_days"], *_ALL_DAYS)
    return {row["day"]: ArchivedDay.of(row) for row in rows}


def _state(day: date, archived: ArchivedDay | None, now: int) -> State:
    if archived is not None:
        return State.EXPIRED if archived.expired else State.ARCHIVED
    if begins(day) > now:
        return State.AHEAD
    return State.CLOSED if ends(day) <= now else State.OPEN


async def repair(owner: Connection) -> int:
    """Moves what no partition took to where it belongs; makes the days ahead.

    Gives how many rows were moved. What it leaves in a default partition are rows of
    days that are archived already.
    """
    moved = 0
    if await owner.fetchval(SQL["default_rows"]):
        moved = await _move(owner, "batches") + await _move(owner, "entries")
    await owner.fetchval(SQL["create_partitions"])
    return moved


async def _move(owner: Connection, table: str) -> int:
    for attempt in range(LOCK_TRIES):
        try:
            async with owner.transaction():
                await owner.execute(LOCK_WAIT)
                moved: int = await owner.fetchval(SQL["move_default_rows"], table)
                return moved
        except LOCKED_OUT:
            if attempt == LOCK_TRIES - 1:
                raise
            await asyncio.sleep(LOCK_PAUSE)
    return 0
