"""Connections of the roles that change things, one a test."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from gateway.postgres import Connection
from tests.conftest import Database


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.dsn("admin"))
    yield connection
    await connection.close()


@pytest.fixture
async def superuser(database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.dsn("superuser"))
    yield connection
    await connection.close()


@pytest.fixture
async def hot(database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.dsn("hot"))
    yield connection
    await connection.close()
