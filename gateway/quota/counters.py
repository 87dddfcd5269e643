"""The counters in Redis or Valkey: many callers' asks in one round trip.

What Redis holds is a cache of the log. It counts under a generation, which names the
server's process and the epoch: after a restart, a failover, a flush or a time in which
limits were counted elsewhere there is another, under which nothing is known until it is
loaded from the log.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import msgspec
import structlog
from redis.exceptions import RedisError, ResponseError

from gateway import telemetry
from gateway.clock import ServerClock
from gateway.gathering import Failed, Gatherer
from gateway.patience import PatienceUntil
from gateway.quota.epochs import Elsewhere, Epochs
from gateway.quota.limit import State
from gateway.quota.putting import LOAD, Portion, portions_of, put
from gateway.quota.script import Answer, Ask, state_key
from gateway.quota.servers import Servers
from gateway.redis import Command, Wire

MOST: Final = 512
CAPACITY: Final = 20_000
# With the round trip's own slack below the 250 ms in which a lost Redis is noticed.
PATIENCE: Final = 0.22
PROBE_SECONDS: Final = 0.25
# Less than it takes until limits are counted elsewhere: loading there waits for this.
LOAD_SECONDS: Final = 1.0
# No epoch: connections are to be made anew.
NEVER: Final = -1
# Institutions are numbered from 1.
NOBODY: Final = 0
log = structlog.get_logger()


def _whoever_it_is(commands: list[Command], _: str) -> list[Command]:
    return commands


class Counters:
    """Whoever gets no answer cannot know whether units were spent: they stay spent.

    That lasts until their window turns or the counters are loaded again, so a limit is
    never exceeded on that account.
    """

    def __init__(
        self,
        servers: Servers,
        *,
        clock: ServerClock,
        epochs: Epochs,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._servers = servers
        self._clock = clock
        self._epochs = epochs
        self._seconds = telemetry.flush_seconds_of("limiter")
        self._sizes = telemetry.flush_size_of("limiter")
        self._failures = telemetry.FLUSH_FAILURES.labels("limiter")
        self._failing = False
        self._connected_under = NEVER
        self._gatherer = Gatherer[Ask, Answer](
            self._flush,
            stage="limiter",
            tasks=tasks,
            most=MOST,
            capacity=CAPACITY,
            patience=PATIENCE,
        )

    async def ask(self, ask: Ask) -> Answer:
        """The answer within 250 ms.

        Raises:
            Unanswered: by then there is none; its cause is Elsewhere where limits are
                not counted here now.
        """
        return await self._gatherer.ask(ask)

    async def begin(self) -> None:
        """Begins a generation, if there is none, before the first call needs it."""
        epoch = await self._epochs.current()
        if epoch.in_redis:
            nothing = Portion(self._servers.generation_key(NOBODY), NOBODY)
            await put(self._servers, [nothing], epoch.number)

    async def answers(self) -> bool:
        """Whether every server takes a write within a quarter of a second."""
        try:
            deadline = asyncio.get_running_loop().time() + PROBE_SECONDS
            with PatienceUntil(deadline):
                await self._servers.probe()
        except (RedisError, OSError, TimeoutError):
            return False
        return True

    async def load(
        self, states: Mapping[int, State], generations: Mapping[int, str]
    ) -> None:
        """Puts counters where there are none of their generation, if it still is one.

        Raises:
            TimeoutError: within LOAD_SECONDS, a server did not say that it has them.
        """
        together = defaultdict[tuple[str, str], list[int]](list)
        for one in states:
            key = self._servers.generation_key(one)
            together[key, generations[one]].append(one)
        ways = defaultdict[Wire, list[Command]](list)
        for (key, generation), ones in together.items():
            numbers = [number for one in ones for number in states[one]]
            keys = [key, *map(state_key, ones)]
            packed = msgspec.msgpack.encode(numbers)
            wire = await self._servers.wire_of(ones[0])
            ways[wire].append(("EVAL", LOAD.text, len(keys), *keys, generation, packed))
        with PatienceUntil(asyncio.get_running_loop().time() + LOAD_SECONDS):
            for wire, commands in ways.items():
                for answer in await wire.ask(partial(_whoever_it_is, commands)):
                    if isinstance(answer, ResponseError):
                        raise answer

    async def _flush(self, asks: list[Ask]) -> Sequence[Answer | Failed]:
        epoch = await self._epochs.current()
        if not epoch.in_redis:
            raise Elsewhere
        self._sizes.observe(len(asks))
        began = time.perf_counter()
        portions = portions_of(self._servers, asks)
        try:
            await self._connect_under(epoch.number)
            await put(self._servers, portions, epoch.number)
        except BaseException as error:  # also a flush cut off at its deadline
            self._failed(error)
            raise
        failed = [portion.error for portion in portions if portion.error]
        if failed:
            self._failed(failed[0])
        else:
            self._tell(failing=False)
        self._seconds.observe(time.perf_counter() - began)
        told = [portion.reply[0] for portion in portions if portion.reply]
        if told:
            self._clock.observe(max(told))
        if len(portions) == 1:
            return portions[0].outcomes()
        outcomes: dict[int, Answer | Failed] = {}
        for portion in portions:
            outcomes.update(zip(portion.places, portion.outcomes(), strict=True))
        return [outcomes[place] for place in range(len(asks))]

    async def _connect_under(self, epoch: int) -> None:
        """No connection that was idle while limits were counted elsewhere is used."""
        if epoch != self._connected_under:
            await self._servers.renew()
            self._connected_under = epoch

    def _failed(self, error: BaseException) -> None:
        self._failures.inc()
        self._tell(failing=True, error=type(error).__name__)

    def _tell(self, *, failing: bool, **facts: str) -> None:
        if failing != self._failing:
            self._failing = failing
            event = "limiter_lost_redis" if failing else "limiter_found_redis"
            log.warning(event, **facts)
