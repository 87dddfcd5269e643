"""Days leave PostgreSQL whole, proven and once; whatever ends on the way, nothing is lost."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gateway.audit.archive import Archiver
from gateway.audit.archived import Archive
from gateway.audit.day_file import CannotArchive, DayFile
from gateway.audit.days import begins
from gateway.audit.inspection import Criteria, Inspection
from gateway.audit.tree import NotAsSealed
from gateway.audit.whole_log import WholeLog
from gateway.clock import SECOND
from tests.conftest import Database
from tests.integration import logs
from tests.integration.archives import PastLog, past_log

pytestmark = pytest.mark.integration


@pytest.fixture
async def log(database: Database, tmp_path: Path) -> AsyncIterator[PastLog]:
    async with past_log(database, tmp_path / "archive", 2) as log:
        await log.fill(batches=3)
        await log.settle()
        yield log


async def everything(log: PastLog) -> set[bytes]:
    """Every line of the log's days, wherever it is."""
    whole = WholeLog(log.auditor, Archive(log.folder))
    until = Criteria(to_at=begins(log.days[-1] + timedelta(days=1)))
    page = await whole.page(until, None, 1000)
    assert page.next is None
    return {line for line, _ in page.entries}


async def live(log: PastLog) -> int:
    page = await Inspection(log.auditor).page(Criteria(), None, 1000)
    return len(page.entries)


async def test_a_day_is_archived_and_its_partitions_are_gone(log: PastLog) -> None:
    day = log.days[0]
    before = await live(log)
    eve, kept = await log.archive(log.eve, day)
    # Two entries came: of the two changes.
    assert before + 2 - await live(log) == eve.entries + kept.entries
    assert eve.entries + kept.entries > 50
    assert f"entries_{day:%Y%m%d}" not in await log.partitions()
    assert f"batches_{day:%Y%m%d}" not in await log.partitions()
    assert duckdb.read_parquet(str(log.file(day))).shape[0] == kept.entries
    assert await log.archive(*log.days[1:]) != []


@pytest.mark.slow
async def test_a_days_file_is_its_owners_alone(log: PastLog) -> None:
    await log.archive(log.eve, *log.days)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tree(log.folder)}
    assert modes == {f"day={day}": 0o700 for day in [log.eve, *log.days]} | {
        "entries.parquet": 0o600
    }


def tree(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


@pytest.mark.slow
async def test_a_day_without_entries_is_archived_without_a_file(
    log: PastLog,
) -> None:
    await log.archive(log.eve, *log.days)
    (young,) = await log.archive(log.days[-1] + timedelta(days=1))
    assert (young.entries, young.file) == (0, None)
    assert not tree(log.folder / f"day={young.day}")


async def test_a_day_that_is_not_over_for_two_days_is_refused(log: PastLog) -> None:
    over = log.days[-1] + timedelta(days=1)
    assert await log.due(over) == [log.eve, *log.days]
    with pytest.raises(CannotArchive, match=f"{over} at the latest"):
        await log.due(over + timedelta(days=1))


@pytest.mark.slow
async def test_the_days_before_come_first(log: PastLog) -> None:
    with pytest.raises(CannotArchive, match=f"{log.eve} comes before"):
        await log.archive(log.days[0])


async def test_a_day_that_is_not_wholly_sealed_or_counted_is_refused(
    log: PastLog,
) -> None:
    await log.archive(log.eve)
    await log.write(begins(log.days[0]) + 400 * SECOND, 3, SECOND)
    with pytest.raises(CannotArchive, match="not wholly sealed"):
        await log.archive(log.days[0])
    await logs.seal(log.database)
    with pytest.raises(CannotArchive, match="not wholly counted"):
        await log.archive(log.days[0])
    await log.settle()
    await log.archive(log.days[0])


ALTERATIONS = {
    "DELETE FROM entries WHERE (batch, position) IN (SELECT batch, position FROM entries"
    " WHERE at >= $1::timestamptz + interval '1 hour' ORDER BY at LIMIT 1)": "not there",
    "DELETE FROM entries WHERE (batch, position) IN (SELECT batch, position FROM entries"
    " WHERE at >= $1 ORDER BY at LIMIT 1)": "not there",
    "DELETE FROM entries WHERE (batch, position) IN (SELECT batch, position FROM entries"
    " WHERE at < $1 ORDER BY at DESC LIMIT 1)": "not there",
    "UPDATE entries SET fields = 5 WHERE (batch, position) IN (SELECT batch, position"
    " FROM entries WHERE at >= $1 ORDER BY at LIMIT 1)": "as it was sealed",
    "INSERT INTO entries SELECT (e).* FROM (SELECT jsonb_populate_record(entries,"
    " '{\"position\": 900}') AS e FROM entries WHERE at >= $1 LIMIT 1) AS more": "no seal",
}


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(one, marks=pytest.mark.slow if n else [])
        for n, one in enumerate(ALTERATIONS)
    ],
)
async def test_a_day_with_anything_missing_altered_or_added_stays(
    log: PastLog, statement: str
) -> None:
    day = log.days[0]
    starts = await log.owner.fetchval(
        "SELECT $1::date::timestamp AT TIME ZONE 'Asia/Jakarta'", day
    )
    assert (await log.owner.execute(statement, starts)).endswith(" 1")
    before = await log.partitions()
    with pytest.raises(NotAsSealed, match=ALTERATIONS[statement]):
        await log.archive(log.eve, day)
    assert f"entries_{day:%Y%m%d}" in before & await log.partitions()
    assert not log.file(day).exists()


class Killed(BaseException):
    """The process ended here."""


# Those where most is left behind run always, the others with `make test-all`.
STEPS: dict[str, tuple[type, str, bool]] = {
    "before anything": (DayFile, "make", False),
    "before a byte is written": (DayFile, "_rows", False),
    "when it is written": (DayFile, "_write", True),
    "when it is read back": (DayFile, "_read_back", True),
    "when it has its name": (DayFile, "_keep", True),
    "when it is recorded": (Archiver, "_record", True),
    "when its partitions are dropped": (Archiver, "_drop", True),
}


def ending(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, *, after: bool
) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    def plain(*given: Any) -> Any:
        if after:
            original(*given)
        raise Killed

    async def awaited(*given: Any) -> Any:
        if after:
            await original(*given)
        raise Killed

    is_plain = name in {"_keep", "_rows"}
    monkeypatch.setattr(owner, name, plain if is_plain else awaited)


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(step, marks=[] if name == "_record" else pytest.mark.slow)
        for step, (_, name, _) in STEPS.items()
    ],
)
async def test_a_crash_anywhere_loses_nothing_and_the_next_run_goes_on(
    log: PastLog, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = await everything(log)
    await log.archive(log.eve)
    owner, name, after = STEPS[step]
    with monkeypatch.context() as patched:
        ending(patched, owner, name, after=after)
        with pytest.raises(Killed):
            await log.archive(log.days[0])
    assert await everything(log) == before
    for day in await log.due(log.days[-1] + timedelta(days=1)):
        await log.archive(day)
    assert (
        await log.partitions() & {f"entries_{day:%Y%m%d}" for day in log.days} == set()
    )
    assert await everything(log) == before
    assert {path.name for path in tree(log.folder) if path.is_file()} == {
        "entries.parquet"
    }


async def test_a_transaction_that_is_cut_off_records_nothing(log: PastLog) -> None:
    async def cut_off(_: Any) -> object:
        raise Killed

    archiver = Archiver(log.owner, log.folder, cut_off)
    with pytest.raises(Killed):
        await archiver.archive(log.eve)
    assert await log.owner.fetchval("SELECT count(*) FROM archived_days") == 0
    assert f"entries_{log.eve:%Y%m%d}" in await log.partitions()


@pytest.mark.slow
async def test_entries_that_come_after_the_file_was_made_are_not_dropped(
    log: PastLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = log.days[0]
    await log.archive(log.eve)
    original = Archiver._record

    async def late(archiver: Archiver, *given: Any) -> None:
        await original(archiver, *given)
        await log.write(begins(day) + 500 * SECOND, 2, SECOND)

    with monkeypatch.context() as patched:
        patched.setattr(Archiver, "_record", late)
        with pytest.raises(CannotArchive, match="gained entries"):
            await log.archive(day)
    expected = await everything(log)
    await log.settle()
    await log.archive(day)
    assert await everything(log) == expected


@pytest.mark.slow
async def test_a_file_that_was_lost_before_the_drop_is_made_again(
    log: PastLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await everything(log)
    with monkeypatch.context() as patched:
        ending(patched, Archiver, "_drop", after=False)
        with pytest.raises(Killed):
            await log.archive(log.eve)
    log.file(log.eve).write_bytes(b"PAR1")
    await log.archive(log.eve)
    assert await everything(log) == before


@pytest.mark.slow
async def test_while_a_question_holds_the_log_nobody_else_waits_for_long(
    log: PastLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.audit.archive.LOCK_TRIES", 2)
    async with log.auditor.acquire() as reader, reader.transaction():
        await reader.fetchval("SELECT count(*) FROM entries")
        with pytest.raises(CannotArchive, match="long questions"):
            await log.archive(log.eve)
    await log.archive(log.eve)
    assert f"entries_{log.eve:%Y%m%d}" not in await log.partitions()


@pytest.mark.slow
async def test_of_two_archivers_one_works(log: PastLog) -> None:
    await log.due(log.days[0])
    other = await log.reconnect()
    with pytest.raises(CannotArchive, match="Somebody else"):
        await other.due(log.days[0])
    await other.owner.close()


@pytest.mark.slow
async def test_each_archived_day_is_an_entry_of_the_log(log: PastLog) -> None:
    await log.archive(log.eve, *log.days)
    page = await Inspection(log.auditor).page(Criteria(), None, 1000)
    told = [line for line, _ in page.entries if b'"operation":"audit.archive"' in line]
    assert len(told) == 3
    assert all(b'"reference":"monthly archive"' in line for line in told)
