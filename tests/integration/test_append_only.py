"""What the roles of sql/roles.sql can do to the log: add, read, and nothing else."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from gateway.embedded.postgres import PostgresServer
from gateway.embedded.provisioning import Provisioned
from tests.conftest import Database, copied


@pytest.fixture(scope="module")
async def database(
    postgres: PostgresServer, template: Provisioned
) -> AsyncIterator[Database]:
    """One for all: none of them changes anything."""
    async with copied(postgres, template) as database:
        yield database


@pytest.mark.parametrize(
    "role", ["hot", "admin", "auditor", "sealer", "registry", "receipts"]
)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET reason = outcome",
        "UPDATE batches SET entries = 1",
        "DELETE FROM entries",
        "DELETE FROM batches",
        "TRUNCATE entries",
        "TRUNCATE batches",
        "ALTER TABLE entries ADD COLUMN forged text",
        "DROP TABLE entries",
        "DELETE FROM entries_default",
        "UPDATE seals SET leaves = leaves",
        "DELETE FROM seals",
        "TRUNCATE nodes",
        "UPDATE checkpoints SET note = ''",
        "DELETE FROM checkpoints",
        "DELETE FROM cosignatures",
        "INSERT INTO archived_days (day, bytes, entries) VALUES ('2026-01-01', 0, 0)",
        "UPDATE archived_days SET expired_at = now()",
        "DELETE FROM archived_days",
        "UPDATE legal_holds SET released_at = now()",
        "DELETE FROM legal_holds",
        "SELECT drop_archived_day('2026-01-01')",
        "SELECT move_default_rows('entries')",
        "SELECT recount_rollups()",
        "UPDATE changes SET became = '{}'",
        "DELETE FROM changes",
        "TRUNCATE changes",
        "UPDATE proposals SET asked = '{}'",
        "DELETE FROM proposals",
        "UPDATE verdicts SET approved = true",
        "DELETE FROM verdicts",
        "UPDATE idempotency_answers SET batch = batch",
        "DELETE FROM idempotency_answers",
        "TRUNCATE idempotency_answers",
    ],
)
async def test_no_role_of_the_gateway_can_change_the_log(
    database: Database, role: str, statement: str
) -> None:
    connection = await asyncpg.connect(database.dsn(role))
    # Without USAGE on the schema the registry role does not even see what is in it.
    refusals = (
        asyncpg.InsufficientPrivilegeError,
        asyncpg.UndefinedTableError,
        asyncpg.UndefinedFunctionError,
    )
    with pytest.raises(refusals):
        await connection.execute(statement)
    await connection.close()


async def test_the_hot_role_cannot_read_the_log_or_the_registry(
    database: Database,
) -> None:
    connection = await asyncpg.connect(database.dsn("hot"))
    for table in ("entries", "batches", "registry.residents"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"SELECT * FROM {table}")
    await connection.close()


async def test_the_auditor_cannot_read_the_registry_or_key_digests(
    database: Database,
) -> None:
    connection = await asyncpg.connect(database.dsn("auditor"))
    for query in ("SELECT digest FROM keys", "SELECT * FROM registry.residents"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(query)
    await connection.close()
