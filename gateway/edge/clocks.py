"""How far the clocks of the servers and of this host are apart.

The servers' time decides (gateway/clock.py). Where theirs differ, windows and entries
jump whenever limits are counted in the other place; where this host's differs, its log
lines do not fit the entries.
"""

import time
from typing import Final, NamedTuple

from gateway import telemetry
from gateway.clock import SECOND

# A server that took longer to answer says too little of what its clock shows.
QUICK: Final = SECOND // 2
PAIRS: Final = (("host", "postgres"), ("redis", "postgres"))


class Here(NamedTuple):
    """One moment by this host's monotonic and by its wall clock, in microseconds."""

    monotonic: int
    wall: int


def now_here() -> Here:
    return Here(time.monotonic_ns() // 1000, time.time_ns() // 1000)


class Clocks:
    """What each clock showed beyond this host's monotonic one, when last heard."""

    def __init__(self) -> None:
        self._offsets: dict[str, int] = {}

    def told(self, server: str, instant: int, asked: Here, answered: Here) -> None:
        """The server told `instant` between two moments: half-way, as far as is known."""
        if answered.monotonic - asked.monotonic > QUICK:
            return
        halfway = (asked.monotonic + answered.monotonic) // 2
        self._offsets[server] = instant - halfway
        self._offsets["host"] = answered.wall - answered.monotonic
        for one, other in PAIRS:
            if one in self._offsets and other in self._offsets:
                apart = abs(self._offsets[one] - self._offsets[other])
                telemetry.CLOCKS_APART.labels(f"{one}-{other}").set(apart / SECOND)
