"""A backup as operators make it: a base backup, and the WAL as it is written."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg

from gateway.embedded.copies import access_to
from gateway.embedded.ports import HOST
from gateway.embedded.postgres import PostgresServer, program
from gateway.embedded.processes import account_for
from gateway.embedded.supervision import beside, write_private

RECEIVER: Final = "pg_receivewal"
PATIENCE: Final = 30.0
_IS_WAITED_FOR: Final = (
    "SELECT count(*) FROM pg_stat_replication"
    " WHERE application_name = $1 AND sync_state = 'sync'"
)


@asynccontextmanager
async def wal_received(server: PostgresServer, folder: Path) -> AsyncIterator[None]:
    """Every commit is in `folder` before it is answered."""
    with access_to(server, folder) as environment:
        receiver = _receive(server, folder, environment)
        try:
            await _waited_for(server)
            yield
            # It ends with the server.
            await asyncio.to_thread(receiver.wait, PATIENCE)
        finally:
            receiver.kill()
            receiver.wait()


def _receive(
    server: PostgresServer, folder: Path, environment: dict[str, str]
) -> "subprocess.Popen[bytes]":
    folder.mkdir()
    command = [
        *(str(program(RECEIVER)), "--directory", str(folder), "--synchronous"),
        *("--host", HOST, "--port", str(server.port), "--username", "postgres"),
        *("--no-password", "--no-loop"),
    ]
    return subprocess.Popen(command, env=environment)  # noqa: S603 - our own argv


async def _waited_for(server: PostgresServer) -> None:
    superuser = await asyncpg.connect(server.dsn())
    await superuser.execute(
        f"ALTER SYSTEM SET synchronous_standby_names = '{RECEIVER}'"
    )
    await superuser.execute("SELECT pg_reload_conf()")
    deadline = time.monotonic() + PATIENCE
    while not await superuser.fetchval(_IS_WAITED_FOR, RECEIVER):
        assert time.monotonic() < deadline, "the WAL is not received"
        await asyncio.sleep(0.05)
    await superuser.close()


def restored(backup: Path, wal: Path, folder: Path) -> PostgresServer:
    """A server in `folder`, made of the base backup and all WAL that was received."""
    account = account_for(backup)
    shutil.copytree(backup, folder)
    shutil.copyfile(beside(backup, "password"), beside(folder, "password"))
    for path in wal.glob("*.partial"):
        # What was written last: PostgreSQL stops where it ends.
        path.rename(path.with_suffix(""))
    settings = folder / "postgresql.auto.conf"
    held = settings.read_text("utf-8")
    fetched = f'restore_command = \'cp "{wal}/%f" "%p"\'\n'
    # Else its commits would wait for a receiver that is gone.
    alone = "synchronous_standby_names = ''\n"
    settings.write_text(held + fetched + alone, "utf-8")
    write_private(folder / "recovery.signal", "", account)
    for path in (*wal.rglob("*"), wal, *folder.rglob("*"), folder):
        os.chown(path, account.uid, account.gid)
    server = PostgresServer(folder)
    server.start()
    return server
