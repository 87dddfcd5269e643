"""The connection to Redis or Valkey, with deadlines that keep a call's own."""

import re
from weakref import WeakKeyDictionary

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

ANSWER_SECONDS = 0.2
CONNECT_SECONDS = 0.1
_RUN_ID = re.compile(rb"^run_id:([0-9a-f]{40})", re.MULTILINE)
_run_ids: WeakKeyDictionary[AbstractConnection, str] = WeakKeyDictionary()


def open_redis(url: str) -> Redis:
    """A client that connects when first used and never retries by itself.

    A repeated admission would spend twice; whoever asks decides what a loss means.
    """
    return Redis.from_url(
        url,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=CONNECT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        redis_connect_func=_meet,
    )


def run_id(connection: AbstractConnection) -> str:
    """Which process of a server this is connected to: another after every start."""
    return _run_ids[connection]


async def _meet(connection: AbstractConnection) -> None:
    await connection.on_connect()
    await connection.send_command("INFO", "server")
    found = _RUN_ID.search(await connection.read_response())
    if found is None:
        raise ConnectionError("the server does not tell its run_id")
    _run_ids[connection] = found[1].decode()
