"""A worker begins without looking for garbage, and looks for it once it is there."""

import gc
from collections.abc import Iterator

import pytest

from gateway import tasks


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
