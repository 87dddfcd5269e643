"""A limiter over real servers: Redis, PostgreSQL, and a log of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import patch

import asyncpg

from gateway.audit.charges import Charges
from gateway.clock import ServerClock
from gateway.postgres import Link, pool
from gateway.quota import rebuild
from gateway.quota.epochs import Epochs
from gateway.quota.limiter import Limiter
from gateway.redis import Client
from tests.conftest import Database


async def redis_counts(hot_dsn: str) -> None:
    """Returns once limits are counted in Redis, which has not been lost lately.

    So it will be left for three seconds when it is lost next, and not for a minute.
    """
    hot = await asyncpg.connect(hot_dsn)
    try:
        await hot.execute("UPDATE quota_epoch SET hold_seconds = 0")
        while await hot.fetchval("SELECT epoch % 2 FROM quota_epoch"):  # noqa: ASYNC110 - a row sets no event
            await asyncio.sleep(0.05)
        await hot.execute(
            "UPDATE quota_epoch SET hold_seconds = 3, since = since - interval '1 minute'"
        )
    finally:
        await hot.close()


@asynccontextmanager
async def limiter_of(
    redis: Client,
    database: Database,
    clock: ServerClock | None = None,
    *,
    commit_seconds: float = 0.0,
) -> AsyncIterator[Limiter]:
    """A worker's limiter, without the task that keeps watch.

    Nothing is on its way into the log here, unless a test says so: it need not be waited
    for before counters are made from it.
    """
    hot = database.dsn("hot")
    links = [Link(hot, name="limits", statement_seconds=0) for _ in range(3)]
    auditor = pool(database.dsn("auditor"), name="test", size=1, statement_seconds=9)
    try:
        with patch.object(rebuild, "COMMIT_SECONDS", commit_seconds):
            async with auditor, asyncio.TaskGroup() as tasks:
                limiter = Limiter(
                    redis,
                    epochs=Epochs(links[0]),
                    links=(links[1], links[2]),
                    ledger=Charges(auditor),
                    clock=clock or ServerClock(),
                    tasks=tasks,
                )
                try:
                    yield limiter
                finally:
                    await limiter.close()
    finally:
        for link in links:
            link.drop()
