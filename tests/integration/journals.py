"""A worker's journal over a real PostgreSQL, or over a way to it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from gateway.audit.access import Access
from gateway.audit.entry import parse_address
from gateway.audit.journal import CONNECT_SECONDS, Journal
from gateway.clock import ServerClock
from gateway.postgres import Connection, Link
from gateway.settings import NumberedKeys
from gateway.vocabulary import Operation, Outcome, Reason

PEPPERS = NumberedKeys({1: bytes(32)})
HOME = parse_address("192.0.2.1")


def now() -> int:
    return time.time_ns() // 1000


def failed(at: int | None = None) -> Access:
    """An access whose entry is never one of a flood."""
    return Access(
        Operation.VERIFY,
        HOME,
        at=at,
        outcome=Outcome.FAILED,
        reason=Reason.INTERNAL_ERROR,
    )


async def entries(superuser: Connection) -> list[asyncpg.Record]:
    return await superuser.fetch("TABLE readable_entries ORDER BY batch, position")


@asynccontextmanager
async def journal_to(dsn: str, *, batches: str | None = None) -> AsyncIterator[Journal]:
    clock = ServerClock()
    clock.observe(now())
    ways = (
        Link(dsn, name="journal", statement_seconds=0, connect_seconds=CONNECT_SECONDS),
        Link(
            batches or dsn,
            name="batches",
            statement_seconds=0,
            connect_seconds=CONNECT_SECONDS,
        ),
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            yield Journal(ways, peppers=PEPPERS, clock=clock, tasks=tasks)
    finally:
        for way in ways:
            way.drop()
