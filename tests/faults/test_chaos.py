"""`gateway chaos`: two minutes of every fault that this machine can make."""

import random
from pathlib import Path

import pytest

from gateway.embedded import outcome
from gateway.embedded.chaos import play
from gateway.embedded.faults import FAULTS
from gateway.embedded.plan import Plan

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]


async def test_the_invariants_hold_while_everything_breaks(tmp_path: Path) -> None:
    seed = random.randrange(2**32)  # noqa: S311 - a plan, no secret
    found = await play(tmp_path, Plan(seed, minutes=2))
    # Shown when it fails: the order can be had again.
    outcome.report(found, None)
    assert [one for one in found.findings if one.broken] == []
    kinds = {one.name for one in found.befallen}
    assert len(kinds) >= 10
    assert kinds | found.not_run.keys() <= {fault.name for fault in FAULTS}
    assert found.statuses[200] > 100 * len(found.befallen)


async def test_only_what_was_named_befalls_and_so_often(tmp_path: Path) -> None:
    names = ["kill -9 of a worker", "kill -9 of Valkey"]
    found = await play(tmp_path, Plan.asked(7, None, 3, names))
    outcome.report(found, None)
    assert [one for one in found.findings if one.broken] == []
    assert sorted(one.name for one in found.befallen) == sorted(names * 3)
