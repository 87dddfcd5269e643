"""A change made on the command line, with its entry; and a look, which leaves none."""

import asyncio
import json
import os
import pwd
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import typer

from gateway import changes
from gateway.changes import Change, Kept, Made, Pen
from gateway.edge import strict
from gateway.exits import NOTHING_SUCH, session, told
from gateway.postgres import Connection
from gateway.problems import Fault
from gateway.settings import AdminSettings, NumberedKeys, read_settings
from gateway.vocabulary import Operation

T = TypeVar("T")
N = TypeVar("N", bound=int | str | Kept)

NO_INSTITUTION: Final = "There is no such institution."


def _login_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # In a container an account may have a number and no name.
        return f"uid {os.getuid()}"


def change(
    operation: Operation,
    reason: str,
    work: Callable[[Connection, NumberedKeys], Awaitable[N]],
    faults: list[Fault] | None = None,
    *,
    missing: str = NOTHING_SUCH,
) -> Made[N]:
    """Makes a change and its entry, or ends the command."""
    found = faults or []
    entered = Change(operation, *_why_and_who(reason, found))

    async def make() -> Made[N]:
        settings = read_settings(AdminSettings)
        peppers = NumberedKeys.read(settings.pepper_file, setting="GATEWAY_PEPPER_FILE")
        async with session(settings.admin_dsn, setting="GATEWAY_ADMIN_DSN") as opened:
            return await changes.make(
                opened,
                Pen(peppers),
                entered,
                lambda connection: work(connection, peppers),
                found,
            )

    with told(missing=missing):
        return asyncio.run(make())


def _why_and_who(reason: str, faults: list[Fault]) -> tuple[str | None, str | None]:
    # A login name may be a NIK, where staff have named accounts so.
    return (
        strict.read_text(
            reason,
            faults,
            "/reason",
            shortest=changes.SHORTEST_REASON,
            longest=changes.LONGEST_REASON,
        ),
        strict.read_text(_login_name(), faults, "/operator"),
    )


def look(work: Callable[[Connection], Awaitable[T]]) -> T:
    """What the work finds, or the end of the command."""

    async def read() -> T:
        dsn = read_settings(AdminSettings).admin_dsn
        async with session(dsn, setting="GATEWAY_ADMIN_DSN") as connection:
            return await work(connection)

    with told():
        return asyncio.run(read())


def answer(values: dict[str, object], made: Made[T], *, as_json: bool) -> None:
    """Writes what was made: as JSON all of it, else the last value alone."""
    _tell(made)
    name, value = [*values.items()][-1]
    if name != "id":
        typer.echo(f"The {name} is shown this once and kept nowhere:", err=True)
    if as_json:
        _write(values, made)
    else:
        typer.echo(value)


def confirm(values: dict[str, object], made: Made[T], *, as_json: bool) -> None:
    """Writes what was changed, as JSON; else there is nothing that was asked for."""
    _tell(made)
    if as_json:
        _write(values, made)


def _write(values: dict[str, object], made: Made[T]) -> None:
    typer.echo(json.dumps(values | {"access_id": made.access_id}))


def _tell(made: Made[T]) -> None:
    typer.echo(f"Done, and in the audit log as {made.access_id}.", err=True)
