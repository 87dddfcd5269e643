"""Real servers of a test's own, to be made unsafe and put right again."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from redis.asyncio import Redis

from gateway.doctor import examination
from gateway.doctor.finding import Finding
from gateway.embedded.postgres import PostgresServer
from gateway.embedded.provisioning import Provisioned
from gateway.embedded.valkey import ValkeyServer
from gateway.postgres import Connection
from gateway.settings import SealSettings, ServeSettings

DATABASE = "gateway"


@dataclass(frozen=True)
class Patient:
    """Servers, and the settings of a gateway that would use them."""

    postgres: PostgresServer
    valkey: ValkeyServer
    environment: dict[str, str]

    def settings(self, **changed: str) -> tuple[ServeSettings, SealSettings]:
        """As from the environment, with these changed."""
        held: dict[str, Any] = {
            name.removeprefix("GATEWAY_").lower(): value
            for name, value in {**self.environment, **changed}.items()
        }
        return ServeSettings.model_validate(held), SealSettings.model_validate(held)

    async def found(self, **changed: str) -> list[Finding]:
        """All findings, with these settings changed."""
        return await examination.examine(*self.settings(**changed))

    @asynccontextmanager
    async def superuser(self) -> AsyncIterator[Connection]:
        dsn = self.postgres.dsn(database=DATABASE)
        connection = await asyncpg.connect(dsn)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def altered(self, does: str, undoes: str) -> AsyncIterator[None]:
        """PostgreSQL after this statement, and as before after that one."""
        async with self.superuser() as superuser:
            try:
                await _settle(superuser, does)
                yield
            finally:
                await _settle(superuser, undoes)

    @asynccontextmanager
    async def configured(self, **settings: str) -> AsyncIterator[Redis]:
        """Valkey with these settings, and as before."""
        client = Redis.from_url(self.valkey.url, decode_responses=True)
        # A connection that is in stays in, whatever the password becomes.
        async with client.client() as admin:
            before = {
                name: str((await admin.config_get(name))[name])
                for name in map(_word, settings)
            }
            try:
                for name, value in settings.items():
                    await admin.config_set(_word(name), value)
                yield admin
            finally:
                for name, old in before.items():
                    await admin.config_set(name, old)
        await client.aclose()


def _word(name: str) -> str:
    return name.replace("_", "-")


async def _settle(superuser: Connection, statements: str) -> None:
    """Runs each; what ALTER SYSTEM says is in force when it returns."""
    for statement in statements.split(";"):
        await superuser.execute(statement)
    if "ALTER SYSTEM" not in statements:
        return
    loaded = await superuser.fetchval("SELECT pg_conf_load_time()")
    await superuser.execute("SELECT pg_reload_conf()")
    while (
        await superuser.fetchval("SELECT pg_conf_load_time() FROM pg_sleep(0.01)")
        == loaded
    ):
        pass


@asynccontextmanager
async def patient(folder: Path) -> AsyncIterator[Patient]:
    """Both servers, running, with a migrated database."""
    postgres = PostgresServer(folder / "postgres")
    valkey = ValkeyServer(folder / "valkey")
    try:
        postgres.start()
        valkey.start()
        provisioned = Provisioned(postgres, folder / "roles.json")
        await provisioned.create(DATABASE)
        yield Patient(postgres, valkey, _environment(folder, provisioned, valkey.url))
    finally:
        valkey.stop()
        postgres.stop()


def _environment(
    folder: Path, provisioned: Provisioned, redis_url: str
) -> dict[str, str]:
    roles = {
        "POSTGRES": "hot",
        "REGISTRY": "registry",
        "AUDITOR": "auditor",
        "RECEIPTS": "receipts",
        "ADMIN": "admin",
        "SEALER": "sealer",
    }
    files = ("PEPPER", "SUBJECT_KEYS", "SIGNING_KEY")
    dsns = {
        f"GATEWAY_{word}_DSN": provisioned.dsn(role, DATABASE)
        for word, role in roles.items()
    }
    secret_files = {
        f"GATEWAY_{word}_FILE": str(write_secrets(folder / word, 1)) for word in files
    }
    return {
        **dsns,
        **secret_files,
        "GATEWAY_REDIS_URL": redis_url,
        "GATEWAY_LOG_ORIGIN": "log.example/doctor",
    }


def write_secrets(path: Path, *secrets_given: int | str) -> Path:
    """A file of secrets: those given in hex, fresh ones for numbers."""
    path.touch(mode=0o600)
    lines = [
        f"{number}:{given if isinstance(given, str) else secrets.token_hex(32)}\n"
        for number, given in enumerate(secrets_given, 1)
    ]
    path.write_text("".join(lines), "ascii")
    return path
