"""Two sealers of one log: when the one that works is gone, the other goes on."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from gateway.audit.sealer import FROZEN_SECONDS
from gateway.clock import from_datetime
from gateway.postgres import Connection
from tests.conftest import Database
from tests.faults.heads import sealed_leaves
from tests.integration import logs

pytestmark = pytest.mark.integration

TAKEOVER_SECONDS: Final = 5.0
START_SECONDS: Final = 30.0
ROUNDS: Final = 3
_SESSIONS: Final = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'gateway-sealer'
"""
_SIZE: Final = "SELECT coalesce(max(size), 0) FROM checkpoints"


@dataclass
class Sealers:
    """`gateway seal`, more than once, and the log they seal."""

    environment: dict[str, str]
    log_file: Path
    superuser: Connection
    hot: Connection
    written: int = 0

    def start(self) -> subprocess.Popen[bytes]:
        with self.log_file.open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "gateway", "seal"],
                env={"PATH": os.environ["PATH"], **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    async def are_there(self, many: int) -> None:
        """Waits until so many have a session: one has the lock, others ask for it."""
        await self._wait(_SESSIONS, many, START_SECONDS)

    async def write(self) -> None:
        at = from_datetime(await self.hot.fetchval("SELECT clock_timestamp()"))
        await logs.write(self.hot, [logs.refusal(at)] * 3)
        self.written += 3

    async def sealed(self, *, within: float) -> float:
        """Seconds until an entry is sealed that is not written yet."""
        return await self._wait(_SIZE, self.written + 1, within)

    async def all_sealed(self) -> None:
        await self._wait(_SIZE, self.written, TAKEOVER_SECONDS)

    async def _wait(self, question: str, least: int, within: float) -> float:
        began = time.monotonic()
        while await self.superuser.fetchval(question) < least:
            said = self.log_file.read_text("utf-8")[-1000:]
            assert time.monotonic() - began <= within, f"not within {within} s: {said}"
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    @asynccontextmanager
    async def written_to(self) -> AsyncIterator[None]:
        """While this is open, batch after batch is committed."""
        over = False

        async def keep_writing() -> None:
            while not over:
                await self.write()
                await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_writing())
            try:
                yield
            finally:
                over = True


@pytest.fixture
async def sealers(database: Database, tmp_path: Path) -> AsyncIterator[Sealers]:
    for name in ("pepper", "signing"):
        secret = tmp_path / name
        secret.touch(mode=0o600)
        secret.write_text(f"1:{'00' * 32}\n")
    environment = {
        "GATEWAY_SEALER_DSN": database.dsn("sealer"),
        "GATEWAY_PEPPER_FILE": str(tmp_path / "pepper"),
        "GATEWAY_SIGNING_KEY_FILE": str(tmp_path / "signing"),
        "GATEWAY_LOG_ORIGIN": logs.ORIGIN,
    }
    superuser = await asyncpg.connect(database.dsn("superuser"))
    hot = await asyncpg.connect(database.dsn("hot"))
    yield Sealers(environment, tmp_path / "sealers.log", superuser, hot)
    await superuser.close()
    await hot.close()


def end(*sealers: subprocess.Popen[bytes]) -> None:
    for sealer in sealers:
        sealer.kill()
        sealer.wait()


async def test_another_sealer_seals_within_five_seconds_of_a_kill(
    sealers: Sealers, database: Database
) -> None:
    working = sealers.start()
    async with sealers.written_to():
        await sealers.sealed(within=START_SECONDS)
        for _ in range(ROUNDS):
            waiting = sealers.start()
            await sealers.are_there(2)
            end(working)
            await sealers.sealed(within=TAKEOVER_SECONDS)
            working = waiting
    await sealers.all_sealed()
    end(working)
    assert await sealed_leaves(database.dsn("superuser")) == sealers.written


@pytest.mark.slow
async def test_a_sealer_that_is_frozen_is_replaced_and_does_no_harm_when_it_thaws(
    sealers: Sealers, database: Database
) -> None:
    frozen = sealers.start()
    async with sealers.written_to():
        await sealers.sealed(within=START_SECONDS)
        waiting = sealers.start()
        await sealers.are_there(2)
        frozen.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        # What it had sent may still be done.
        await asyncio.sleep(1)
        await sealers.sealed(within=FROZEN_SECONDS + TAKEOVER_SECONDS)
        assert time.monotonic() - stopped > FROZEN_SECONDS - 1
        frozen.send_signal(signal.SIGCONT)
        await sealers.are_there(2)
        # And it is the one that waits now.
        end(waiting)
        await sealers.sealed(within=TAKEOVER_SECONDS)
    await sealers.all_sealed()
    end(frozen)
    assert await sealed_leaves(database.dsn("superuser")) == sealers.written
