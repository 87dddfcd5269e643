"""Archived days answer as if they had never left: the same bytes, in the same order."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gateway.audit.archived import Archive
from gateway.audit.days import begins, ends
from gateway.audit.export import Exports, write_export
from gateway.audit.inspection import Criteria, Mark, Page
from gateway.audit.own_entries import OwnEntries
from gateway.audit.summary import By, Summaries
from gateway.audit.tree import NotAsSealed
from gateway.audit.verification import verify
from gateway.audit.whole_log import WholeLog
from gateway.clock import SECOND
from gateway.postgres import pool
from gateway.problems import ArchiveUnavailable
from gateway.vocabulary import Actor, Operation, Outcome
from tests.conftest import Database
from tests.integration import logs
from tests.integration.archives import PEOPLE, PastLog, past_log
from tests.written_logs import KEY

pytestmark = pytest.mark.integration

HOUR = 3600 * SECOND


@pytest.fixture
async def log(database: Database, tmp_path: Path) -> AsyncIterator[PastLog]:
    async with past_log(database, tmp_path / "archive", 3) as log:
        await log.fill()
        await log.settle()
        yield log


def asked(log: PastLog) -> list[tuple[Criteria, int]]:
    """Questions of every kind, on both sides of what is archived, and a page's size."""
    second = log.days[1]
    # What archiving enters itself is not asked for.
    all_days: dict[str, Any] = {"to_at": ends(log.days[-1])}
    around: dict[str, Any] = {
        "from_at": begins(second) - HOUR,
        "to_at": ends(second) + HOUR,
    }
    return [
        (Criteria(**all_days), 23),
        (Criteria(**around), 1000),
        (Criteria(from_at=begins(second), to_at=begins(second) + 1), 5),
        (Criteria(**all_days, subjects=PEOPLE[:2]), 3),
        (Criteria(**around, subjects=[replace_key(PEOPLE[5])]), 1000),
        (Criteria(**all_days, institution=3), 7),
        (Criteria(**around, institution=2, outcome=Outcome.MATCHED), 1000),
        (Criteria(**all_days, key=logs.KEY.number, operation=Operation.FETCH), 40),
        (Criteria(**all_days, key=-1), 5),
        (Criteria(**around, actor=Actor.AUDITOR), 6),
    ]


def replace_key(subject: Any) -> Any:
    return subject._replace(key=9)


async def pages(whole: WholeLog, criteria: Criteria, limit: int) -> list[Any]:
    found, mark = [], None
    while True:
        page = await whole.page(criteria, mark, limit)
        found.append(page.entries)
        mark = page.next
        if mark is None:
            return found


@pytest.mark.parametrize("days", [2, pytest.param(3, marks=pytest.mark.slow)])
async def test_pages_are_the_same_before_and_after(log: PastLog, days: int) -> None:
    live, whole = (
        WholeLog(log.auditor, Archive(folder)) for folder in (None, log.folder)
    )
    before = [await pages(live, *one) for one in asked(log)]
    assert sum(map(len, before)) > 30
    await log.archive(log.eve, *log.days[:days])
    for question, expected in zip(asked(log), before, strict=True):
        assert await pages(whole, *question) == expected


async def test_every_entry_is_found_by_its_name_as_before(log: PastLog) -> None:
    live, whole = (
        WholeLog(log.auditor, Archive(folder)) for folder in (None, log.folder)
    )
    some = list(log.names)[::29]
    before = [await live.entry(name) for name in some]
    await log.archive(log.eve, *log.days[:2])
    assert [await whole.entry(name) for name in some] == before
    unknown = some[0].replace(some[0][:8], "01a00000")
    assert await whole.entry(unknown) is None
    with pytest.raises(ArchiveUnavailable, match="GATEWAY_ARCHIVE_DIR"):
        await live.entry(some[0])
    with pytest.raises(ArchiveUnavailable, match="GATEWAY_ARCHIVE_DIR"):
        await live.page(Criteria(), None, 1000)


async def test_a_receipt_from_the_archive_is_its_own_institutions_alone(
    log: PastLog,
) -> None:
    database = log.database
    async with (
        pool(
            database.dsn("receipts"), name="receipts", size=1, statement_seconds=5
        ) as receipts,
        asyncio.TaskGroup() as tasks,
    ):
        own = OwnEntries(receipts, log.auditor, Archive(log.folder), tasks=tasks)
        some = list(log.names)[::80]
        before = {(name, n): await own.entry(name, n) for name in some for n in (1, 2)}
        await log.archive(log.eve, *log.days)
        assert any(before.values())
        for (name, institution), found in before.items():
            assert await own.entry(name, institution) == found


async def test_an_export_over_archived_and_live_days_is_the_same_and_verifies(
    log: PastLog, tmp_path: Path
) -> None:
    live, mixed = (
        Exports(log.auditor, Archive(folder)) for folder in (None, log.folder)
    )
    middle = begins(log.days[1])
    spans = [
        (None, ends(log.days[-1])),
        (begins(log.days[0]), middle),
        (middle + 1, middle + 30 * HOUR),
        (middle + HOUR, middle + 2 * HOUR),
        (middle - SECOND, middle),
    ]

    async def written(exports: Exports, name: str) -> list[bytes | None]:
        return [
            await export(exports, span, tmp_path / f"{name}{n}")
            for n, span in enumerate(spans)
        ]

    before = await written(live, "before")
    assert any(before)
    await log.archive(log.eve, *log.days[:2])
    assert await written(mixed, "mixed") == before


async def export(
    exports: Exports, span: tuple[int | None, int], file: Path
) -> bytes | None:
    extract = await exports.find(*span)
    if extract is None:
        return None
    await write_export(exports, file, extract)
    return verified(file)


def verified(file: Path) -> bytes:
    assert verify([file], [KEY]).true
    return file.read_bytes()


async def test_summaries_are_the_same_before_and_after(log: PastLog) -> None:
    middle = begins(log.days[1])
    spans = [
        (None, ends(log.days[-1])),
        (middle - 7, middle + 3 * HOUR + 5),
        (middle + 1, middle + HOUR // 2),
        (middle - HOUR // 2, middle + HOUR // 3),
        (begins(log.days[0]) + 1, ends(log.days[2]) - 1),
    ]
    questions = [(by, *span) for span, by in zip(spans, [*By, *By], strict=False)]
    questions += [(by, *spans[1]) for by in By]
    live, mixed = (
        Summaries(log.auditor, Archive(folder)) for folder in (None, log.folder)
    )
    before = [await live.summarise(*one) for one in questions]
    assert sum(map(len, before)) > 10
    await log.archive(log.eve, *log.days[:2])
    assert [await mixed.summarise(*one) for one in questions] == before
    # Whole hours need no file.
    assert await live.summarise(*questions[0]) == before[0]
    with pytest.raises(ArchiveUnavailable):
        await live.summarise(*questions[1])


async def test_rollups_made_anew_keep_what_only_the_archive_could_count(
    log: PastLog,
) -> None:
    summaries = Summaries(log.auditor, Archive(log.folder))
    span = (None, ends(log.days[-1]))
    before = [await summaries.summarise(by, *span) for by in By]
    await log.archive(log.eve, *log.days[:2])
    await log.owner.execute("SELECT recount_rollups()")
    await log.settle()
    assert [await summaries.summarise(by, *span) for by in By] == before


async def test_up_to_the_epoch_the_archive_has_nothing(log: PastLog) -> None:
    await log.archive(log.eve, *log.days)
    archive, newest = Archive(log.folder), Mark(ends(log.days[-1]), 0, 0)
    everybody, people = Criteria(), Criteria(subjects=PEOPLE)
    async with log.auditor.acquire() as connection:
        days = await archive.days(connection, 0, newest.at)
        for criteria in (everybody, people):
            assert await archive.page(connection, criteria, newest, 10, days)
            past = replace(criteria, to_at=0)
            assert await archive.page(connection, past, newest, 10, days) == []
            whole = WholeLog(log.auditor, archive)
            assert await whole.page(past, None, 10) == Page([], None)


def tampered(log: PastLog, change: str) -> None:
    """Writes a day's file again with something changed, to the same length."""
    file = log.file(log.days[0])
    size = file.stat().st_size
    duckdb.sql(
        f"COPY (SELECT * REPLACE ({change}) FROM read_parquet('{file}',"
        f" hive_partitioning = false)) TO '{file}.changed' (FORMAT parquet)"
    )
    shutil.move(f"{file}.changed", file)
    assert file.stat().st_size != size


async def test_an_altered_file_is_never_shown(log: PastLog) -> None:
    await log.archive(log.eve, *log.days)
    exports = Exports(log.auditor, Archive(log.folder))
    whole = WholeLog(log.auditor, Archive(log.folder))
    extract = await exports.find(None, ends(log.days[-1]))
    assert extract is not None
    tampered(
        log,
        "CASE WHEN outcome = 'matched' THEN 'mismatched' ELSE outcome END AS outcome",
    )
    with pytest.raises(ArchiveUnavailable, match="not as long"):
        await whole.page(Criteria(), None, 1000)
    # Whoever can change the list of days as well is found out by the seals.
    size = log.file(log.days[0]).stat().st_size
    await log.owner.execute(
        "UPDATE archived_days SET bytes = $1 WHERE day = $2", size, log.days[0]
    )
    with pytest.raises(NotAsSealed, match="not as it was sealed"):
        await whole.page(Criteria(), None, 1000)
    with pytest.raises(NotAsSealed, match="not as it was sealed"):
        async for _ in exports.lines(extract):
            pass


async def test_a_file_that_is_gone_is_an_error_and_not_a_shorter_page(
    log: PastLog,
) -> None:
    await log.archive(log.eve, *log.days)
    whole = WholeLog(log.auditor, Archive(log.folder))
    log.file(log.days[1]).unlink()
    youngest = Mark(ends(log.days[2]), 0, 0)
    page = await whole.page(Criteria(), youngest, 20)
    assert len(page.entries) == 20
    with pytest.raises(ArchiveUnavailable, match=f"{log.days[1]} is not there"):
        await whole.page(Criteria(), youngest, 1000)
