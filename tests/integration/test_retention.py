"""What is kept no longer is gone, says so, and is still proven to have been."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.audit import retention
from gateway.audit.archived import Archive
from gateway.audit.day_file import CannotArchive
from gateway.audit.days import begins, ends
from gateway.audit.export import Exports, write_export
from gateway.audit.inspection import Criteria, Mark
from gateway.audit.own_entries import OwnEntries
from gateway.audit.retention import Expiry
from gateway.audit.sealed import SealedLog
from gateway.audit.summary import By, Summaries
from gateway.audit.verification import verify
from gateway.audit.whole_log import WholeLog
from gateway.clock import SECOND
from gateway.postgres import Connection
from gateway.problems import EntriesExpired, NotFound
from tests.conftest import Database
from tests.integration.archives import PastLog, past_log
from tests.written_logs import KEY, SECRET, leaf, tree_hash

pytestmark = pytest.mark.integration


@pytest.fixture
async def log(database: Database, tmp_path: Path) -> AsyncIterator[PastLog]:
    """Three days, all archived; the day after them is not."""
    async with past_log(database, tmp_path / "archive", 3) as log:
        await log.fill(batches=3)
        await log.settle()
        await log.archive(log.eve, *log.days)
        yield log


async def expire(log: PastLog, before: date) -> Expiry:
    return await retention.expire(log.owner, log.folder, before, log.enter)


async def hold(log: PastLog, first: date, last: date) -> int:
    placed: list[int] = []

    async def place(owner: Connection) -> None:
        placed.append(await retention.place_hold(owner, first, last, "a court's order"))

    await log.enter(place)
    return placed[0]


def whole(log: PastLog) -> WholeLog:
    return WholeLog(log.auditor, Archive(log.folder))


def names_of(log: PastLog, day: date) -> list[str]:
    first, past = begins(day), ends(day)
    return [name for name, at in log.names.items() if first <= at < past]


def in_the_log(document: Any) -> bool:
    """RFC 9162 §2.1.3.2, and the note's signature, of a receipt alone."""
    text, _, signature = document["checkpoint"].rpartition("\n\n")
    signed = base64.b64decode(signature.split(" ")[2])[4:]
    SECRET.public_key().verify(signed, f"{text}\n".encode())
    at, last = document["leaf_index"], document["proof"]["tree_size"] - 1
    node = leaf(document["entry"].encode())
    for hashed in map(base64.b64decode, document["proof"]["hashes"]):
        if at & 1 or at == last:
            node = tree_hash([hashed, node])
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            node = tree_hash([node, hashed])
        at, last = at >> 1, last >> 1
    return last == 0 and node == base64.b64decode(text.split("\n")[2])


async def test_an_expired_day_is_gone_and_every_question_that_needs_it_says_so(
    log: PastLog,
) -> None:
    gone, kept = names_of(log, log.days[0]), names_of(log, log.days[1])
    assert (await expire(log, log.days[1])).expired == [log.eve, log.days[0]]
    assert not log.file(log.days[0]).parent.exists()
    assert log.file(log.days[1]).exists()
    read = whole(log)
    told = f"Entries of {log.eve} to {log.days[0]} .* have expired"
    with pytest.raises(EntriesExpired, match=str(log.days[0])):
        await read.entry(gone[5])
    assert await read.entry(kept[20]) is not None
    with pytest.raises(EntriesExpired, match=told):
        await Exports(log.auditor, Archive(log.folder)).find(None, ends(log.days[2]))
    with pytest.raises(EntriesExpired, match=told):
        await read.page(Criteria(to_at=ends(log.days[0])), None, 10)


@pytest.mark.parametrize("limit", [9, pytest.param(1000, marks=pytest.mark.slow)])
async def test_pages_end_where_an_expired_day_begins_and_the_next_is_refused(
    log: PastLog, limit: int
) -> None:
    asked = Criteria(to_at=ends(log.days[2]))
    since = Criteria(from_at=begins(log.days[1]), to_at=ends(log.days[2]))
    expected = (await whole(log).page(since, None, 1000)).entries
    await expire(log, log.days[1])
    found: list[Any] = []
    mark = None
    while len(found) < len(expected):
        page = await whole(log).page(asked, mark, limit)
        assert page.entries
        found += page.entries
        mark = page.next
    assert found == expected
    assert mark is not None
    with pytest.raises(EntriesExpired, match=f"{log.days[0]} .*have expired"):
        await whole(log).page(asked, mark, limit)


async def test_receipts_and_exports_made_before_still_verify(
    log: PastLog, tmp_path: Path
) -> None:
    sealed = SealedLog(log.auditor)
    exports = Exports(log.auditor, Archive(log.folder))
    name = names_of(log, log.days[0])[7]
    found = await whole(log).entry(name)
    assert found is not None
    receipt = await sealed.receipt(found)
    extract = await exports.find(None, ends(log.days[0]))
    assert receipt is not None
    assert extract is not None
    await write_export(exports, tmp_path / "old", extract)
    await expire(log, log.days[1])
    await log.settle()
    assert in_the_log(receipt.document)
    assert verify([tmp_path / "old"], [KEY]).true
    # And the log of today still is an extension of that one, with the entry in it.
    anew = await SealedLog(log.auditor).receipt(found)
    assert anew is not None
    assert anew.head.size > receipt.head.size
    assert in_the_log(anew.document)
    assert not in_the_log(
        anew.document | {"entry": receipt.document["entry"] + " "}  # type: ignore[operator]  # text
    )


@pytest.mark.slow
async def test_summaries_of_whole_hours_outlive_the_entries(log: PastLog) -> None:
    summaries = Summaries(log.auditor, Archive(log.folder))
    days = (begins(log.days[0]), ends(log.days[2]))
    before = [await summaries.summarise(by, *days) for by in By]
    await expire(log, log.days[1])
    assert [await summaries.summarise(by, *days) for by in By] == before
    with pytest.raises(EntriesExpired):
        await summaries.summarise(By.DAY, days[0] + SECOND, days[1])
    assert await summaries.summarise(By.DAY, begins(log.days[1]) + SECOND, None)


@pytest.mark.slow
async def test_an_expired_receipt_is_as_missing_for_an_institution(
    log: PastLog,
) -> None:
    archive = Archive(log.folder)
    await expire(log, log.days[1])
    async with asyncio.TaskGroup() as tasks:
        own = OwnEntries(log.auditor, log.auditor, archive, tasks=tasks)
        for name in names_of(log, log.days[0])[:9]:
            assert await own.entry(name, 1) is None


@pytest.mark.slow
async def test_an_export_of_what_is_kept_is_whole(log: PastLog, tmp_path: Path) -> None:
    exports = Exports(log.auditor, Archive(log.folder))
    # The leaves of the first moments may lie among those of the day before.
    span = (begins(log.days[1]) + SECOND, ends(log.days[2]))
    extract = await exports.find(*span)
    assert extract is not None
    await write_export(exports, tmp_path / "before", extract)
    await expire(log, log.days[1])
    assert await exports.find(*span) is not None
    await write_export(exports, tmp_path / "after", extract)
    assert same(tmp_path / "before", tmp_path / "after")


def same(one: Path, other: Path) -> bool:
    assert verify([other], [KEY]).true
    return one.read_bytes() == other.read_bytes()


async def test_days_under_a_hold_stay_until_it_is_released(log: PastLog) -> None:
    held = await hold(log, log.days[0], log.days[0])
    done = await expire(log, log.days[2])
    assert (done.expired, done.held) == ([log.eve, log.days[1]], [log.days[0]])
    # What is older than an expired day is reached by asking for a time before it.
    until = Criteria(to_at=ends(log.days[0]))
    page = await whole(log).page(until, None, 1000)
    assert len(page.entries) == len(names_of(log, log.days[0]))
    assert page.next == Mark(begins(log.days[0]), 0, 0)
    assert await retention.release_hold(log.owner, held) == held
    with pytest.raises(NotFound):
        await retention.release_hold(log.owner, held)
    assert (await expire(log, log.days[2])).expired == [log.days[0]]
    late = await retention.expired_within(log.owner, log.eve, log.days[2])
    assert late == [log.eve, *log.days[:2]]


@pytest.mark.slow
async def test_a_hold_that_comes_in_between_is_heeded(
    log: PastLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = retention._expire

    async def after_a_hold(*given: Any) -> None:
        await hold(log, log.eve, log.eve)
        await original(*given)

    monkeypatch.setattr(retention, "_expire", after_a_hold)
    with pytest.raises(CannotArchive, match="under a hold now"):
        await expire(log, log.days[0])
    assert log.file(log.eve).exists()


@pytest.mark.slow
async def test_a_day_waits_for_the_archiving_of_the_day_after(log: PastLog) -> None:
    after = log.days[2] + timedelta(days=1)
    done = await expire(log, after)
    assert done.waiting == [log.days[2]]
    assert log.file(log.days[2]).exists()
    await log.archive(after)
    done = await expire(log, after)
    assert done.expired == [log.days[2]]


@pytest.mark.slow
async def test_a_file_that_was_left_behind_is_removed_by_the_next_run(
    log: PastLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(retention, "_remove", killed)
        with pytest.raises(Killed):
            await expire(log, log.days[0])
    assert log.file(log.eve).exists()
    with pytest.raises(EntriesExpired):
        await whole(log).page(Criteria(to_at=ends(log.eve)), None, 10)
    assert (await expire(log, log.days[0])).expired == []
    assert not log.file(log.eve).parent.exists()
    assert log.file(log.days[0]).exists()
