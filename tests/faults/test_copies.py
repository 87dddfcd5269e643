"""PostgreSQL is lost with its disk: a standby or a backup has all that anybody was told."""

import asyncio
import shutil
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Final

import asyncpg
import pytest

from gateway.audit.checkpoint import note_keys
from gateway.embedded import demo, judging, outcome
from gateway.embedded.chaos import play
from gateway.embedded.copies import base_backup
from gateway.embedded.faults import FAULTS, fail_over_postgres
from gateway.embedded.history import History
from gateway.embedded.judging import Span
from gateway.embedded.plan import Plan
from gateway.embedded.stage import Stage, set_up
from gateway.postgres import pool
from gateway.settings import NumberedKeys
from tests.faults.restoring import restored, wal_received

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

FIRST_SUCCESS_SECONDS: Final = 5.0
PATIENCE: Final = 60.0


async def test_a_failover_to_a_synchronous_standby_loses_no_acknowledged_entry(
    tmp_path: Path,
) -> None:
    kind = [fault for fault in FAULTS if fault.act is fail_over_postgres]
    found = await play(tmp_path, Plan(seed=1, minutes=0.3, faults=kind))
    # Shown when it fails.
    outcome.report(found, None)
    assert [one for one in found.findings if one.broken] == []
    assert len(found.befallen) >= 2
    assert max(one.served for one in found.befallen) <= FIRST_SUCCESS_SECONDS


async def asked(stage: Stage, seconds: float) -> None:
    """Until so long after the first answer with data that was asked for since now."""
    began = time.monotonic()
    while stage.asking.served[1] < began:
        assert time.monotonic() < began + PATIENCE, "nobody is served"
        await asyncio.sleep(0.01)
    await asyncio.sleep(seconds)


async def test_what_is_restored_from_a_backup_has_every_acknowledged_entry(
    tmp_path: Path,
) -> None:
    chance = Random(1)  # noqa: S311 - calls, no secret
    backup, wal = tmp_path / "backup", tmp_path / "wal"
    async with set_up(tmp_path, minutes=1, chance=chance) as stage:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stage.asking.run())
            async with wal_received(stage.postgres, wal):
                await asked(stage, 1)
                await asyncio.to_thread(base_backup, stage.postgres, backup)
                await asked(stage, 3)
                lost_at = time.monotonic()
                await asyncio.to_thread(stage.postgres.kill)
            shutil.rmtree(stage.postgres.folder)
            folder = tmp_path / "restored"
            stage.postgres = await asyncio.to_thread(restored, backup, wal, folder)
            stage.copies.append(stage.postgres)
            stage.log_way.lead(stage.postgres.port)
            await asked(stage, 1)
            back_at = time.monotonic()
            stage.asking.ending = True
        await asyncio.sleep(2)
        await check(stage, Span(lost_at, back_at))


async def check(stage: Stage, lost: Span) -> None:
    """The restored log verifies, with nothing of ours but its key, and lacks nothing."""
    secrets = stage.folder / "secrets" / "signing-key"
    keys = note_keys(NumberedKeys.read(secrets, setting="its key"), demo.ORIGIN)
    file = stage.folder / "whole.ndjson"
    async with pool(
        stage.auditor_dsn, name="test", size=1, statement_seconds=60
    ) as auditor:
        assert await History(auditor, keys, stage.folder).whole(file) == []
    verify = ("audit", "verify", str(file), "--key", keys[0].text)
    done = subprocess.run(  # noqa: S603, ASYNC221 - our own program; nothing else runs
        [sys.executable, "-m", "gateway", *verify],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    entries = list(judging.lines(file))
    ledger = stage.asking.ledger
    for finding in (
        judging.answered(ledger, entries),
        judging.unanswered(ledger, entries, [lost]),
        judging.once(entries),
    ):
        assert not finding.broken, finding
    assert any(
        call.sent > lost.began and call.status == 200 for call in ledger.calls.values()
    )
    superuser = await asyncpg.connect(stage.postgres.dsn())
    assert not await superuser.fetchval("SELECT pg_is_in_recovery()")
    await superuser.close()
