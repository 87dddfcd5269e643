"""Connections: where a worker hangs, and how what is asked over a pool is planned."""

import asyncio

import pytest

from gateway import postgres
from gateway.postgres import SERVER_GONE, Connection, Link, pool
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


async def test_what_is_asked_over_a_pool_is_planned_for_who_is_asked_about(
    database: Database,
) -> None:
    asked = "SELECT name FROM purposes WHERE number = $1"
    async with pool(
        database.dsn("auditor"), name="test", size=1, statement_seconds=30
    ) as held:
        for purpose in range(12):
            # It is given back in between, which resets the session.
            await held.fetchval(asked, purpose)
        plans = await held.fetchrow(
            "SELECT custom_plans, generic_plans FROM pg_prepared_statements"
            " WHERE statement = $1",
            asked,
        )
    assert plans is not None
    assert tuple(plans) == (12, 0)
