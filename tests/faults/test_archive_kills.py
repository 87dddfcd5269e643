"""kill -9 of `gateway audit archive` and `expire`, wherever they are: nothing is lost."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.audit.archived import Archive
from gateway.audit.days import ends
from gateway.audit.inspection import Criteria
from gateway.audit.whole_log import WholeLog
from gateway.problems import EntriesExpired
from tests.conftest import Database
from tests.integration.archives import PastLog, past_log

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KILLS = 25
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def log(database: Database, tmp_path: Path) -> AsyncIterator[PastLog]:
    pepper = tmp_path / "pepper"
    pepper.touch(mode=0o600)
    pepper.write_text(f"1:{'00' * 32}\n")
    async with past_log(database, tmp_path / "archive", 5) as log:
        await log.fill(batches=8)
        await log.settle()
        yield log


async def begun(log: PastLog, *given: str) -> asyncio.subprocess.Process:
    environment = os.environ | {
        "GATEWAY_OWNER_DSN": log.database.dsn("owner"),
        "GATEWAY_PEPPER_FILE": str(log.folder.parent / "pepper"),
        "GATEWAY_ARCHIVE_DIR": str(log.folder),
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "audit", *given, "--reason", "by night"),
        env=environment,
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )


async def killed(log: PastLog, chance: random.Random, *given: str) -> bool:
    """Whether it was killed before its end."""
    process = await begun(log, *given)
    try:
        await asyncio.wait_for(process.wait(), 0.4 + chance.random() * 1.2)
    except TimeoutError:
        process.send_signal(signal.SIGKILL)
        await process.wait()
        return True
    assert process.stderr is not None
    told = (await process.stderr.read()).decode()
    # The session of one that was killed may hold its lock for a moment.
    assert process.returncode == 0 or "Somebody else" in told, told
    return False


async def everything(log: PastLog) -> set[bytes]:
    whole = WholeLog(log.auditor, Archive(log.folder))
    found: set[bytes] = set()
    mark = None
    while True:
        until = Criteria(to_at=ends(log.days[-1]))
        page = await whole.page(until, mark, 1000)
        found |= {line for line, _ in page.entries}
        mark = page.next
        if mark is None:
            return found


async def test_archiving_that_is_killed_again_and_again_loses_nothing(
    log: PastLog,
) -> None:
    before = await everything(log)
    chance = random.Random(9)  # noqa: S311 - the same moments at every run
    past = str(log.days[-1] + timedelta(days=1))
    kills = 0
    for _ in range(KILLS):
        kills += await killed(log, chance, "archive", "--before", past)
        assert await everything(log) == before
    assert kills > KILLS // 3
    last = await begun(log, "archive", "--before", past)
    assert await last.wait() == 0
    assert await everything(log) == before
    files = {path.name for path in log.folder.rglob("*") if path.is_file()}
    assert files == {"entries.parquet"}


async def test_expiring_that_is_killed_ends_with_the_days_gone_and_said_to_be(
    log: PastLog,
) -> None:
    await log.archive(log.eve, *log.days)
    chance = random.Random(10)  # noqa: S311 - the same moments at every run
    for _ in range(6):
        await killed(log, chance, "expire", "--before", str(log.days[3]))
    last = await begun(log, "expire", "--before", str(log.days[3]))
    assert await last.wait() == 0
    left = {path.name for path in log.folder.iterdir()}
    assert left == {f"day={day}" for day in log.days[3:]}
    whole = WholeLog(log.auditor, Archive(log.folder))
    with pytest.raises(EntriesExpired):
        await whole.page(Criteria(to_at=ends(log.days[2])), None, 10)
