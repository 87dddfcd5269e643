"""Real servers for every test: one PostgreSQL, one Valkey, a database a test."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from hypothesis import settings
from redis.asyncio import Redis

from gateway.embedded.postgres import PostgresServer
from gateway.embedded.provisioning import Provisioned
from gateway.embedded.valkey import ValkeyServer
from gateway.redis import open_server

# How long an example takes is the machine's affair.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@dataclass(frozen=True)
class Database:
    """A migrated database of its own. Roles: hot, registry, sealer, auditor, admin, owner."""

    provisioned: Provisioned
    server: PostgresServer
    name: str

    def dsn(self, role: str) -> str:
        if role == "superuser":
            return self.server.dsn(database=self.name)
        return self.provisioned.dsn(role, self.name)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path_factory.mktemp("servers") / "postgres")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    server = ValkeyServer(tmp_path_factory.mktemp("servers") / "valkey")
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def redis(valkey: ValkeyServer) -> AsyncIterator[Redis]:
    client = open_server(valkey.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
async def template(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Provisioned:
    passwords: Path = tmp_path_factory.mktemp("passwords") / "roles.json"
    provisioned = Provisioned(postgres, passwords)
    await provisioned.create("template_gateway")
    return provisioned


@asynccontextmanager
async def copied(
    postgres: PostgresServer, template: Provisioned
) -> AsyncIterator[Database]:
    """A copy of the migrated template: some tenths of a second."""
    name = f"gateway_{secrets.token_hex(6)}"
    superuser = await asyncpg.connect(postgres.dsn())
    await superuser.execute(
        f"CREATE DATABASE {name} TEMPLATE template_gateway OWNER gateway_owner"
    )
    yield Database(template, postgres, name)
    await superuser.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await superuser.close()


@pytest.fixture
async def database(
    postgres: PostgresServer, template: Provisioned
) -> AsyncIterator[Database]:
    async with copied(postgres, template) as database:
        yield database
