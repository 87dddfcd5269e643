"""Directories and keys for tests, on a real database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.clock import SECOND, ServerClock
from gateway.partners import keeping
from gateway.partners.directory import Directory
from gateway.partners.keys import Environment
from gateway.postgres import Connection, Link
from gateway.settings import NumberedKeys
from tests.conftest import Database

PEPPERS = NumberedKeys({1: b"o" * 32, 2: b"n" * 32})
NOW, LATER = 1_800_000_000 * SECOND, 1_900_000_000 * SECOND
LIMITS = {"rate": 50, "burst": 100, "day": 1_000, "month": 20_000}
KYC = {"purpose": "kyc", "operations": ["verify"], "fields": ["name"]}


def link(dsn: str, name: str = "directory") -> Link:
    return Link(dsn, name=name, statement_seconds=10)


@asynccontextmanager
async def opened(
    database: Database,
    *,
    peppers: NumberedKeys = PEPPERS,
    listen_to: str | None = None,
) -> AsyncIterator[Directory]:
    """A directory that has loaded; its connections end with it."""
    poll = link(database.dsn("hot"))
    listener = link(listen_to or database.dsn("hot"), "listener")
    directory = Directory(poll, listener, peppers, ServerClock())
    await directory.refresh()
    try:
        yield directory
    finally:
        poll.drop()
        listener.drop()


async def make_key(admin: Connection, **terms: Any) -> keeping.NewKey:
    institution = await keeping.create_institution(admin, "Bank Contoh")
    wanted: dict[str, Any] = {"not_after": None, "cidrs": None} | terms
    return await keeping.create_key(
        admin,
        PEPPERS,
        institution=institution,
        environment=Environment.TEST,
        **wanted,
    )
