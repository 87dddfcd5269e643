"""Copies of a running PostgreSQL: a base backup, and a standby that is never behind.

The programs are those of the wheel. A synchronous standby has each commit on its disk
before the commit is answered, so that whoever takes over after a crash has every entry
that anybody was told of.
"""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import asyncpg

from gateway.embedded.ports import HOST
from gateway.embedded.postgres import PostgresServer, program
from gateway.embedded.processes import ENVIRONMENT, ServerError, account_for
from gateway.embedded.supervision import beside, write_private

STANDBY: Final = "gateway_standby"
SYNCHRONOUS_SECONDS: Final = 60.0
_IS_SYNCHRONOUS: Final = (
    "SELECT count(*) FROM pg_stat_replication"
    " WHERE application_name = $1 AND sync_state = 'sync'"
)


def base_backup(server: PostgresServer, folder: Path) -> None:
    """Copies all that the server holds, with the WAL that makes it whole, into `folder`.

    The superuser's password comes to lie beside it, as it does beside the server's.

    Raises:
        ServerError: with what pg_basebackup said.
    """
    account = account_for(server.folder)
    secret = beside(folder, "password")
    write_private(secret, server.password, account)
    command = [
        *(str(program("pg_basebackup")), "--pgdata", str(folder)),
        *("--host", HOST, "--port", str(server.port), "--username", "postgres"),
        *("--wal-method", "stream", "--checkpoint", "fast", "--no-password"),
    ]
    with access_to(server, folder) as environment:
        done = subprocess.run(  # noqa: S603 - our own argv
            command, env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        raise ServerError(f"No base backup could be made: {done.stderr.strip()}")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


@contextmanager
def access_to(server: PostgresServer, folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which a program of the wheel's is the superuser.

    The password is in a file beside `folder`, until the end, and in no argument.
    """
    access = beside(folder, "access")
    access.touch(mode=0o600)
    access.write_text(f"{HOST}:*:*:postgres:{server.password}\n", "ascii")
    try:
        yield {**ENVIRONMENT, "PGPASSFILE": str(access)}
    finally:
        access.unlink()


async def synchronous_standby(server: PostgresServer, folder: Path) -> PostgresServer:
    """A running standby in `folder`, for which every commit of the server waits.

    Raises:
        ServerError: it could not be made, or does not follow.
    """
    await asyncio.to_thread(base_backup, server, folder)
    account = account_for(server.folder)
    access = (
        f"host={HOST} port={server.port} user=postgres password={server.password}"
        f" application_name={STANDBY}"
    )
    settings = folder / "postgresql.auto.conf"
    held = settings.read_text("utf-8")
    write_private(settings, f"{held}primary_conninfo = '{access}'\n", account)
    write_private(folder / "standby.signal", "", account)
    standby = PostgresServer(folder)
    await asyncio.to_thread(standby.start)
    superuser = await asyncpg.connect(server.dsn())
    try:
        await _waited_for(superuser)
    finally:
        await superuser.close()
    return standby


async def _waited_for(superuser: asyncpg.Connection) -> None:
    await superuser.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'")
    await superuser.execute("SELECT pg_reload_conf()")
    deadline = time.monotonic() + SYNCHRONOUS_SECONDS
    while not await superuser.fetchval(_IS_SYNCHRONOUS, STANDBY):
        if time.monotonic() > deadline:
            raise ServerError("The standby does not follow.")
        await asyncio.sleep(0.05)


async def promote(standby: PostgresServer) -> None:
    """The standby takes writes from now on; the other must be known to be gone."""
    superuser = await asyncpg.connect(standby.dsn())
    try:
        await superuser.fetchval("SELECT pg_promote()")
    finally:
        await superuser.close()


def discard(server: PostgresServer) -> None:
    """A server that lost its place: what it holds may lack what came since."""
    server.stop()
    shutil.rmtree(server.folder)
