"""Where institutions stand in their limits, for those who run the gateway.

Asks admission itself for nothing, so that it says what the institution itself is told.
Nothing is spent.
"""

import asyncio
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
from gateway.vocabulary import Limits, Shadow

# Institutions read in one round trip: a worker also answers lookups, which wait for
# as long as it writes and reads the commands of one.
AT_ONCE: Final = 100
NOT_REFUSED: Final = Refused()
NO_SHADOWS: Final[Mapping[int, Shadow]] = {}


class Order(StrEnum):
    """Who comes first."""

    REFUSED = "refused"
    USED = "used"


@dataclass(frozen=True, slots=True)
class InShadow:
    """Limits in shadow: where they stand, and what they would have refused today."""

    shadow: Shadow
    decision: Decision
    refused: Refused


@dataclass(frozen=True, slots=True)
class Usage:
    """One institution today.

    Without Redis no `decision` and no `refused` says anything.
    """

    institution: int
    decision: Decision
    refused: Refused
    shadow: InShadow | None
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
        self,
        limits: Mapping[int, Limits],
        order: Order,
        most: int,
        shadows: Mapping[int, Shadow] = NO_SHADOWS,
    ) -> list[Usage]:
        """At most so many of these institutions, in this order and then by their ids.

        Of those refused alike, the ones that their shadow would have refused more come
        first. Where nobody tells, the first by their ids, of which nothing is known.
        """
        try:
            return await self._read(limits, order, most, shadows)
        except (ReducedCapacity, RedisError):
            now = self._clock.now()
            return [
                _unknown(one, limits[one], shadows.get(one), now)
                for one in sorted(limits)[:most]
            ]

    async def _read(
        self,
        limits: Mapping[int, Limits],
        order: Order,
        most: int,
        shadows: Mapping[int, Shadow],
    ) -> list[Usage]:
        await self._limiter.tally.write()
        refused = await self._limiter.tally.read(day_end(self._clock.now()))
        chosen = sorted(limits)
        if order is Order.REFUSED:
            chosen.sort(key=lambda one: _refusals(refused.get(one), shadows.get(one)))
            # Of the others nothing need be read.
            chosen = chosen[:most]
        usages: list[Usage] = []
        for start in range(0, len(chosen), AT_ONCE):
            some = chosen[start : start + AT_ONCE]
            decisions = await asyncio.gather(
                *(
                    self._limiter.peek(one, limits[one], shadows.get(one))
                    for one in some
                )
            )
            usages += [
                _usage(one, decision, refused.get(one, NOT_REFUSED), shadows.get(one))
                for one, decision in zip(some, decisions, strict=True)
            ]
        if order is Order.USED:
            usages.sort(key=lambda usage: -usage.share)
        return usages[:most]


def _refusals(refused: Refused | None, shadow: Shadow | None) -> tuple[int, int]:
    """The more there are the less: of the limits, then of their shadow."""
    if refused is None:
        return 0, 0
    return -refused.asks, -_of_shadow(refused, shadow).asks


def _of_shadow(refused: Refused, shadow: Shadow | None) -> Refused:
    return NOT_REFUSED if shadow is None else refused.of_shadow(shadow.since)


def _usage(
    institution: int, decision: Decision, refused: Refused, shadow: Shadow | None
) -> Usage:
    beside = None
    if shadow is not None and decision.shadow is not None:
        beside = InShadow(shadow, decision.shadow, _of_shadow(refused, shadow))
    return Usage(institution, decision, refused, beside, known=True)


def _unknown(
    institution: int, limits: Limits, shadow: Shadow | None, now: int
) -> Usage:
    beside = None
    if shadow is not None:
        standing = _standing(IDLE, shadow.limits, now)
        beside = InShadow(shadow, standing, NOT_REFUSED)
    standing = _standing(IDLE, limits, now)
    return Usage(institution, standing, NOT_REFUSED, beside, known=False)


def _standing(state: State, limits: Limits, now: int) -> Decision:
    """What an ask for nothing would be told."""
    return admit(state, limits, now, rate_cost=0, quota_cost=0)
