"""Takes closed days out of PostgreSQL: to a file, read back, recorded, then dropped.

The order is all that matters. The file is on the disk before it is read back; every
entry in it has the hash that was sealed, and no sealed leaf of the day is missing; then
it takes its name; then, in one transaction with an entry of the log, the day is recorded;
and only then, if its partitions still hold just that, they are dropped. A crash anywhere
leaves the partitions, or the recorded file, or both; to run it again is to go on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from hashlib import file_digest
from pathlib import Path
from typing import Final

from gateway.audit.archived import ArchivedDay
from gateway.audit.day_file import CannotArchive, DayFile, Kept, Told
from gateway.audit.days import DAY, begins, day_of, ends, first_batch
from gateway.audit.extract import AFTER_BATCH, BEFORE_BATCH
from gateway.audit.partitions import LOCK_PAUSE, LOCK_TRIES, LOCK_WAIT, LOCKED_OUT
from gateway.audit.tree import SQL
from gateway.clock import from_datetime, to_datetime
from gateway.postgres import Connection

# A commit may hang on a standby: so far back the sealer looks for what came late.
SETTLED_DAYS: Final = 2

Enter = Callable[[Callable[[Connection], Awaitable[None]]], Awaitable[object]]


async def due(connection: Connection, before: date) -> list[date]:
    """The days before `before` that have partitions, oldest first.

    From here on nobody else archives or expires, until the session ends.

    Raises:
        CannotArchive: the last of them has not been over for two days, or somebody else
            is at it.
    """
    now = from_datetime(await connection.fetchval("SELECT clock_timestamp()"))
    latest = day_of(now - SETTLED_DAYS * DAY)
    if before > latest:
        raise CannotArchive(
            f"A day can be archived when it has been over for {SETTLED_DAYS} days: "
            f"--before is {latest} at the latest."
        )
    await be_alone(connection)
    rows = await connection.fetch(SQL["partitions"])
    return [row["day"] for row in rows if row["day"] and row["day"] < before]


async def be_alone(connection: Connection) -> None:
    """Raises CannotArchive if another session archives or expires."""
    if not await connection.fetchval(SQL["try_to_be_the_archiver"]):
        raise CannotArchive("Somebody else is archiving or expiring.")


class Archiver:
    """Archives days one by one, by the owner's role.

    Args:
        connection: the owner's, outside any transaction; `be_alone` was asked on it.
        folder: the archive's.
        enter: does a piece of work in one transaction with its entry in the log.
    """

    def __init__(self, connection: Connection, folder: Path, enter: Enter) -> None:
        self._connection = connection
        self._folder = folder.resolve()
        self._enter = enter

    async def archive(self, day: date, told: Told = lambda _, __: None) -> ArchivedDay:
        """Archives a day that is due, or does what is left to do of it.

        Raises:
            CannotArchive: as a sentence.
            NotAsSealed: entries are missing or altered; nothing was taken away.
            ArchiveUnavailable: the file cannot be made or read back.
        """
        # The tables are large and days that are over well indexed; statistics may lag.
        await self._connection.execute("SET enable_seqscan = off")
        kept = await self._recorded(day)
        if kept is None or not await self._is_filed(day, kept):
            await self._check_settled(day)
            kept = await DayFile(self._connection, self._folder, day).make(told)
            await self._record(day, kept)
        await self._drop(day)
        return ArchivedDay(
            day,
            kept.file,
            kept.bytes,
            kept.entries,
            kept.lowest_leaf,
            kept.highest_leaf,
            expired=False,
        )

    async def _recorded(self, day: date) -> Kept | None:
        row = await self._connection.fetchrow(SQL["archived_day"], day)
        return None if row is None else Kept(*(row[name] for name in Kept._fields))

    async def _is_filed(self, day: date, kept: Kept) -> bool:
        """Whether a day was recorded before a crash, and nothing has changed since."""
        entries = await self._connection.fetchval(
            SQL["count_entries"], to_datetime(begins(day)), to_datetime(ends(day))
        )
        if entries != kept.entries or kept.file is None:
            return bool(entries == kept.entries)
        try:
            with (self._folder / kept.file).open("rb") as file:
                return file_digest(file, "sha256").digest() == kept.sha256
        except FileNotFoundError:
            return False

    async def _check_settled(self, day: date) -> None:
        """What is still to happen to a day's entries must happen where they are."""
        rows = await self._connection.fetch(SQL["partitions"])
        older = [row["day"] for row in rows if row["day"] and row["day"] < day]
        if older:
            # Near midnight its batches hold entries of the day before, which are found
            # by their batches' rows.
            raise CannotArchive(f"{older[0]} comes before {day}.")
        first, past = begins(day), ends(day) + BEFORE_BATCH + AFTER_BATCH
        unsealed = await self._connection.fetchval(
            SQL["unsealed_between"], first_batch(first), first_batch(past)
        )
        if unsealed:
            raise CannotArchive(f"{day} is not wholly sealed: {unsealed} batches wait.")
        counted = await self._connection.fetchval(
            SQL["is_rolled_up"], first_batch(first), first_batch(past)
        )
        if not counted:
            raise CannotArchive(
                f"{day} is not wholly counted for summaries; the sealer's process does."
            )

    async def _record(self, day: date, kept: Kept) -> None:
        async def record(connection: Connection) -> None:
            await connection.execute(SQL["record_archived_day"], day, *kept)

        await self._enter(record)

    async def _drop(self, day: date) -> None:
        """Drops the day's partitions, unless they have gained anything since."""
        for _ in range(LOCK_TRIES):
            try:
                async with self._connection.transaction():
                    await self._connection.execute(LOCK_WAIT)
                    if await self._connection.fetchval(SQL["drop_archived_day"], day):
                        return
                raise CannotArchive(
                    f"{day} has gained entries since its file was made; run it again."
                )
            except LOCKED_OUT:
                await asyncio.sleep(LOCK_PAUSE)
        raise CannotArchive(
            f"{day} is in its file, but long questions hold the log: its partitions are "
            "dropped when this is run again."
        )
