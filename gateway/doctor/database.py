"""Asks PostgreSQL what it promises, and what each of the gateway's roles may do there."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from gateway.doctor import roles
from gateway.doctor.finding import Finding, unknown, unsafe
from gateway.doctor.roles import Right
from gateway.postgres import SERVER_GONE, Connection, queries

SQL: Final = queries("gateway.doctor")
LOG: Final = "GATEWAY_POSTGRES_DSN"
RECEIPTS: Final = "GATEWAY_RECEIPTS_DSN"
_OFF: Final = {
    "fsync": "a power cut loses entries that were answered: set fsync = on and reload",
    "full_page_writes": (
        "a crash can tear pages of the log: set full_page_writes = on and reload"
    ),
    "synchronous_commit": (
        "what other clients than the gateway commit may be lost: set "
        "synchronous_commit = on, for the server, the database and the role"
    ),
    "data_checksums": (
        "a disk can alter the log unseen: stop the server and run "
        "pg_checksums --enable on its folder"
    ),
}

_NO_LOG: Final = (
    f"The database of {LOG} has no log that its role may add to, so its tables could "
    "not be examined: run gateway migrate."
)


class NotExamined(Exception):
    """The text is one sentence."""


@asynccontextmanager
async def asking(
    setting: str, dsn: str, *, patience: float
) -> AsyncIterator[Connection]:
    """A connection as the server has it: no setting of ours hides what is set there.

    It is to be made and used within `patience` seconds.

    Raises:
        NotExamined: naming the setting, since the server is away or does not let us in.
    """
    connection = None
    try:
        async with asyncio.timeout(patience):
            connection = await asyncpg.connect(
                dsn, server_settings={"application_name": "gateway-doctor"}
            )
            yield connection
    except (*SERVER_GONE, asyncpg.PostgresError) as error:
        kind = type(error).__name__
        raise NotExamined(
            f"What {setting} names could not be examined ({kind}): see that it can be "
            "reached, then run gateway doctor."
        ) from None
    finally:
        if connection is not None:
            connection.terminate()


async def answer(connection: Connection, query: str) -> dict[str, Any]:
    """The one row that this query always gives."""
    row = await connection.fetchrow(SQL[query])
    if row is None:
        raise LookupError(f"{query} gives a row")
    return dict(row)


async def examine(setting: str, dsn: str, *, patience: float) -> list[Finding]:
    """Findings of one DSN: of the role, and of the server that has the log."""
    try:
        async with asking(setting, dsn, patience=patience) as connection:
            return await _examine(setting, connection)
    except NotExamined as away:
        return [unknown("not-examined", str(away))]


async def _examine(setting: str, connection: Connection) -> list[Finding]:
    powers = await answer(connection, "powers")
    rights = [
        Right(row["schema"], row["table"], frozenset(row["rights"]))
        for row in await connection.fetch(SQL["rights"])
    ]
    found = roles.judge(setting, powers, rights)
    if setting == RECEIPTS and not powers["superuser"]:
        alone = await connection.fetchval(SQL["own_entries_alone"])
        found += roles.judge_receipts(alone=alone)
    if setting == LOG:
        found += _durability(await answer(connection, "durability"))
        if not any(right.table == "entries" for right in rights):
            found.append(unknown("no-log", _NO_LOG))
    return found


def _durability(shown: Mapping[str, str]) -> list[Finding]:
    return [
        unsafe(name, f"The server of {LOG} has {name} off, so that {_OFF[name]}.")
        for name in _OFF
        if shown[name] == "off"
    ]
