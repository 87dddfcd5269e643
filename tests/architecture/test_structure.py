"""The shape that DESIGN.md keeps: short files, short functions, reasons, no drawers."""

import ast
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from gateway.postgres import Connection
from tests.conftest import Database

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*(ROOT / "gateway").rglob("*.py"), *(ROOT / "tests").rglob("*.py")])
PRODUCT = [path for path in SOURCES if ROOT / "gateway" in path.parents]
DRAWERS = {"utils", "util", "helpers", "helper", "common", "base", "core", "manager"}
LONGEST_FILE, LONGEST_FUNCTION = 400, 30

EXCEPTION = re.compile(r"#\s*(noqa|type:\s*ignore)\b(?P<rest>.*)")
# The codes after a colon or in brackets, then the reason after a dash or a hash.
REASONED = re.compile(
    r"(:\s*[A-Z]+[0-9]+(,\s*[A-Z]+[0-9]+)*|\[[a-z-]+(,\s*[a-z-]+)*\])"
    r"\s+(-|#)\s+\w.*"
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, Function):
            yield node


def lines_of(function: Function) -> int:
    """Its statements: a long signature or docstring is not what makes one hard to read."""
    body = function.body
    if ast.get_docstring(function) is not None and len(body) > 1:
        body = body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


def comments(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        found = EXCEPTION.search(line)
        if found and path != Path(__file__):
            yield number, found["rest"]


def test_there_are_sources_to_look_at() -> None:
    assert len(PRODUCT) > 40
    assert any(path.name == "lookup.py" for path in PRODUCT)


def test_every_file_stays_under_400_lines() -> None:
    lengths = {
        named(path): len(path.read_text("utf-8").splitlines()) for path in SOURCES
    }
    assert {n: length for n, length in lengths.items() if length >= LONGEST_FILE} == {}


def test_every_function_stays_under_30_lines() -> None:
    lengths = {
        f"{named(path)}:{function.name}": lines_of(function)
        for path in PRODUCT
        for function in functions(path)
    }
    too_long = {
        n: length for n, length in lengths.items() if length >= LONGEST_FUNCTION
    }
    assert too_long == {}


def test_nothing_is_named_like_a_drawer() -> None:
    parts = {
        named(path): path.relative_to(ROOT).with_suffix("").parts for path in SOURCES
    }
    assert [name for name, words in parts.items() if DRAWERS.intersection(words)] == []


def test_every_exception_from_a_rule_names_it_and_has_a_reason() -> None:
    unreasoned = [
        f"{named(path)}:{number}"
        for path in SOURCES
        for number, rest in comments(path)
        if not REASONED.fullmatch(rest)
    ]
    assert unreasoned == []


def test_nobody_waits_for_a_promise_to_write_it_later() -> None:
    later = re.compile(r"\b(TODO|FIXME|XXX)\b|NotImplementedError")
    found = [
        named(path)
        for path in SOURCES
        if path != Path(__file__) and later.search(path.read_text("utf-8"))
    ]
    assert found == []


UNIQUE_KEYS = """
    SELECT index.indexrelid::regclass::text AS name,
        array_agg(part.attname::text) AS columns
    FROM pg_index AS index
    JOIN pg_partition_tree($1::regclass) AS tree ON tree.relid = index.indrelid
    JOIN pg_attribute AS part
        ON part.attrelid = index.indrelid AND part.attnum = ANY(index.indkey)
    WHERE index.indisunique
    GROUP BY 1
"""
OWN_NUMBERS = """
    SELECT attrelid::regclass::text || '.' || attname FROM pg_attribute
    WHERE attrelid = $1::regclass AND (atthasdef OR attidentity <> '')
"""


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.dsn("owner"))
    yield connection
    await connection.close()


@pytest.mark.integration
@pytest.mark.parametrize("table", ["batches", "entries"])
async def test_every_unique_key_of_the_log_holds_the_distribution_column(
    owner: Connection, table: str
) -> None:
    keys = await owner.fetch(UNIQUE_KEYS, table)
    assert [key["name"] for key in keys if "batch" not in key["columns"]] == []
    assert keys or table == "entries"


@pytest.mark.integration
@pytest.mark.parametrize("table", ["batches", "entries"])
async def test_no_sequence_gives_the_log_its_numbers(
    owner: Connection, table: str
) -> None:
    assert await owner.fetch(OWN_NUMBERS, table) == []
