"""The connection to Redis or Valkey, with deadlines that keep a call's own."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

ANSWER_SECONDS = 0.2
CONNECT_SECONDS = 0.1


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
    )
