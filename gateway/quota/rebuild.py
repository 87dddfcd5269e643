"""Counters from the log, where there are none: the log is the truth, they are its cache.

What was admitted just before the counters were lost may still be on its way into the
log, for a second at most; so the log is read after that, and whoever asks waits.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import structlog

from gateway.clock import SECOND, ServerClock
from gateway.gathering import Gatherer, Unanswered
from gateway.postgres import Link
from gateway.problems import AuditUnavailable, ReducedCapacity
from gateway.quota.counters import Counters
from gateway.quota.epochs import COMMIT_SECONDS, SQL, Epochs
from gateway.quota.limit import (
    DAY,
    MINUTE,
    State,
    day_end,
    interval,
    month_begin,
    month_end,
)
from gateway.quota.reserve import columns, states
from gateway.vocabulary import Limits

MOST: Final = 1000
CAPACITY: Final = 20_000
PATIENCE: Final = 6.0
LOOK_SECONDS: Final = 0.1
# How far back the calls are read that a rate may still be owed for.
_SHORTEST: Final = MINUTE
_LONGEST: Final = 60 * MINUTE
_BURSTS: Final = 10
log = structlog.get_logger()


class Recent(NamedTuple):
    """Whose calls are asked for: units come back in `interval`; since when they count."""

    institution: int
    interval: int
    since: int


class Ledger(Protocol):
    """The log, as far as counters are made from it."""

    async def charged(
        self, institutions: Sequence[int], month_at: int, day_at: int
    ) -> Mapping[int, tuple[int, int]]:
        """Units charged in the day and in the month that began then, of each."""

    async def arrivals(self, asked: Sequence[Recent]) -> Mapping[int, tuple[int, int]]:
        """How many calls each made, and when all are paid for; who did not is absent."""


class Missing(NamedTuple):
    """An institution whose counters are not there under this generation."""

    institution: int
    limits: Limits
    generation: str

    @property
    def epoch(self) -> int:
        """Of "server:epoch|instant", or "postgresql:epoch"."""
        return int(self.generation.partition("|")[0].rpartition(":")[2])

    @property
    def begun(self) -> int:
        """The instant of "server:epoch|instant"."""
        return int(self.generation.rpartition("|")[2])


class Rebuild:
    """One worker's loading: one at a time, for all that wait."""

    def __init__(
        self,
        link: Link,
        ledger: Ledger,
        counters: Counters,
        *,
        epochs: Epochs,
        clock: ServerClock,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._link = link
        self._ledger = ledger
        self._counters = counters
        self._epochs = epochs
        self._clock = clock
        self._gatherer = Gatherer[Missing, None](
            self._flush,
            stage="rebuild",
            tasks=tasks,
            most=MOST,
            capacity=CAPACITY,
            patience=PATIENCE,
        )

    async def load(self, missing: Missing) -> None:
        """Has the counters loaded; whoever asked asks again.

        Raises:
            ReducedCapacity: the log does not tell.
            AuditUnavailable: PostgreSQL does not answer at all.
        """
        try:
            await self._gatherer.ask(missing)
        except Unanswered as unanswered:
            if isinstance(unanswered.__cause__, AuditUnavailable):
                raise AuditUnavailable(fate_unknown=False) from unanswered
            raise ReducedCapacity("counters cannot be loaded") from unanswered

    async def _flush(self, missing: list[Missing]) -> list[None]:
        try:
            async with asyncio.TaskGroup() as tasks:
                look = tasks.create_task(self._see_that_the_log_answers())
                await self._load(missing)
                look.cancel()
        except ExceptionGroup as failed:
            # The first to fail had the other one cancelled.
            raise failed.exceptions[0] from failed
        return [None] * len(missing)

    async def _see_that_the_log_answers(self) -> None:
        """For ever: to read a month may take seconds, but not of a server that hangs."""
        while True:
            await self._epochs.read()
            await asyncio.sleep(LOOK_SECONDS)

    async def _load(self, missing: list[Missing]) -> None:
        groups = defaultdict[int, dict[int, Missing]](dict)
        for one in missing:
            groups[one.epoch][one.institution] = one
        for epoch, group in groups.items():
            if epoch % 2:
                await self._into_postgres(group, epoch)
            else:
                await self._into_redis(group, epoch)
        log.info("counters_loaded", institutions=sum(map(len, groups.values())))

    async def _into_postgres(self, missing: Mapping[int, Missing], epoch: int) -> None:
        # The fence of the epoch has let everything admitted before it into the log.
        counted = await self._count(missing.values())
        async with self._link.connection() as connection:
            await connection.execute(SQL["load_counters"], *columns(counted), epoch)

    async def _into_redis(self, missing: Mapping[int, Missing], epoch: int) -> None:
        async with self._link.connection() as connection:
            rows = await connection.fetch(
                SQL["take_over_counters"], list(missing), epoch - 1
            )
        taken = states(rows)
        left = [one for one in missing.values() if one.institution not in taken]
        if left:
            begun = max(one.begun for one in left)
            wait = begun / SECOND + COMMIT_SECONDS - self._clock.now() / SECOND
            await asyncio.sleep(max(0.0, wait))
            taken |= await self._count(left)
        generations = {number: one.generation for number, one in missing.items()}
        await self._counters.load(taken, generations)

    async def _count(self, missing: Collection[Missing]) -> dict[int, State]:
        limits = {one.institution: one.limits for one in missing}
        now = self._clock.now()
        day_ends, month_ends = day_end(now), month_end(now)
        charged = await self._ledger.charged(
            list(limits), month_begin(now), day_ends - DAY
        )
        asked = [_recent(one, limit, now) for one, limit in limits.items()]
        arrived = await self._ledger.arrivals(asked)
        counted = {}
        for recent in asked:
            one = recent.institution
            day, month = charged.get(one, (0, 0))
            tat = _tat(recent, arrived.get(one, (0, 0)), limits[one], now)
            counted[one] = State(tat, day, day_ends, month, month_ends)
        return counted


def _recent(institution: int, limits: Limits, now: int) -> Recent:
    step = interval(limits.rate)
    back = min(max(_SHORTEST, _BURSTS * limits.burst * step), _LONGEST)
    return Recent(institution, step, now - back)


def _tat(recent: Recent, arrived: tuple[int, int], limits: Limits, now: int) -> int:
    """Never less than what is owed.

    What came before is not read: a whole burst is taken to have been owed then, which
    matters only to who has called at nine tenths of his rate ever since, or whose burst
    takes more than an hour to come back.
    """
    capacity = limits.burst * recent.interval
    calls, tat = arrived
    owed_before = recent.since + capacity + calls * recent.interval
    return min(max(tat, owed_before), now + capacity)
