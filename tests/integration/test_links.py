"""A worker's own connections, where the worker hangs."""

import asyncio

import pytest

from gateway import postgres
from gateway.postgres import SERVER_GONE, Connection, Link
from tests.conftest import Database

LOCK = "SELECT pg_advisory_xact_lock(61)"


async def test_whoever_hangs_in_a_transaction_loses_its_locks(
    database: Database, hot: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "IDLE_SECONDS", 0.3)
    link = Link(database.dsn("hot"), name="test", statement_seconds=0)
    hanging = await link.ready()
    await hanging.execute("BEGIN")
    await hanging.execute(LOCK)
    async with asyncio.timeout(20), hot.transaction():
        await hot.execute(LOCK)
    with pytest.raises(SERVER_GONE):
        await hanging.execute("SELECT 1")
    # And it finds its way back.
    async with link.connection() as connection:
        assert await connection.fetchval("SELECT 1") == 1
    link.drop()
