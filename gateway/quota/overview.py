"""Where institutions stand in their limits, for those who run the gateway.

Asks admission itself for nothing, so that it says what the institution itself is told.
Nothing is spent.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from redis.exceptions import RedisError

from gateway.clock import ServerClock
from gateway.problems import ReducedCapacity
from gateway.quota.limit import IDLE, Decision, State, admit, day_end
from gateway.quota.limiter import Limiter
from gateway.quota.tally import Refused
from gateway.vocabulary import Limits

# Institutions read in one round trip: a worker also answers lookups, which wait for
# as long as it writes and reads the commands of one.
AT_ONCE: Final = 100
NOT_REFUSED: Final = Refused(0, Counter())


class Order(StrEnum):
    """Who comes first."""

    REFUSED = "refused"
    USED = "used"


@dataclass(frozen=True, slots=True)
class Usage:
    """One institution today. Without Redis `decision` and `refused` say nothing."""

    institution: int
    decision: Decision
    refused: Refused
    known: bool

    @property
    def share(self) -> float:
        """Of the day's quota, used; over 1 where it was lowered under what is used."""
        return self.decision.state.day_used / self.decision.limits.day


class Overview:
    """The limits of many institutions at once, as admission has them."""

    def __init__(self, limiter: Limiter, clock: ServerClock) -> None:
        self._limiter = limiter
        self._clock = clock

    async def first(
        self, limits: Mapping[int, Limits], order: Order, most: int
    ) -> list[Usage]:
        """At most so many of these institutions, in this order and then by their ids.

        Where nobody tells, the first by their ids, of which nothing is known.
        """
        try:
            return await self._read(limits, order, most)
        except (ReducedCapacity, RedisError):
            now = self._clock.now()
            return [
                Usage(one, _standing(IDLE, limits[one], now), NOT_REFUSED, known=False)
                for one in sorted(limits)[:most]
            ]

    async def _read(
        self, limits: Mapping[int, Limits], order: Order, most: int
    ) -> list[Usage]:
        await self._limiter.tally.write()
        refused = await self._limiter.tally.read(day_end(self._clock.now()))
        chosen = sorted(limits)
        if order is Order.REFUSED:
            chosen.sort(key=lambda one: -refused.get(one, NOT_REFUSED).asks)
            # Of the others nothing need be read.
            chosen = chosen[:most]
        usages: list[Usage] = []
        for start in range(0, len(chosen), AT_ONCE):
            some = chosen[start : start + AT_ONCE]
            decisions = await asyncio.gather(
                *(self._limiter.peek(one, limits[one]) for one in some)
            )
            for one, decision in zip(some, decisions, strict=True):
                own = refused.get(one, NOT_REFUSED)
                usages.append(Usage(one, decision, own, known=True))
        if order is Order.USED:
            usages.sort(key=lambda usage: -usage.share)
        return usages[:most]


def _standing(state: State, limits: Limits, now: int) -> Decision:
    """What an ask for nothing would be told."""
    return admit(state, limits, now, rate_cost=0, quota_cost=0)
