"""Makes a database of the gateway's on an embedded server: roles, schema, passwords."""

import json
import secrets
from pathlib import Path

import asyncpg

from gateway.embedded.postgres import PostgresServer
from gateway.migration import migrate

ROLES = ("owner", "hot", "registry", "sealer", "auditor", "receipts", "admin")


class Provisioned:
    """A server whose gateway roles can log in to the databases made on it."""

    def __init__(self, server: PostgresServer, passwords_file: Path) -> None:
        self._server = server
        self._passwords_file = passwords_file
        if not passwords_file.exists():
            fresh = {role: secrets.token_urlsafe(24) for role in ROLES}
            passwords_file.touch(mode=0o600)
            passwords_file.write_text(json.dumps(fresh), "utf-8")

    def dsn(self, role: str, database: str) -> str:
        """How `role` (one of ROLES) logs in to `database`."""
        password = json.loads(self._passwords_file.read_text("utf-8"))[role]
        return self._server.dsn(
            user=f"gateway_{role}", password=password, database=database
        )

    async def create(self, database: str) -> None:
        """Creates the database if it is missing, and brings it up to date."""
        superuser = await asyncpg.connect(self._server.dsn(), timeout=10)
        try:
            if await superuser.fetchval("SELECT to_regrole('gateway_owner')") is None:
                await superuser.execute("CREATE ROLE gateway_owner LOGIN CREATEROLE")
            await self._set_password(superuser, "owner")
            exists = "SELECT 1 FROM pg_database WHERE datname = $1"
            if await superuser.fetchval(exists, database) is None:
                await superuser.execute(
                    f'CREATE DATABASE "{database}" OWNER gateway_owner'
                )
            await migrate(self.dsn("owner", database))
            for role in ROLES:
                await self._set_password(superuser, role)
        finally:
            await superuser.close()

    async def _set_password(self, superuser: asyncpg.Connection, role: str) -> None:
        passwords = json.loads(self._passwords_file.read_text("utf-8"))
        statement = await superuser.fetchval(
            "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)",
            f"gateway_{role}",
            passwords[role],
        )
        await superuser.execute(statement)
