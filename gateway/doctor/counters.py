"""Asks Redis or Valkey, of a cluster every node, what it keeps and whom it lets in."""

import asyncio
import ipaddress
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AuthenticationError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from gateway.clock import SECOND
from gateway.doctor.finding import Finding, unknown, unsafe, warning
from gateway.doctor.surroundings import clock_apart
from gateway.redis import Client, Command, Wire, open_redis

SETTING: Final = "GATEWAY_REDIS_URL"
_AWAY: Final = (RedisError, RedisClusterException, OSError, TimeoutError)
_OWN: Final[list[Command]] = [("INFO", "persistence"), ("INFO", "memory"), ("TIME",)]
_EXPOSURE: Final[list[Command]] = [("CONFIG", "GET", "bind", "protected-mode")]
_APPENDS: Final = re.compile(rb"^aof_enabled:1", re.MULTILINE)
_EVICTS_NOTHING: Final = re.compile(rb"^maxmemory_policy:noeviction", re.MULTILINE)
_EXPOSED: Final = unsafe(
    "redis-open",
    f"A server of {SETTING} takes commands from anybody, and not from this machine alone: "
    "set a password (requirepass, or an ACL), or bind 127.0.0.1.",
)
_OPEN_HERE: Final = warning(
    "redis-without-password",
    f"A server of {SETTING} takes commands from every account of this machine: set a "
    "password (requirepass, or an ACL).",
)
_UNTOLD: Final = unknown(
    "redis-without-password",
    f"A server of {SETTING} takes commands without a password, and does not tell from "
    "where: set a password (requirepass, or an ACL).",
)


@dataclass(frozen=True, slots=True)
class Server:
    """One that holds counters, and how this gateway connects to it."""

    kind: type[AbstractConnection]
    arguments: Mapping[str, Any]

    @property
    def is_here(self) -> bool:
        host = str(self.arguments["host"])
        return host == "localhost" or _is_loopback(host)

    def wire(self, **arguments: object) -> Wire:
        """A way to it, with these arguments instead of our own."""

        def make(**settings: object) -> AbstractConnection:
            given = {**self.arguments, **settings, **arguments}
            # A call has 100 ms to connect; who asks here has a deadline of his own.
            return self.kind(**{**given, "socket_connect_timeout": None})

        return Wire(make)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def examine(url: str, *, patience: float) -> list[Finding]:
    """Findings of all servers that hold counters, each once, within so many seconds."""
    try:
        async with asyncio.timeout(patience):
            client = open_redis(url)
            try:
                found = [await _examine(server) for server in await _servers(client)]
            finally:
                await client.aclose()
    except _AWAY as error:
        away = f"What {SETTING} names could not be examined ({type(error).__name__})"
        return [unknown("not-examined", f"{away}: see that it can be reached.")]
    return list(dict.fromkeys(finding for findings in found for finding in findings))


async def _servers(client: Client) -> list[Server]:
    if isinstance(client, Redis):
        pool = client.connection_pool
        return [Server(pool.connection_class, pool.connection_kwargs)]
    cluster = await client.initialize()
    # Replicas too: each is a master to be.
    return [
        Server(node.connection_class, node.connection_kwargs)
        for node in cluster.get_nodes()
    ]


async def _examine(server: Server) -> list[Finding]:
    wire = server.wire()
    try:
        # The way there is made first, or it would count as time between the clocks.
        await wire.ask(lambda _: [])
        before = time.time_ns() // 1000
        kept, memory, told = answers = await wire.ask(lambda _: _OWN)
        after = time.time_ns() // 1000
    finally:
        await wire.close()
    for answer in answers:
        if isinstance(answer, RedisError):
            raise answer
    instant = int(told[0]) * SECOND + int(told[1])
    found = clock_apart(f"a server of {SETTING}", instant, before, after)
    if not _APPENDS.search(kept):
        says = f"A server of {SETTING} keeps nothing on disk: set appendonly yes."
        found.append(unsafe("redis-not-kept", says))
    if not _EVICTS_NOTHING.search(memory):
        says = (
            f"A server of {SETTING} may drop counters when its memory is full: set "
            "maxmemory-policy noeviction."
        )
        found.append(warning("redis-evicts", says))
    return found + await _as_a_stranger(server)


async def _as_a_stranger(server: Server) -> list[Finding]:
    """What it does for somebody without a password."""
    wire = server.wire(username=None, password=None)
    try:
        (bound,) = await wire.ask(lambda _: _EXPOSURE)
    except (AuthenticationError, ResponseError):
        # It wants to know who asks, or lets nobody in from here (protected-mode).
        return []
    finally:
        await wire.close()
    if isinstance(bound, RedisError):
        return [_UNTOLD if server.is_here else _EXPOSED]
    return [_EXPOSED if _lets_others_in(bound) else _OPEN_HERE]


def _lets_others_in(bound: Any) -> bool:
    """By what it says of `bind` and `protected-mode`, in either protocol."""
    told = (
        bound if isinstance(bound, dict) else dict(zip(*[iter(bound)] * 2, strict=True))
    )
    if told.get(b"protected-mode") == b"yes":
        return False
    # A minus before an address: to be left out where the machine has no such address.
    hosts = [host.lstrip("-") for host in told.get(b"bind", b"").decode().split()]
    return not hosts or not all(map(_is_loopback, hosts))
