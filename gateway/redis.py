"""Connections to Redis or Valkey, with deadlines that keep a call's own."""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final

import hiredis
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from gateway.settings import BadSetting, cluster_seeds

Client = Redis | RedisCluster
Command = tuple[str | int | bytes, ...]

ANSWER_SECONDS: Final = 0.2
CONNECT_SECONDS: Final = 0.1
_DEADLINES: Final[dict[str, Any]] = {
    "socket_timeout": ANSWER_SECONDS,
    "socket_connect_timeout": CONNECT_SECONDS,
    "health_check_interval": 0,
}
# In C: redis-py's own takes a tenth of what a flush costs its worker.
_pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]  # its stub says a tuple of one
_RUN_ID: Final = re.compile(rb"^run_id:([0-9a-f]{40})", re.MULTILINE)


def open_redis(url: str) -> Client:
    """A client that connects when first used and never retries by itself.

    A repeated admission would spend twice; whoever asks decides what a loss means.

    Raises:
        BadSetting: as `must_be_usable` does.
    """
    must_be_usable(url)
    return _open_cluster(seeds) if (seeds := cluster_seeds(url)) else open_server(url)


def must_be_usable(url: str) -> None:
    """Connections can be made as it says, whether or not somebody is there.

    Raises:
        BadSetting: without the URL, which holds a password.
    """
    try:
        for one in cluster_seeds(url) or [url]:
            Redis.from_url(one).connection_pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py's
    except (ValueError, TypeError, RedisError):
        raise BadSetting(
            "GATEWAY_REDIS_URL has an option that there is not, or a value it cannot have."
        ) from None


def open_server(url: str) -> Redis:
    """The same for what is known to be one server."""
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), **_DEADLINES)


def _open_cluster(urls: list[str]) -> RedisCluster:
    seeds = [parse_url(url) for url in urls]
    return RedisCluster(
        startup_nodes=[
            ClusterNode(one["host"], one.get("port", 6379)) for one in seeds
        ],
        username=seeds[0].get("username"),
        password=seeds[0].get("password"),
        ssl=seeds[0].get("connection_class") is SSLConnection,
        retry=Retry(NoBackoff(), 0),
        **_DEADLINES,
    )


class Wire:
    """A connection of one's own to one server; who asks waits for who asked before.

    It is made when first used, and anew once it has failed.

    Args:
        make: makes one that is not connected yet.
    """

    def __init__(self, make: Callable[..., AbstractConnection]) -> None:
        # Who asks has a deadline of his own, which knows when this loop stood still.
        self._connection = make(redis_connect_func=self._meet, socket_timeout=None)
        self.process = ""
        self._turn = asyncio.Lock()

    async def ask(self, commands: Callable[[str], list[Command]]) -> list[Any]:
        """The answers to the commands, in one round trip; a refusal is an answer too.

        `commands` makes them for the process of the server that is there: another after
        every start. Where the one that was asked is gone before it answered, they are
        put to its successor.

        Raises:
            RedisError, OSError, TimeoutError: there is no answer, and whether anything
                was done is unknown.
        """
        async with self._turn:
            await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
            asked = self.process
            try:
                return await self._exchange(commands(asked))
            except RedisConnectionError:
                await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
                if self.process == asked:
                    raise
                return await self._exchange(commands(self.process))

    async def close(self) -> None:
        """The connection ends; the next to ask makes another."""
        async with self._turn:
            await self._connection.disconnect(nowait=True)

    async def _exchange(self, commands: list[Command]) -> list[Any]:
        connection = self._connection
        answers: list[Any] = []
        try:
            await connection.send_packed_command(b"".join(map(_pack, commands)))
            for _ in commands:
                try:
                    answers.append(await connection.read_response())
                except ResponseError as refusal:
                    answers.append(refusal)
        except BaseException:
            # What it would answer next may be to a question that was given up.
            await connection.disconnect(nowait=True)
            raise
        return answers

    async def _meet(self, connection: AbstractConnection) -> None:
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        found = _RUN_ID.search(await connection.read_response())
        if found is None:
            raise RedisConnectionError("the server does not tell its run_id")
        self.process = found[1].decode()
