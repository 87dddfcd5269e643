"""Admission: spends from an institution's rate, day and month, or from none of them.

Limits are counted in Redis, or in PostgreSQL while Redis is away; never in both. Where
counters are not there they are made from the log first. Whoever asks waits for that, and
is not refused for it.
"""

import asyncio
import math
from contextlib import suppress
from typing import Final

import structlog
from prometheus_client import Counter

from gateway.clock import ServerClock
from gateway.gathering import Unanswered
from gateway.postgres import Link
from gateway.problems import AuditUnavailable, ReducedCapacity
from gateway.quota import notices
from gateway.quota.counters import Counters
from gateway.quota.epochs import Elsewhere, Epochs
from gateway.quota.limit import REFUSALS_A_MINUTE, SHADOWED, Decision, day_end
from gateway.quota.rebuild import Ledger, Missing, Rebuild
from gateway.quota.reserve import Reserve
from gateway.quota.script import Admit, Answer, Ask, GiveBack, Refuse, Unknown, Watch
from gateway.quota.servers import servers_of
from gateway.quota.tally import Tally
from gateway.redis import Client
from gateway.vocabulary import Limits, Shadow

# An ask may find its counters missing, and limits counted elsewhere, and both again.
TRIES: Final = 5
PROBE_SECONDS: Final = 0.25
# Redis may be lost while nobody calls: then the first to call need not find out.
LOOK_SECONDS: Final = 0.5
# Redis is back once it has answered so often in a row.
GOOD_PROBES: Final = 2

UNRETURNED = Counter(
    "gateway_charges_not_given_back",
    "Charges that nobody took back: until their window turns, or counters are loaded.",
)
log = structlog.get_logger()


class Limiter:
    """The limits of all institutions.

    Args:
        redis: where they are counted.
        epochs: says whether they are, or in PostgreSQL.
        links: two connections of the hot role, for counting there and for loading.
        ledger: what counters are made from.
        clock: is told the time by whoever counts.
        tasks: the group that owns the flushes.
    """

    def __init__(
        self,
        redis: Client,
        *,
        epochs: Epochs,
        links: tuple[Link, Link],
        ledger: Ledger,
        clock: ServerClock,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.tally = Tally(redis)
        self._clock = clock
        self._epochs = epochs
        self._servers = servers_of(redis)
        self._counters = Counters(
            self._servers, clock=clock, epochs=epochs, tasks=tasks
        )
        self._reserve = Reserve(links[0], clock=clock, epochs=epochs, tasks=tasks)
        self._rebuild = Rebuild(
            links[1], ledger, self._counters, epochs=epochs, clock=clock, tasks=tasks
        )
        self._suspected = asyncio.Event()

    async def admit(
        self,
        institution: int,
        key: int,
        limits: Limits,
        *,
        rate_cost: int = 1,
        quota_cost: int = 1,
        shadow: Shadow | None = None,
        watch: Watch | None = None,
    ) -> Decision:
        """Spends from the rate, the day and the month, or from none of them.

        A `shadow` is asked the same and decides nothing. A `watch` has the decision tell
        its evidence, where limits are counted in Redis.

        Raises:
            ReducedCapacity: nobody decides: within 250 ms where Redis is lost.
        """
        ask = Admit(institution, key, limits, rate_cost, quota_cost, shadow, watch)
        decision = await self._decide(ask)
        if decision.violated:
            self.tally.add(institution, decision.state.day_ends, decision.violated)
        if decision.shadow is not None and shadow is not None:
            self._tell_shadow(institution, decision.shadow, shadow.since)
        notices.tell(institution, decision)
        return decision

    def _tell_shadow(self, institution: int, decision: Decision, since: int) -> None:
        """A key blocked for its refusals is refused by the limits as they are, too."""
        violated = tuple(one for one in decision.violated if one in SHADOWED)
        if violated:
            self.tally.add_shadow(institution, decision.state.day_ends, violated, since)
            notices.tell_shadow(violated)

    async def peek(
        self, institution: int, limits: Limits, shadow: Shadow | None = None
    ) -> Decision:
        """Where it stands, and its shadow; nothing is spent.

        Raises:
            ReducedCapacity: nobody tells.
        """
        return await self._decide(Admit(institution, 0, limits, 0, 0, shadow))

    async def give_back(self, institution: int, decision: Decision) -> Decision | None:
        """Returns what an admitted call spent, once, and tells the new standing.

        What its shadow spent is returned with it.

        None if nobody took it: the units stay spent until their window turns, or are
        not in the counters that are there by now, which were made from the log. Safe to
        call twice only with the decision it returned, which spent nothing.

        Raises:
            ValueError: if `decision` refused.
        """
        if not decision.admitted:
            msg = "only an admitted decision can be given back"
            raise ValueError(msg)
        # Nobody waits here for PostgreSQL: the call has done so already.
        answer: Answer = None
        if self._epochs.known is not None:
            with suppress(ReducedCapacity, AuditUnavailable):
                answer = await self._answer(GiveBack(institution, decision))
        if not isinstance(answer, Decision):
            UNRETURNED.inc()
            return None
        return answer

    async def count_refusal(self, institution: int, key: int) -> int:
        """How many refusals that name a subject `key` has now collected this minute.

        Over 120, its asks for admission are refused until the minute ends. While limits
        are counted in PostgreSQL these are not, and it is 0.

        Raises:
            ReducedCapacity: within 250 ms, if nobody counts.
        """
        answer = await self._answer(Refuse(institution, key))
        count = answer if isinstance(answer, int) else 0
        if count > REFUSALS_A_MINUTE:
            day_ends = day_end(self._clock.now())
            self.tally.add(institution, day_ends, ("refusals",))
        return count

    async def _decide(self, ask: Admit) -> Decision:
        for _ in range(TRIES):
            answer = await self._answer(ask)
            if isinstance(answer, Decision):
                return answer
            if isinstance(answer, Unknown):
                await self._rebuild.load(
                    Missing(ask.institution, ask.limits, answer.generation)
                )
        raise ReducedCapacity("the counters are lost as often as they are loaded")

    async def _answer(self, ask: Ask) -> Answer:
        for _ in range(TRIES):
            epoch = self._epochs.known or await self._epochs.current()
            if (wait := self._epochs.seconds_until_counting(epoch)) > 0:
                raise ReducedCapacity(
                    "limits are about to be counted", retry_after=math.ceil(wait)
                )
            place = self._counters if epoch.in_redis else self._reserve
            try:
                return await place.ask(ask)
            except Unanswered as unanswered:
                if isinstance(unanswered.__cause__, Elsewhere):
                    await self._epochs.read()
                    continue
                if epoch.in_redis:
                    self._suspected.set()
                raise ReducedCapacity("the limiter did not answer") from unanswered
        raise ReducedCapacity("limits are counted here and there")

    async def probe(self) -> int:
        """Redis takes writes; the instant it told.

        Raises:
            RedisError, OSError: it does not.
        """
        instant = await self._servers.probe()
        self._clock.observe(instant)
        return instant

    async def close(self) -> None:
        """Its connections to Redis end."""
        await self._servers.close()

    async def watch(self) -> None:
        """For ever: knows where limits are counted, and has it changed when it must be."""
        async with asyncio.TaskGroup() as watching:
            watching.create_task(self._epochs.watch())
            watching.create_task(self._keep_the_place())

    async def _suspicious(self) -> bool:
        """Whether a call found Redis silent, or a look at it does where none calls."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._suspected.wait()
                self._suspected.clear()
                return True
        return not await self._counters.answers()

    async def _keep_the_place(self) -> None:
        """Leaves Redis when it is lost, and returns when it is back."""
        await self._counters.begin()
        good = 0
        while True:
            epoch = await self._epochs.current()
            if epoch.in_redis:
                good = 0
                # Twice: one silence may be this worker's own.
                if await self._suspicious() and not await self._counters.answers():
                    await self._epochs.leave_redis(epoch)
                continue
            good = good + 1 if await self._counters.answers() else 0
            if good >= GOOD_PROBES:
                await self._epochs.return_to_redis(epoch)
            await asyncio.sleep(PROBE_SECONDS)
