"""Connections of the roles that change things, one a test; and patience."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from gateway import redis
from gateway.audit import claims, journal
from gateway.postgres import Connection
from gateway.quota import counters, epochs, reserve
from gateway.registry import residents
from tests.conftest import Database

UNHURRIED = 20.0


@pytest.fixture(autouse=True)
def unhurried(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for a moment fails no test that is not about that.

    Those which are about how long servers are waited for are marked as hurried.
    """
    if request.node.get_closest_marker("hurried") is not None:
        return
    for where, what in (
        (claims, "PATIENCE"),
        (counters, "PATIENCE"),
        (epochs, "ANSWER_SECONDS"),
        (journal, "CONNECT_SECONDS"),
        (journal, "PATIENCE"),
        (reserve, "PATIENCE"),
        (residents, "DEADLINE"),
    ):
        monkeypatch.setattr(where, what, UNHURRIED)
    for what in ("socket_timeout", "socket_connect_timeout"):
        monkeypatch.setitem(redis._DEADLINES, what, UNHURRIED)


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
