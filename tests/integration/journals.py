"""A worker's journal over a real PostgreSQL, or over a way to it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.audit.journal import CONNECT_SECONDS, Journal
from gateway.clock import ServerClock
from gateway.postgres import Link
from gateway.settings import NumberedKeys

PEPPERS = NumberedKeys({1: bytes(32)})


def now() -> int:
    return time.time_ns() // 1000


@asynccontextmanager
async def journal_to(dsn: str, *, links: int = 1) -> AsyncIterator[Journal]:
    clock = ServerClock()
    clock.observe(now())
    ways = [
        Link(dsn, name="journal", statement_seconds=0, connect_seconds=CONNECT_SECONDS)
        for _ in range(links)
    ]
    try:
        async with asyncio.TaskGroup() as tasks:
            yield Journal(ways, peppers=PEPPERS, clock=clock, tasks=tasks)
    finally:
        for way in ways:
            way.drop()
