"""Which archived days are kept no longer, and which must be. Seals are kept for ever.

A day that expires is recorded as such, with its entry of the log, and then its file is
removed: a crash between the two leaves a file that nobody reads any more, which the next
run removes.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from gateway.audit.archive import Enter
from gateway.audit.archived import ArchivedDay
from gateway.audit.day_file import CannotArchive, on_disk, sync
from gateway.audit.partitions import DayStanding, State, archived_days, standings
from gateway.audit.tree import SQL
from gateway.postgres import Connection
from gateway.problems import Fault, InvalidRequest, NotFound


@dataclass(frozen=True, slots=True)
class Expiry:
    """What became of the days asked for.

    `held` are under a hold. `waiting` can only expire when the archiving of themselves
    and of the day after, whose batches share entries with them, has come to its end.
    """

    expired: list[date] = field(default_factory=list)
    held: list[date] = field(default_factory=list)
    waiting: list[date] = field(default_factory=list)


async def expire(
    connection: Connection, folder: Path, before: date, enter: Enter
) -> Expiry:
    """Removes the files of the days before `before`, by the owner's role.

    Args:
        connection: on which `archive.be_alone` was asked.
        folder: the archive's.
        before: the first day that stays.
        enter: does a piece of work in one transaction with its entry in the log.

    Raises:
        CannotArchive: a file cannot be removed, or a hold came in between.
    """
    done = Expiry()
    days = await standings(connection)
    partitioned = {one.day for one in days if one.partitioned}
    for one in days:
        if one.day >= before or one.state is State.EXPIRED:
            continue
        if one.held:
            done.held.append(one.day)
        elif one.day in partitioned or one.day + timedelta(days=1) in partitioned:
            done.waiting.append(one.day)
        else:
            await _expire(one, enter)
            done.expired.append(one.day)
            await _remove_expired(connection, folder)
    await _remove_expired(connection, folder)
    return done


async def _expire(one: DayStanding, enter: Enter) -> None:
    async def mark(connection: Connection) -> None:
        await connection.execute(SQL["lock_holds"])
        if await connection.fetchval(SQL["expire_day"], one.day) is None:
            raise CannotArchive(f"{one.day} is under a hold now.")

    await enter(mark)


async def _remove_expired(connection: Connection, folder: Path) -> None:
    for day in (await archived_days(connection)).values():
        if day.expired and day.file is not None:
            _remove(folder, day)


def _remove(folder: Path, day: ArchivedDay) -> None:
    file = folder / (day.file or "")
    if not file.parent.exists():
        return
    with on_disk(folder):
        file.unlink(missing_ok=True)
        file.parent.rmdir()
        sync(folder)


async def place_hold(
    connection: Connection, first: date, last: date, reason: str
) -> int:
    """Holds days, both inclusive; gives the hold's id.

    Raises:
        InvalidRequest: the last comes before the first.
    """
    if last < first:
        raise InvalidRequest([Fault("TO", "want a day that is not before FROM")])
    hold: int = await connection.fetchval(SQL["hold_days"], first, last, reason)
    return hold


async def release_hold(connection: Connection, hold: int) -> int:
    """Releases a hold.

    Raises:
        NotFound: there is none with this id, or it was released.
    """
    if await connection.fetchval(SQL["release_hold"], hold) is None:
        raise NotFound
    return hold


async def expired_within(connection: Connection, first: date, last: date) -> list[date]:
    """The days that a hold on these comes too late for."""
    days = await archived_days(connection)
    return sorted(
        day for day, one in days.items() if one.expired and first <= day <= last
    )
