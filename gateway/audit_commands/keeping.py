"""`gateway audit` partitions, archive, expire, hold and release: where the log lies.

They run as the role that owns the log (GATEWAY_OWNER_DSN). Whatever is taken away or held
is an entry of the log. Exit codes: 0 done; 1 not done, or not all, as a sentence says; 2
the input is wrong; 69 the database cannot be reached; 74 it went away; 78 a setting is
missing or bad.
"""

import asyncio
import json
import os
import pwd
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import Annotated, NamedTuple, TypeVar

import asyncpg
import typer
from pydantic import PostgresDsn
from rich.console import Console
from rich.table import Table

from gateway import changes
from gateway.audit import archive as archiving
from gateway.audit import partitions as partitioning
from gateway.audit import retention
from gateway.audit.archived import ArchivedDay
from gateway.audit.batch import BatchDigests
from gateway.audit.days import in_words
from gateway.audit.deeds import Deed, do
from gateway.audit.partitions import DayStanding
from gateway.audit.tidying import tidy
from gateway.audit.tree import SQL
from gateway.audit_commands.telling import AsJson, Told, end, progress, sentences
from gateway.edge import strict
from gateway.postgres import SERVER_GONE, Connection, connect
from gateway.problems import Fault, InvalidRequest
from gateway.settings import (
    ArchiveSettings,
    HoldSettings,
    NumberedKeys,
    OwnerSettings,
    read_settings,
)
from gateway.vocabulary import Operation

T = TypeVar("T")

Reason = Annotated[
    str, typer.Option(help="Why: goes into the audit log, 3 to 200 characters.")
]
Before = Annotated[
    str, typer.Option(help="The first day that stays, such as 2026-01-31.")
]


def partitions(*, as_json: AsJson = False) -> None:
    """Make the partitions that are missing, tidy days that are over, list all days.

    Entries that no partition took are moved where they belong first: writers wait while
    what came during the move is copied. Days that are over get full indexes and frozen
    rows; nobody waits for that. Sizes are of partitions with their indexes, or of an
    archived day's file; counts are estimates until a day is archived.
    """

    async def run() -> _Kept:
        settings = read_settings(OwnerSettings)
        async with _owner(settings.owner_dsn) as owner:
            moved = await partitioning.repair(owner)
            tidied: list[str] = []
            # Not beside one who takes partitions away: the next run tidies the rest.
            if await owner.fetchval(SQL["try_to_be_the_archiver"]):
                tidied = [partition async for partition in tidy(owner)]
            left = await owner.fetchval(SQL["default_rows"])
            return _Kept(moved, tidied, await partitioning.standings(owner), left)

    with sentences():
        kept = asyncio.run(run())
    _tell_kept(kept, as_json=as_json)


class _Kept(NamedTuple):
    moved: int
    tidied: list[str]
    days: list[DayStanding]
    default_rows: int


def _tell_kept(kept: _Kept, *, as_json: bool) -> None:
    if as_json:
        listed = [_described(day) for day in kept.days]
        typer.echo(json.dumps({**kept._asdict(), "days": listed}))
    else:
        _show(kept.days)
    if kept.moved:
        typer.echo(f"{kept.moved} rows were moved from the defaults.", err=True)
    if kept.tidied:
        typer.echo(f"{len(kept.tidied)} partitions were tidied.", err=True)
    if left := kept.default_rows:
        end(
            1,
            f"{left} rows lie in the default partitions and cannot be moved: their days "
            "are archived. They are found where they are.",
        )


def archive(*, before: Before, reason: Reason, as_json: AsJson = False) -> None:
    """Take days that are over out of PostgreSQL, into GATEWAY_ARCHIVE_DIR, oldest first.

    Each day before --before becomes a Parquet file, and with --json a line; it is read back and every entry held
    against its seal before the day is recorded and its partitions are dropped. Stopped
    anywhere, it goes on where it was when it is run again.
    """
    day, deed = _asked(before, Operation.AUDIT_ARCHIVE, reason)

    async def run(told: Told) -> None:
        settings = read_settings(ArchiveSettings)
        async with _owner(settings.owner_dsn) as owner:
            enter = _entering(owner, settings, deed)
            archiver = archiving.Archiver(owner, settings.archive_dir, enter)
            for one in await archiving.due(owner, day):
                _tell_archived(await archiver.archive(one, told), as_json=as_json)

    with sentences(), progress("Archiving", quiet=as_json) as told:
        asyncio.run(run(told))


def expire(*, before: Before, reason: Reason, as_json: AsJson = False) -> None:
    """Remove the files of archived days before --before; their seals stay.

    Old receipts and proofs still verify; the entries can no longer be searched or
    exported. Days under a hold stay.
    """
    day, deed = _asked(before, Operation.AUDIT_EXPIRE, reason)

    async def run() -> retention.Expiry:
        settings = read_settings(ArchiveSettings)
        async with _owner(settings.owner_dsn) as owner:
            await archiving.be_alone(owner)
            enter = _entering(owner, settings, deed)
            return await retention.expire(owner, settings.archive_dir, day, enter)

    with sentences():
        done = asyncio.run(run())
    if as_json:
        words = {
            "expired": done.expired,
            "held": done.held,
            "waiting": done.waiting,
        }
        typer.echo(json.dumps({name: list(map(str, d)) for name, d in words.items()}))
        return
    typer.echo(f"Expired: {in_words(done.expired) or 'none'}.")
    if done.held:
        typer.echo(f"Under a hold, so they stay: {in_words(done.held)}.")
    if done.waiting:
        typer.echo(f"To be archived first, or the day after: {in_words(done.waiting)}.")


def hold(
    first: Annotated[str, typer.Argument(metavar="FROM", help="The first day held.")],
    last: Annotated[str, typer.Argument(metavar="TO", help="The last day held.")],
    *,
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Forbid that days expire, FROM and TO included; answers the hold's id."""
    faults: list[Fault] = []
    begins, ends = _read_day(first, faults, "FROM"), _read_day(last, faults, "TO")
    deed = _deed(Operation.AUDIT_HOLD, reason, faults)

    async def place(owner: Connection) -> tuple[int, list[date]]:
        made = await retention.place_hold(owner, begins, ends, deed.reason)
        return made, await retention.expired_within(owner, begins, ends)

    made, late = _held(deed, place)
    if as_json:
        typer.echo(json.dumps({"id": made, "expired": list(map(str, late))}))
    else:
        typer.echo(made)
    if late:
        typer.echo(f"Too late for days that have expired: {in_words(late)}.", err=True)


def release(hold: int, *, reason: Reason, as_json: AsJson = False) -> None:
    """End a hold, by its id."""
    deed = _deed(Operation.AUDIT_RELEASE, reason, [])
    released = _held(deed, lambda owner: retention.release_hold(owner, hold))
    if as_json:
        typer.echo(json.dumps({"id": released}))


def _held(deed: Deed, work: Callable[[Connection], Awaitable[T]]) -> T:
    async def run() -> T:
        settings = read_settings(HoldSettings)
        async with _owner(settings.owner_dsn) as owner:
            return await do(owner, _digests(settings), deed, work)

    with sentences():
        return asyncio.run(run())


@asynccontextmanager
async def _owner(dsn: PostgresDsn) -> AsyncIterator[Connection]:
    try:
        # Some statements read a whole day; what others wait for bounds itself.
        connection = await connect(str(dsn), name="keeping", statement_seconds=0)
    except (*SERVER_GONE, asyncpg.PostgresError) as error:
        kind = type(error).__name__
        end(
            69, f"The database that GATEWAY_OWNER_DSN names cannot be reached ({kind})."
        )
    try:
        yield connection
    finally:
        connection.terminate()


def _entering(owner: Connection, settings: HoldSettings, deed: Deed) -> archiving.Enter:
    digests = _digests(settings)
    return lambda work: do(owner, digests, deed, work)


def _digests(settings: HoldSettings) -> BatchDigests:
    return BatchDigests(
        NumberedKeys.read(settings.pepper_file, setting="GATEWAY_PEPPER_FILE")
    )


def _asked(before: str, operation: Operation, reason: str) -> tuple[date, Deed]:
    faults: list[Fault] = []
    day = _read_day(before, faults, "--before")
    return day, _deed(operation, reason, faults)


def _deed(operation: Operation, reason: str, faults: list[Fault]) -> Deed:
    """What the entry will say, or the end of the command for what is wrong so far."""
    why = strict.read_text(
        reason,
        faults,
        "--reason",
        shortest=changes.SHORTEST_REASON,
        longest=changes.LONGEST_REASON,
    )
    who = strict.read_text(_login_name(), faults, "/operator")
    with sentences():
        if faults:
            raise InvalidRequest(faults)
    return Deed(operation, why or "", who)


def _login_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # In a container an account may have a number and no name.
        return f"uid {os.getuid()}"


def _read_day(text: str, faults: list[Fault], at: str) -> date:
    try:
        if len(text) == len("2026-01-31"):
            return date.fromisoformat(text)
    except ValueError:
        pass
    faults.append(Fault(at, "want a day such as 2026-01-31"))
    return date.min


def _described(day: DayStanding) -> dict[str, object]:
    return {
        "day": str(day.day),
        "state": day.state,
        "held": day.held,
        "entries": day.entries,
        "bytes": day.bytes,
    }


def _show(days: Sequence[DayStanding]) -> None:
    table = Table("day", "state", "hold", "entries", "bytes")
    for day in days:
        unfinished = " (unfinished)" if _is_unfinished(day) else ""
        table.add_row(
            str(day.day),
            day.state + unfinished,
            "held" if day.held else "",
            f"{day.entries:,}",
            f"{day.bytes:,}",
        )
    Console().print(table)


def _is_unfinished(day: DayStanding) -> bool:
    archived = day.state in {
        partitioning.State.ARCHIVED,
        partitioning.State.EXPIRED,
    }
    return archived and day.partitioned


def _tell_archived(one: ArchivedDay, *, as_json: bool) -> None:
    if as_json:
        told = {
            "day": str(one.day),
            "file": one.file,
            "entries": one.entries,
            "bytes": one.bytes,
        }
        typer.echo(json.dumps(told))
    else:
        typer.echo(f"{one.day}: {one.entries:,} entries, {one.bytes:,} bytes")
