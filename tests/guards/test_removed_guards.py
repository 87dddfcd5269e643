"""The test that docs/security.md names for a guard fails once the guard is taken away.

Each is taken away in a copy of the sources, where its test is then run.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.guards.removals import REMOVALS, Removal

ROOT: Final = Path(__file__).resolve().parents[2]
# What the tests that are named need beside the interpreter.
SOURCES: Final = ("gateway", "sql", "tests", "docs", "deploy")
CACHES: Final = shutil.ignore_patterns("__pycache__")
FAILED: Final = re.compile(
    r"^(\d+ failed)(, \d+ passed)?(, \d+ \w+)* in ", re.MULTILINE
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / name, ignore=CACHES)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def run(sources: Path, *tests: str) -> "subprocess.CompletedProcess[str]":
    named = [f"tests/{test}" for test in tests]
    options = ["-q", "-p", "no:cacheprovider", "--tb=line"]
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-B", "-m", "pytest", *options, *named],
        cwd=sources,
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_is_named_for_its_guard() -> None:
    security = (ROOT / "docs" / "security.md").read_text("utf-8")
    for removal in REMOVALS:
        assert f"`{removal.test}`" in security, removal.name
        text = (ROOT / removal.file).read_text("utf-8")
        assert text.count(removal.guard) == 1, removal.name


@pytest.mark.slow
def test_with_every_guard_in_its_place_they_pass(sources: Path) -> None:
    done = run(sources, *(removal.test for removal in REMOVALS))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: removal.name)
def test_without_the_guard_its_test_fails(sources: Path, removal: Removal) -> None:
    file = sources / removal.file
    text = file.read_text("utf-8")
    assert text.count(removal.guard) == 1
    file.write_text(text.replace(removal.guard, removal.without), "utf-8")
    try:
        done = run(sources, removal.test)
    finally:
        file.write_text(text, "utf-8")
    # Failed, and neither ended with an error nor could not be found.
    assert done.returncode == 1, done.stdout + done.stderr
    assert FAILED.search(done.stdout), done.stdout
    assert "rror at setup of" not in done.stdout, done.stdout
