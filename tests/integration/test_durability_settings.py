"""What the whole promise rests on: a commit that was answered outlives the machine."""

import asyncpg
import pytest

from gateway.postgres import Connection, Link, connect
from tests.conftest import Database

pytestmark = pytest.mark.integration

DURABLE = ("synchronous_commit", "fsync", "full_page_writes")


async def durability(connection: Connection) -> dict[str, str]:
    return {name: await connection.fetchval(f"SHOW {name}") for name in DURABLE}


async def test_a_commit_of_the_hot_role_is_on_disk_when_it_is_answered(
    database: Database,
) -> None:
    connection = await connect(database.dsn("hot"), name="test", statement_seconds=1)
    assert await durability(connection) == dict.fromkeys(DURABLE, "on")
    await connection.close()


async def test_a_servers_own_setting_does_not_weaken_a_commit(
    database: Database, superuser: Connection
) -> None:
    for owner in (
        f"DATABASE {database.name}",
        f"ROLE gateway_hot IN DATABASE {database.name}",
    ):
        await superuser.execute(f"ALTER {owner} SET synchronous_commit = off")
    careless = await asyncpg.connect(database.dsn("hot"))
    assert await careless.fetchval("SHOW synchronous_commit") == "off"
    await careless.close()
    link = Link(database.dsn("hot"), name="journal", statement_seconds=0)
    async with link.connection() as connection:
        assert (await durability(connection))["synchronous_commit"] == "on"
    link.drop()


@pytest.mark.parametrize("role", ["hot", "admin"])
async def test_the_roles_that_write_the_log_write_it_in_utc_with_a_name(
    database: Database, role: str
) -> None:
    connection = await connect(database.dsn(role), name="test", statement_seconds=1.5)
    shown = {
        name: await connection.fetchval(f"SHOW {name}")
        for name in ("timezone", "application_name", "statement_timeout")
    }
    assert shown == {
        "timezone": "UTC",
        "application_name": "gateway-test",
        "statement_timeout": "1500ms",
    }
    await connection.close()
