"""DuckDB at arm's length: bounded, locked in, and silent about what it was asked."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import psutil
import pytest

from gateway.audit import columnar
from gateway.audit.columnar import AT_ONCE, Columnar, Task, stream
from gateway.problems import ArchiveUnavailable

ENDLESS = "SELECT count(*) FROM range(?) AS a (i) WHERE hash(i) = 1"


@pytest.fixture
def file(tmp_path: Path) -> str:
    duckdb.sql(f"COPY (SELECT 1 AS one) TO '{tmp_path}/a.parquet'")
    return f"{tmp_path}/a.parquet"


async def test_a_question_is_answered_in_rows(file: str, tmp_path: Path) -> None:
    asked = "SELECT one, 'ä', NULL FROM read_parquet(?), range(3)"
    assert (
        await Columnar().ask(asked, [[file]], tmp_path) == ['[1,"ä",null]'.encode()] * 3
    )


async def test_one_that_overruns_is_killed_and_told_to_ask_for_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columnar, "DEADLINE", 0.5)
    with pytest.raises(ArchiveUnavailable, match="too long"):
        await Columnar().ask(ENDLESS, [10**15], tmp_path)
    assert running() == 0


async def test_two_are_asked_at_once_and_the_others_wait_or_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columnar, "DEADLINE", 1.0)
    asked = Columnar()
    questions = [
        asyncio.ensure_future(asked.ask(ENDLESS, [10**15], tmp_path)) for _ in range(5)
    ]
    most = 0
    while not all(question.done() for question in questions):
        most = max(most, running())
        await asyncio.sleep(0.05)
    assert most == AT_ONCE
    errors = [str(question.exception()) for question in questions]
    assert all(isinstance(one.exception(), ArchiveUnavailable) for one in questions)
    assert any("Too many" in error for error in errors)


async def test_a_caller_that_leaves_gives_its_turn_only_when_the_process_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columnar, "DEADLINE", 1.0)
    asked = Columnar()
    for _ in range(3):
        question = asyncio.ensure_future(asked.ask(ENDLESS, [10**15], tmp_path))
        await asyncio.sleep(0.1)
        question.cancel()
    await asyncio.sleep(0.2)
    assert running() <= AT_ONCE
    async with asyncio.timeout(5):
        await until_none_runs()


async def until_none_runs() -> None:
    # Processes have no event to wait for.
    while running():  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.05)


def running() -> int:
    return sum(
        "columnar_process" in " ".join(one.cmdline())
        for one in psutil.Process().children()
        if one.status() != psutil.STATUS_ZOMBIE
    )


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_text('{folder}/../outside.txt')",
        "COPY (SELECT 1) TO '{folder}/../outside.csv'",
        "ATTACH '{folder}/../outside.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT * FROM read_parquet('https://127.0.0.1:1/a.parquet')",
        "SET enable_external_access = true",
        "SET memory_limit = '100GB'",
        "SELECT error('a resident''s name')",
    ],
)
async def test_nothing_but_its_folder_is_reached_and_nothing_of_an_error_repeated(
    tmp_path: Path, statement: str
) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    (tmp_path / "outside.txt").write_text("secret")
    with pytest.raises(
        ArchiveUnavailable, match=r"could not be read \(\w+(Error|Exception)\)"
    ) as told:
        await Columnar().ask(statement.format(folder=folder), [], folder)
    assert "resident" not in str(told.value)
    assert names_in(tmp_path) == {"archive", "outside.txt"}


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_what_needs_more_memory_than_it_has_fails_alone(tmp_path: Path) -> None:
    hungry = "SELECT list(i) FROM range(500000000) AS all_of (i)"
    with pytest.raises(ArchiveUnavailable):
        await Columnar().ask(hungry, [], tmp_path)


async def test_a_broken_file_is_an_error(tmp_path: Path) -> None:
    broken = tmp_path / "b.parquet"
    broken.write_bytes(b"PAR1 and no more")
    with pytest.raises(ArchiveUnavailable):
        await Columnar().ask("SELECT * FROM read_parquet(?)", [[str(broken)]], tmp_path)


async def test_an_error_of_who_feeds_it_is_the_error_that_is_raised() -> None:
    async def feeding() -> AsyncIterator[bytes]:
        yield b'{"a":1}\n'
        raise LookupError("no more")

    copy = "COPY (SELECT * FROM read_ndjson('/dev/stdin', columns = {'a': 'INTEGER'})) TO '/dev/stdout' (FORMAT parquet)"
    with pytest.raises(LookupError, match="no more"):
        async for _ in stream(Task(statement=copy), feeding()):
            pass
    assert running() == 0


async def test_a_statement_that_cannot_run_is_told_by_who_reads_its_stream() -> None:
    async def feeding() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 10_000

    with pytest.raises(ArchiveUnavailable, match="could not be made"):
        async for _ in stream(Task(statement="SELECT nothing"), feeding()):
            pass
