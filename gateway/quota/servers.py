"""Who holds the counters: one server, or the masters of a cluster.

All keys of an institution are in one hash slot, `{i:N}`. One server keeps one generation
for all; in a cluster, where a script may name the keys of one slot only, each institution
has its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError
from typing_extensions import override

from gateway.clock import SECOND
from gateway.quota.script import GENERATION_KEY, state_key
from gateway.redis import Client, Command, Wire

PROBE_KEY: Final = "gateway:probe"
PROBE_LIFE: Final = 60


class Servers(Protocol):
    """Where an institution's counters are, and how to get there."""

    def generation_key(self, institution: int) -> str:
        """Those with the same are asked in one script call."""

    async def wire_of(self, institution: int) -> Wire:
        """The way to the server that holds it, as far as is known.

        Raises:
            RedisError: nobody says who holds it.
        """

    async def look_again(self) -> None:
        """Who holds what has changed, or seems to have.

        Raises:
            RedisError: nobody says so.
        """

    async def renew(self) -> None:
        """The ways there are made anew: some may have died when nobody used them."""

    async def close(self) -> None:
        """All connections end."""

    async def probe(self) -> int:
        """Every server takes a write; the instant of one of them.

        Raises:
            RedisError, OSError: one does not.
        """


def servers_of(client: Client) -> Servers:
    return OneServer(client) if isinstance(client, Redis) else Cluster(client)


async def _probe(wire: Wire, key: str) -> int:
    commands: list[Command] = [("SET", key, 1, "EX", PROBE_LIFE), ("TIME",)]
    written, time = await wire.ask(lambda _: commands)
    if isinstance(written, RedisError):
        raise written
    return int(time[0]) * SECOND + int(time[1])


class OneServer(Servers):
    def __init__(self, redis: Redis) -> None:
        pool = redis.connection_pool

        def make(**settings: Any) -> AbstractConnection:
            return pool.connection_class(**{**pool.connection_kwargs, **settings})

        self._wire, self._probing = Wire(make), Wire(make)

    @override
    def generation_key(self, institution: int) -> str:
        return GENERATION_KEY

    @override
    async def wire_of(self, institution: int) -> Wire:
        return self._wire

    @override
    async def look_again(self) -> None:
        # There is no other.
        return

    @override
    async def renew(self) -> None:
        await self._wire.close()

    @override
    async def close(self) -> None:
        await self._wire.close()
        await self._probing.close()

    @override
    async def probe(self) -> int:
        return await _probe(self._probing, PROBE_KEY)


class Cluster(Servers):
    """The topology is the client's; the ways to the masters are our own."""

    def __init__(self, cluster: RedisCluster) -> None:
        self._cluster = cluster
        self._wires: dict[str, Wire] = {}
        self._probing: dict[str, Wire] = {}

    @override
    def generation_key(self, institution: int) -> str:
        return f"{state_key(institution)}:generation"

    @override
    async def wire_of(self, institution: int) -> Wire:
        with _as_redis_error():
            self._cluster = await self._cluster.initialize()
            node = self._holder(state_key(institution))
        return _wire_to(node, self._wires)

    def _holder(self, key: str) -> ClusterNode:
        node = self._cluster.get_node_from_key(key)
        if node is None:
            raise RedisError("no server of the cluster holds this slot")
        return node

    @override
    async def look_again(self) -> None:
        with _as_redis_error():
            await self._cluster.nodes_manager.initialize()

    @override
    async def renew(self) -> None:
        for wire in self._wires.values():
            await wire.close()

    @override
    async def close(self) -> None:
        await self.renew()
        for wire in self._probing.values():
            await wire.close()

    @override
    async def probe(self) -> int:
        await self.look_again()
        instants = [
            await _probe(_wire_to(node, self._probing), self._key_at(node))
            for node in self._cluster.get_primaries()
        ]
        return max(instants)

    def _key_at(self, node: ClusterNode) -> str:
        """A key that this master holds: of a thousand in turn one nearly always is."""
        for number in range(1000):
            key = f"{PROBE_KEY}:{number}"
            if self._holder(key) is node:
                return key
        raise RedisError("this master of the cluster holds next to no slots")


@contextmanager
def _as_redis_error() -> Iterator[None]:
    """What a cluster cannot say of itself is no RedisError to the library."""
    try:
        yield
    except RedisClusterException as error:
        raise RedisError("the cluster does not say who holds what") from error


def _wire_to(node: ClusterNode, wires: dict[str, Wire]) -> Wire:
    def make(**settings: Any) -> AbstractConnection:
        at_once = Retry(NoBackoff(), 0)
        given = {**node.connection_kwargs, **settings, "retry": at_once}
        return node.connection_class(**given)

    if node.name not in wires:
        wires[node.name] = Wire(make)
    return wires[node.name]
