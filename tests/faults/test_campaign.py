"""A short campaign; the long one is `python -m tests.faults.campaign`."""

from pathlib import Path

import pytest

from tests.faults.campaign import KINDS, campaign

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]


async def test_nothing_is_admitted_beyond_a_limit_and_nobody_refused_for_our_faults(
    tmp_path: Path,
) -> None:
    (tmp_path / "service").mkdir()
    ledger, faults = await campaign(tmp_path, calls=30_000, each=2, seed=1)
    assert not faults
    assert ledger.befell == dict.fromkeys(KINDS, 2)
    assert ledger.calls >= 30_000
