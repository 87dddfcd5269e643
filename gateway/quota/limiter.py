"""Admission: many callers' asks gathered into one script call to Redis or Valkey."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Final, NamedTuple

import msgspec
import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from gateway import telemetry
from gateway.clock import ServerClock
from gateway.gathering import Gatherer, Unanswered
from gateway.problems import ReducedCapacity
from gateway.quota import notices
from gateway.quota.limit import (
    REFUSALS_A_MINUTE,
    VIOLATIONS,
    Decision,
    State,
    day_end,
)
from gateway.quota.tally import Tally
from gateway.vocabulary import Limits

MOST: Final = 512
CAPACITY: Final = 20_000
# With the round trip's own slack below the 250 ms in which a lost Redis is noticed.
PATIENCE: Final = 0.22
SCRIPT: Final = files("gateway.quota").joinpath("admit.lua").read_text("utf-8")
ADMIT, GIVE_BACK, REFUSE = range(3)

UNRETURNED = Counter(
    "gateway_charges_not_given_back",
    "Charges that stay spent until their window turns: Redis did not answer.",
)
log = structlog.get_logger()


class Ask(NamedTuple):
    """What one ask adds to the script's KEYS and ARGV, and the integers it answers."""

    keys: tuple[str, ...]
    numbers: tuple[int, ...]
    answers: int


def state_key(institution: int) -> str:
    """The braces put all keys of an institution into one slot of a cluster."""
    return f"{{i:{institution}}}"


def refused_key(institution: int, key: int) -> str:
    return f"{{i:{institution}}}:refused:{key}"


def to_admit(
    institution: int, key: int, limits: Limits, rate_cost: int, quota_cost: int
) -> Ask:
    keys = (state_key(institution), refused_key(institution, key))
    return Ask(keys, (ADMIT, *limits, rate_cost, quota_cost), 6)


def to_give_back(institution: int, decision: Decision) -> Ask:
    state = decision.state
    numbers = (*decision.returnable, state.day_ends, state.month_ends)
    return Ask((state_key(institution),), (GIVE_BACK, *numbers), 5)


def to_refuse(institution: int, key: int) -> Ask:
    return Ask((refused_key(institution, key),), (REFUSE,), 1)


def encode(asks: Sequence[Ask]) -> list[str | int | bytes]:
    """What follows the script in EVALSHA: the number of keys, the keys, the numbers."""
    keys = [key for ask in asks for key in ask.keys]
    numbers = [number for ask in asks for number in ask.numbers]
    return [len(keys), *keys, msgspec.msgpack.encode(numbers)]


def decode(asks: Sequence[Ask], reply: list[int]) -> list[list[int]]:
    """For each ask the flush's instant and its own answer."""
    at, start = reply[0], 1
    answers = []
    for ask in asks:
        end = start + ask.answers
        answers.append([at, *reply[start:end]])
        start = end
    return answers


class Limiter:
    """The limits of all institutions, kept in Redis.

    Whoever gets `ReducedCapacity` cannot know whether the units were spent: the flush
    may have been decided and its answer lost. They stay spent until their window turns
    or the counters are rebuilt, so a limit is never exceeded on that account.
    """

    def __init__(
        self, redis: Redis, *, clock: ServerClock, tasks: asyncio.TaskGroup
    ) -> None:
        self._redis = redis
        self._clock = clock
        self.tally = Tally(redis)
        self._sha = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
        self._seconds = telemetry.FLUSH_SECONDS.labels("limiter")
        self._sizes = telemetry.FLUSH_SIZE.labels("limiter")
        self._failures = telemetry.FLUSH_FAILURES.labels("limiter")
        self._failing = False
        self._gatherer = Gatherer[Ask, list[int]](
            self._flush, tasks=tasks, most=MOST, capacity=CAPACITY, patience=PATIENCE
        )

    async def admit(
        self,
        institution: int,
        key: int,
        limits: Limits,
        *,
        rate_cost: int = 1,
        quota_cost: int = 1,
    ) -> Decision:
        """Spends from the rate, the day and the month, or from none of them.

        Raises:
            ReducedCapacity: within 250 ms, if Redis does not decide.
        """
        ask = to_admit(institution, key, limits, rate_cost, quota_cost)
        at, violated, *fields = await self._answer(ask)
        state, policies = State(*fields), VIOLATIONS[violated]
        if policies:
            self.tally.add(institution, state.day_ends, policies)
        decision = Decision(at, limits, state, policies, rate_cost, quota_cost)
        notices.tell(institution, decision)
        return decision

    async def give_back(self, institution: int, decision: Decision) -> Decision | None:
        """Returns what an admitted call spent, once, and tells the new standing.

        None if Redis did not answer: the units stay spent until their window turns.
        Safe to call twice only with the decision it returned, which spent nothing.

        Raises:
            ValueError: if `decision` refused.
        """
        ask = to_give_back(institution, decision)
        try:
            at, *state = await self._answer(ask)
        except ReducedCapacity:
            UNRETURNED.inc()
            return None
        return Decision(at, decision.limits, State(*state), (), 0, 0)

    async def count_refusal(self, institution: int, key: int) -> int:
        """How many refusals that name a subject `key` has now collected this minute.

        Over 120, its asks for admission are refused until the minute ends.

        Raises:
            ReducedCapacity: within 250 ms, if Redis does not count.
        """
        at, count = await self._answer(to_refuse(institution, key))
        if count > REFUSALS_A_MINUTE:
            self.tally.add(institution, day_end(at), ("refusals",))
        return count

    async def _answer(self, ask: Ask) -> list[int]:
        try:
            return await self._gatherer.ask(ask)
        except Unanswered as unanswered:
            raise ReducedCapacity("the limiter did not answer") from unanswered

    async def _flush(self, asks: list[Ask]) -> list[list[int]]:
        self._sizes.observe(len(asks))
        began = time.perf_counter()
        try:
            reply = await self._run(encode(asks))
        except BaseException as error:  # also a flush cut off at its deadline
            self._failures.inc()
            self._tell(failing=True, error=type(error).__name__)
            raise
        self._seconds.observe(time.perf_counter() - began)
        self._tell(failing=False)
        self._clock.observe(reply[0])
        return decode(asks, reply)

    async def _run(self, arguments: list[str | int | bytes]) -> list[int]:
        call: Callable[..., Awaitable[list[int]]] = self._redis.execute_command
        try:
            return await call("EVALSHA", self._sha, *arguments)
        except NoScriptError:
            # A restarted server has lost it, and did nothing; EVAL loads it again.
            return await call("EVAL", SCRIPT, *arguments)

    def _tell(self, *, failing: bool, **facts: str) -> None:
        if failing != self._failing:
            self._failing = failing
            event = "limiter_lost_redis" if failing else "limiter_found_redis"
            log.warning(event, **facts)
