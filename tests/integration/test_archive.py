"""Days leave PostgreSQL whole, proven and once; whatever ends on the way, nothing is lost."""

from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import pytest

from gateway.audit.inspection import Criteria, Inspection
from tests.conftest import Database
from tests.integration.archives import PastLog, past_log

pytestmark = pytest.mark.integration


@pytest.fixture
async def log(database: Database, tmp_path: Path) -> AsyncIterator[PastLog]:
    async with past_log(database, tmp_path / "archive", 3) as log:
        await log.fill()
        await log.settle()
        yield log


async def live_lines(log: PastLog) -> set[bytes]:
    page = await Inspection(log.auditor).page(Criteria(), None, 100_000)
    return {line for line, _ in page.entries}


async def test_a_day_is_archived_and_its_partitions_are_gone(log: PastLog) -> None:
    day = log.days[0]
    before = await live_lines(log)
    eve, kept = await log.archive(log.eve, day)
    after = await live_lines(log)
    assert kept.entries > 50
    # Two entries came: of the two changes.
    assert len(before) + 2 - len(after) == eve.entries + kept.entries
    assert f"entries_{day:%Y%m%d}" not in await log.partitions()
    assert duckdb.read_parquet(str(log.file(day))).shape[0] == kept.entries
