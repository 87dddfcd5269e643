"""What judges the gateway's evidence shares nothing with what makes it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EVIDENCE = ROOT / "tests" / "evidence"
JUDGES = [EVIDENCE / f"{name}.py" for name in ("independent", "notes", "trees")]
ALLOWED = sys.stdlib_module_names | {"cryptography"}
PRINT_IMPORTED = (
    "import sys; import tests.evidence.independent; print(*sys.modules, sep='\\n')"
)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


@pytest.mark.parametrize("path", JUDGES, ids=lambda path: path.stem)
def test_the_independent_verifier_names_the_published_texts_alone(path: Path) -> None:
    judges = {f"tests.evidence.{judge.stem}" for judge in JUDGES}
    names = [*imported(path)]
    assert names
    foreign = {
        name
        for name in names
        if name not in judges and name.partition(".")[0] not in ALLOWED
    }
    assert foreign == set()


def test_nothing_of_the_gateway_is_there_when_it_judges() -> None:
    ran = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", PRINT_IMPORTED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    modules = ran.stdout.split()
    assert "tests.evidence.trees" in modules
    assert [name for name in modules if name.partition(".")[0] == "gateway"] == []
