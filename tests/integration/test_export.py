"""Exports of a real log: whole, smallest, provable, and never silently wrong."""

import csv
import io
import json
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from gateway.audit.export import write_export
from gateway.audit.placing import Kind
from gateway.audit.tree import NotAsSealed
from gateway.audit.verification import verify
from gateway.clock import SECOND
from gateway.edge import spreadsheet
from gateway.edge.exports import Asked, body
from gateway.postgres import Connection
from tests.conftest import Database
from tests.integration import logs
from tests.integration.exported import Log, opened
from tests.written_logs import KEY

MINUTE = 60 * SECOND


@pytest.fixture
async def log(
    database: Database, superuser: Connection, hot: Connection
) -> AsyncIterator[Log]:
    async with opened(database, superuser, hot) as log:
        yield log


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_an_export_verifies_and_its_lines_are_those_the_auditor_is_shown(
    log: Log, tmp_path: Path
) -> None:
    made = await log.write(log.now, batches=60, apart=SECOND)
    await log.seal()
    extract = await log.exports.find(log.now + 10 * SECOND, log.now + 30 * SECOND)
    assert extract is not None
    file = tmp_path / "log.ndjson"
    told: list[tuple[int, int]] = []
    await write_export(log.exports, file, extract, lambda *done: told.append(done))
    assert verify([file], [KEY]).true
    assert told[-1] == (extract.end - extract.start,) * 2
    lines = file.read_bytes().splitlines()
    for n, one in enumerate(lines):
        shown = await log.entry(json.loads(one)["access_id"])
        assert shown == (one, extract.start + n)
    assert len(made) > len(lines) > 100


async def test_an_export_is_readable_by_its_owner_only(
    log: Log, tmp_path: Path
) -> None:
    await log.write(log.now, batches=1, apart=SECOND)
    await log.seal()
    extract = await log.exports.find(None, None)
    assert extract is not None
    await write_export(log.exports, tmp_path / "log", extract)
    assert names_in(tmp_path) == {"log", "log.leaves", "log.proof.json"}
    assert modes_in(tmp_path) == {0o600}


def modes_in(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.iterdir()}


async def test_the_range_is_the_smallest_with_every_sealed_entry_of_the_time(
    log: Log,
) -> None:
    # Three minutes, and a batch that is sealed long after its time.
    first = log.now - 5 * MINUTE
    made = await log.write(first, batches=25, apart=7 * SECOND)
    await log.seal()
    made |= await log.write(first + MINUTE, batches=1, apart=SECOND, seed=2)
    made |= await log.write(log.now, batches=3, apart=SECOND, seed=3)
    await log.seal()
    leaves = {(await log.entry(name))[1]: at for name, at in made.items()}
    chance = random.Random(3)  # noqa: S311 - the same times at every run
    instants = sorted(made.values())
    spans = [
        sorted(chance.choice(instants) + chance.randint(-1, 1) for _ in range(2))
        for _ in range(60)
    ]
    spans += [[at, at + chance.randrange(3)] for at in chance.sample(instants, 10)]
    for from_at, to_at in spans:
        within = [leaf for leaf, at in leaves.items() if from_at <= at < to_at]
        extract = await log.exports.find(from_at, to_at)
        expected = (min(within), max(within) + 1) if within else None
        assert (extract and (extract.start, extract.end)) == expected
    whole = await log.exports.find(None, None)
    assert whole is not None
    assert whole.log_range == f"0-{len(made)}/{len(made)}"


async def test_a_batch_that_was_sealed_late_is_exported_where_it_was_sealed(
    log: Log, tmp_path: Path
) -> None:
    await log.write(log.now - 10 * MINUTE, batches=5, apart=SECOND)
    await log.seal()
    late = await log.write(log.now - 11 * MINUTE, batches=1, apart=SECOND, seed=2)
    await log.write(log.now, batches=5, apart=SECOND, seed=3)
    await log.seal()
    extract = await log.exports.find(log.now - 9 * MINUTE, None)
    assert extract is not None
    await write_export(log.exports, tmp_path / "young", extract)
    assert verify([tmp_path / "young"], [KEY]).true
    extract = await log.exports.find(None, log.now)
    assert extract is not None
    await write_export(log.exports, tmp_path / "old", extract)
    assert verify([tmp_path / "old"], [KEY]).true
    held = (tmp_path / "old").read_text()
    assert all(name in held for name in late)


async def test_batches_of_hours_within_the_time_are_found_by_their_seals(
    log: Log,
) -> None:
    first = log.now - 150 * MINUTE
    for n in range(31):
        await logs.write(log.hot, [logs.refusal(first + n * 5 * MINUTE)] * 3)
    await log.seal()
    # What is still unsealed is in no export.
    await logs.write(log.hot, [logs.refusal(log.now)])
    extract = await log.exports.find(first + 5 * MINUTE, log.now)
    assert extract is not None
    assert extract.log_range == "3-90/93"
    pieces = [piece async for piece in log.exports.lines(extract)]
    assert sum(map(len, pieces)) == 87


async def test_adjoining_exports_join_and_hold_every_line(
    log: Log, tmp_path: Path
) -> None:
    made = await log.write(log.now - 3 * MINUTE, batches=20, apart=9 * SECOND)
    await log.seal()
    files = []
    names = set()
    for from_at in range(log.now - 5 * MINUTE, log.now + MINUTE, MINUTE):
        extract = await log.exports.find(from_at, from_at + MINUTE)
        if extract is None:
            continue
        file = tmp_path / str(from_at)
        await write_export(log.exports, file, extract)
        names |= {
            json.loads(one)["access_id"] for one in file.read_text().split("\n")[:-1]
        }
        files.append(file)
    assert names == set(made)
    assert verify(files, [KEY]).true
    assert verify([files[0], files[-1]], [KEY]).flaws[0].kind is Kind.REMOVED


async def test_a_time_without_sealed_entries_has_no_export(log: Log) -> None:
    assert await log.exports.find(None, None) is None
    await logs.write(log.hot, [logs.refusal(log.now)])
    assert await log.exports.find(None, None) is None
    await log.seal()
    assert await log.exports.find(log.now + 1, None) is None
    assert await log.exports.find(None, log.now) is None
    assert await log.exports.find(log.now, log.now) is None
    assert await log.exports.find(log.now, log.now + 1) is not None


ALTERATIONS = {
    "UPDATE entries SET position = 900 WHERE position = 40": "not in the database",
    "DELETE FROM entries WHERE position = 40": "not in the database",
    "UPDATE entries SET subject_tail = 2 WHERE position = 40": "not as it was sealed",
    "UPDATE seals SET leaves = overlay(leaves PLACING sha256('') FROM 33)": (
        "not as it was sealed"
    ),
    "DELETE FROM seals WHERE first_leaf = 200": "not in the database",
    "DELETE FROM seals WHERE first_leaf = 300": "not in the database",
    "UPDATE nodes SET hash = sha256('')": "do not give the signed root",
}


@pytest.mark.parametrize("statement", ALTERATIONS)
async def test_an_export_of_an_altered_log_ends_with_an_error_and_no_file(
    log: Log, tmp_path: Path, statement: str
) -> None:
    for n in range(10):
        await logs.write(log.hot, [logs.refusal(log.now + n * MINUTE)] * 100)
    await log.seal()
    await log.superuser.execute(statement)
    with pytest.raises(NotAsSealed, match=ALTERATIONS[statement]):
        await export_some(log, tmp_path / "log.ndjson")
    assert not names_in(tmp_path)


async def export_some(log: Log, file: Path) -> None:
    extract = await log.exports.find(log.now + 1, log.now + 4 * MINUTE)
    assert extract is not None
    await write_export(log.exports, file, extract)


async def test_missing_entries_at_the_edge_of_a_time_are_not_taken_for_none(
    log: Log,
) -> None:
    await logs.write(log.hot, [logs.refusal(log.now)] * 3)
    await log.seal()
    await log.superuser.execute("DELETE FROM entries")
    with pytest.raises(NotAsSealed, match="archived"):
        await log.exports.find(log.now, log.now + 1)


async def test_the_body_of_an_answer_is_the_lines_or_their_rows(log: Log) -> None:
    await log.write(log.now, batches=12, apart=SECOND)
    await log.seal()
    extract = await log.exports.find(None, None)
    assert extract is not None
    pieces = [piece async for piece in body(Asked(log.exports, extract, "ndjson"))]
    lines = [json.loads(one) for one in b"".join(pieces).splitlines()]
    assert len(pieces) > 2
    assert len(lines) == extract.end
    assert tuple(lines[0]) == spreadsheet.MEMBERS
    asked = Asked(log.exports, extract, "csv")
    as_csv = b"".join([piece async for piece in body(asked)])
    rows = list(csv.DictReader(io.StringIO(as_csv.decode(), newline="")))
    assert [row["access_id"] for row in rows] == [one["access_id"] for one in lines]
    assert as_csv.count(b"\r\n") == extract.end + 1


async def test_parquet_of_an_altered_log_ends_without_its_end(log: Log) -> None:
    await log.write(log.now, batches=12, apart=SECOND)
    await log.seal()
    await log.superuser.execute("UPDATE entries SET fields = 77 WHERE position = 7")
    extract = await log.exports.find(None, None)
    assert extract is not None
    made: list[bytes] = []
    with pytest.raises(NotAsSealed, match="not as it was sealed"):
        await collect(body(Asked(log.exports, extract, "parquet")), made)
    # A Parquet file begins with these letters, and ends with them once it is whole.
    assert b"".join(made) in {b"", b"PAR1"}


async def collect(pieces: AsyncIterator[bytes], made: list[bytes]) -> None:
    # Not a list made at the end: what came before an error is asked for.
    async for piece in pieces:
        made += [piece]


async def test_a_reader_that_leaves_takes_the_process_with_it(log: Log) -> None:
    await log.write(log.now, batches=12, apart=SECOND)
    await log.seal()
    extract = await log.exports.find(None, None)
    async with aclosing(log.exports.parquet(extract)) as pieces:
        async for piece in pieces:
            assert piece.startswith(b"PAR1")
            break
    assert not [
        one for one in psutil.Process().children() if "columnar" in str(one.cmdline())
    ]
