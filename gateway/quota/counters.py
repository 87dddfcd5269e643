"""The counters in Redis or Valkey: many callers' asks in one script call.

What Redis holds is a cache of the log. It counts under a generation, which names the
server's process and the epoch: after a restart, a failover, a flush or a time in which
limits were counted elsewhere there is another, under which nothing is known until it is
loaded from the log.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, Final

import msgspec
import structlog
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError

from gateway import telemetry
from gateway.clock import ServerClock
from gateway.gathering import Gatherer
from gateway.quota.epochs import Elsewhere, Epochs
from gateway.quota.limit import State
from gateway.quota.script import (
    GENERATION_KEY,
    Answer,
    Ask,
    decode,
    encode,
    state_key,
)
from gateway.redis import run_id

MOST: Final = 512
CAPACITY: Final = 20_000
# With the round trip's own slack below the 250 ms in which a lost Redis is noticed.
PATIENCE: Final = 0.22
PROBE_SECONDS: Final = 0.25
PROBE_KEY: Final = "gateway:probe"
# No epoch: connections are to be made anew.
NEVER: Final = -1
log = structlog.get_logger()


class Script:
    """One of the package's scripts, known to the server by its digest once it was sent."""

    def __init__(self, name: str) -> None:
        self.text = files("gateway.quota").joinpath(name).read_text("utf-8")
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


ADMIT, GENERATION, LOAD = map(Script, ("admit.lua", "generation.lua", "load.lua"))


class Counters:
    """Whoever gets no answer cannot know whether units were spent: they stay spent.

    That lasts until their window turns or the counters are loaded again, so a limit is
    never exceeded on that account.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        clock: ServerClock,
        epochs: Epochs,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._epochs = epochs
        self._seconds = telemetry.FLUSH_SECONDS.labels("limiter")
        self._sizes = telemetry.FLUSH_SIZE.labels("limiter")
        self._failures = telemetry.FLUSH_FAILURES.labels("limiter")
        self._failing = False
        self._connected_under = NEVER
        self._gatherer = Gatherer[Ask, Answer](
            self._flush, tasks=tasks, most=MOST, capacity=CAPACITY, patience=PATIENCE
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
            await self._run([], epoch.number)

    async def answers(self) -> bool:
        """Whether Redis takes a write within a quarter of a second."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._redis.set(PROBE_KEY, 1, ex=60)
        except (RedisError, OSError, TimeoutError):
            return False
        return True

    async def load(self, states: Mapping[int, State], generation: str) -> None:
        """Puts counters where there are none of this generation, if it still is one."""
        keys = [GENERATION_KEY, *map(state_key, states)]
        numbers = [number for state in states.values() for number in state]
        packed = msgspec.msgpack.encode(numbers)
        async with self._connection() as connection:
            await _evaluate(connection, LOAD, len(keys), *keys, generation, packed)

    async def _flush(self, asks: list[Ask]) -> list[Answer]:
        epoch = await self._epochs.current()
        if not epoch.in_redis:
            raise Elsewhere
        self._sizes.observe(len(asks))
        began = time.perf_counter()
        try:
            reply = await self._run(asks, epoch.number)
        except BaseException as error:  # also a flush cut off at its deadline
            self._failures.inc()
            self._tell(failing=True, error=type(error).__name__)
            raise
        self._seconds.observe(time.perf_counter() - began)
        self._tell(failing=False)
        self._clock.observe(reply[0])
        return decode(asks, reply)

    async def _run(self, asks: list[Ask], epoch: int) -> list[Any]:
        """Puts the asks to the server, to another process of it at most twice.

        A process that is gone has taken its generation with it: whatever it did of a
        flush that it did not answer counts for nothing, and may be asked again.
        """
        if epoch != self._connected_under:
            # Idle ones may have died since, when nobody used them.
            await self._redis.connection_pool.disconnect(inuse_connections=False)
            self._connected_under = epoch
        async with self._connection() as connection:
            asked = run_id(connection)
            try:
                return await _put(connection, asks, epoch)
            except RedisConnectionError:
                self._connected_under = NEVER
                await connection.disconnect(nowait=True)
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py says no types here
                if run_id(connection) == asked:
                    raise
                return await _put(connection, asks, epoch)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AbstractConnection]:
        """A connection, so that what it is connected to is known while it is used."""
        pool = self._redis.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py says no types here
        try:
            yield connection
        except BaseException:
            # What it would answer next may be to a question that was given up.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)

    def _tell(self, *, failing: bool, **facts: str) -> None:
        if failing != self._failing:
            self._failing = failing
            event = "limiter_lost_redis" if failing else "limiter_found_redis"
            log.warning(event, **facts)


async def _put(
    connection: AbstractConnection, asks: list[Ask], epoch: int
) -> list[Any]:
    tag = f"{run_id(connection)}:{epoch}"
    arguments = encode(asks, tag)
    reply: list[Any] = await _evaluate(connection, ADMIT, *arguments)
    if not reply[1]:
        await _evaluate(connection, GENERATION, 1, GENERATION_KEY, tag)
        reply = await _evaluate(connection, ADMIT, *arguments)
    if not reply[1]:
        raise RedisError("another worker knows another server or epoch")
    return reply


async def _evaluate(
    connection: AbstractConnection, script: Script, *arguments: str | int | bytes
) -> Any:
    try:
        await connection.send_command("EVALSHA", script.sha, *arguments)
        return await connection.read_response()
    except NoScriptError:
        # A restarted server has lost it, and did nothing; EVAL loads it again.
        await connection.send_command("EVAL", script.text, *arguments)
        return await connection.read_response()
