"""A worker begins without looking for garbage, and looks for it once it is there."""

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gateway import tasks

BEGUN_AS = """
import gc, runpy, sys
runpy.run_module("gateway.__main__", run_name=sys.argv[1])
print(gc.isenabled(), "gateway.cli" in sys.modules)
"""


@pytest.fixture
def _as_it_was() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)
    gc.enable()


@pytest.mark.usefixtures("_as_it_was")
def test_garbage_is_looked_for_from_then_on() -> None:
    gc.disable()
    tasks.collect_seldom()
    assert gc.isenabled()
    assert gc.get_threshold()[0] == tasks.COLLECT_AFTER


@pytest.mark.parametrize(
    ("name", "said"), [("__mp_main__", "False False"), ("imported", "True False")]
)
def test_a_spawned_worker_imports_no_command_line(name: str, said: str) -> None:
    begun = [sys.executable, "-c", BEGUN_AS, name]
    done = subprocess.run(begun, capture_output=True, text=True, check=True)  # noqa: S603 - our own program
    assert done.stdout.strip() == said
