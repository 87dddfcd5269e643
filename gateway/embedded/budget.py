"""What a call may cost: no more than it did when figures were last committed, by ratio.

CPU is counted in calls of the constant route that the same run could have answered with it,
so that a faster or busier machine changes nothing.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

# Runs of the same code differ by a tenth on a shared machine.
SLACK: Final = 1.25


def worth(kinds: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Of each kind, its CPU in calls of the constant route."""
    constant = median(kinds["constant"]["rates"])
    return {
        name: median(told["cpu_micros"]) * constant / 1_000_000
        for name, told in kinds.items()
        if name != "constant"
    }


def dearer(
    now: Mapping[str, Mapping[str, Any]], committed: Path
) -> dict[str, tuple[float, float]]:
    """Kinds that cost more than a quarter above the committed figures: before, and now."""
    before = worth(json.loads(committed.read_text("utf-8"))["kinds"])
    return {
        name: (before[name], cost)
        for name, cost in worth(now).items()
        if name in before and cost > SLACK * before[name]
    }
