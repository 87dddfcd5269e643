"""What the documents say of tests is so: every test that they name is there."""

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# As docs/security.md and docs/failures.md write them, from tests/.
NAMED = re.compile(r"\b((?:\w+/)*test_\w+\.py)::(\w+)")
NO_TEST = re.compile(r"\bno test\b|\bnot tested\b|\bnot built\b", re.IGNORECASE)
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))


@cache
def functions_of(file: str) -> frozenset[str]:
    path = ROOT / "tests" / file
    if not path.is_file():
        return frozenset()
    return frozenset(
        node.name
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_is_named_exists(document: Path) -> None:
    named = NAMED.findall(document.read_text("utf-8"))
    missing = {
        f"{file}::{test}" for file, test in named if test not in functions_of(file)
    }
    assert missing == set()


@pytest.mark.parametrize("name", ["security.md", "failures.md"])
def test_the_documents_that_rest_on_tests_name_many(name: str) -> None:
    assert len(NAMED.findall((ROOT / "docs" / name).read_text("utf-8"))) > 50


def rows(document: str) -> list[list[str]]:
    """The cells of each row of a table, without its heading."""
    lines = (ROOT / "docs" / document).read_text("utf-8").splitlines()
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for before, line in pairwise(lines)
        if line.startswith("|") and before.startswith("|")
    ]
    return [row for row in cells if not set(row[0]) <= {"-", "|", ":"}]


def test_every_requirement_of_security_names_its_test_or_says_that_there_is_none() -> (
    None
):
    told = {row[0]: " ".join(row[1:]) for row in rows("security.md")}
    silent = [
        what
        for what, how in told.items()
        if not (NAMED.search(how) or NO_TEST.search(how))
    ]
    assert silent == []
