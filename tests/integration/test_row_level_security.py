"""What the log shows an institution's receipts: its own entries, whatever the query.

The policy goes by a setting that the session itself can set: it holds against a
mistake in our queries, not against a worker in foreign hands.
"""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from gateway.audit.archived import Archive
from gateway.audit.own_entries import OwnEntries
from gateway.clock import from_datetime
from gateway.migration import migrate
from gateway.postgres import Connection, pool
from tests.conftest import Database
from tests.integration import logs

QUERIES = [
    "SELECT institution FROM entries",
    "SELECT institution FROM entries WHERE institution <> 1",
    "SELECT institution FROM entries WHERE institution = 2 OR true",
    "SELECT institution FROM entries WHERE institution = 0",
    "SELECT max(institution) AS institution FROM entries HAVING count(*) > 0",
    "SELECT e.institution FROM seals AS s JOIN entries AS e ON e.batch = s.batch",
    "SELECT institution FROM entries UNION ALL SELECT institution FROM entries",
]


@pytest.fixture
async def receipts(database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.dsn("receipts"))
    yield connection
    await connection.close()


@pytest.fixture
async def written(
    database: Database, hot: Connection, superuser: Connection
) -> dict[int, list[str]]:
    """Access ids by institution; beside them an entry of nobody's. All sealed."""
    await logs.make_key(superuser)
    now = from_datetime(await hot.fetchval("SELECT clock_timestamp()"))
    ids: dict[int, list[str]] = {1: [], 2: []}
    for _ in range(3):
        batch = [logs.answer(now, 1), logs.answer(now, 2), logs.refusal(now)]
        named = await logs.write(hot, batch)
        ids[1].append(named[0])
        ids[2].append(named[1])
    await logs.seal(database)
    return ids


async def act_for(connection: Connection, institution: str) -> None:
    await connection.execute(
        "SELECT set_config('gateway.institution', $1, true)", institution
    )


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.usefixtures("written")
async def test_an_institution_is_shown_its_own_entries_whatever_the_query(
    receipts: Connection, superuser: Connection, query: str
) -> None:
    # The query would show more, or the test could not fail.
    everything = {row["institution"] for row in await superuser.fetch(query)}
    assert everything - {1}
    async with receipts.transaction():
        await act_for(receipts, "1")
        shown = {row["institution"] for row in await receipts.fetch(query)}
    assert shown <= {1}
    assert bool(shown) == (" <> 1" not in query and "= 0" not in query)


@pytest.mark.usefixtures("written")
async def test_without_an_institution_nothing_is_shown(receipts: Connection) -> None:
    every = "SELECT count(*) FROM entries"
    assert await receipts.fetchval(every) == 0
    async with receipts.transaction():
        await act_for(receipts, "1")
        assert await receipts.fetchval(every) == 3
    # What was set ended with its transaction, and left no error behind.
    assert await receipts.fetchval(every) == 0


async def test_a_receipt_is_found_by_its_own_institution_alone(
    database: Database, written: dict[int, list[str]]
) -> None:
    receipts, auditor = (
        pool(database.dsn(role), name=role, size=1, statement_seconds=5)
        for role in ("receipts", "auditor")
    )
    async with receipts, auditor, asyncio.TaskGroup() as tasks:
        own = OwnEntries(receipts, auditor, Archive(None), tasks=tasks)
        for institution, other in ((1, 2), (2, 1)):
            for access_id in written[institution]:
                found = await own.entry(access_id, institution)
                assert found is not None
                line, leaf_index = found
                assert f'"access_id":"{access_id}"'.encode() in line
                assert leaf_index is not None
                assert await own.entry(access_id, other) is None


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO entries SELECT * FROM entries",
        "UPDATE entries SET reason = outcome",
        "DELETE FROM entries",
        "TRUNCATE entries",
        "ALTER TABLE entries DISABLE ROW LEVEL SECURITY",
        "DROP POLICY institutions_see_their_own ON entries",
        "CREATE POLICY everything ON entries USING (true)",
        "SELECT * FROM entries_default",
        "SELECT leaves FROM seals",
        "SELECT * FROM batches",
        "SELECT * FROM rollups",
        "SELECT digest FROM keys",
        "SET ROLE gateway_auditor",
        "SET ROLE gateway_owner",
        "SET SESSION AUTHORIZATION gateway_auditor",
        "ALTER ROLE gateway_receipts BYPASSRLS",
        "GRANT gateway_auditor TO gateway_receipts",
    ],
)
async def test_the_receipts_role_can_do_nothing_but_read_them(
    receipts: Connection, statement: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await receipts.execute(statement)


async def test_with_row_security_off_a_query_fails_rather_than_show_all(
    receipts: Connection,
) -> None:
    await receipts.execute("SET row_security = off")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await receipts.execute("SELECT * FROM entries")


async def test_no_role_of_the_gateway_is_granted_a_partition_or_spared_the_policies(
    superuser: Connection,
) -> None:
    granted = await superuser.fetch(
        "SELECT DISTINCT c.relname, a.grantee::regrole::text FROM pg_inherits AS i"
        " JOIN pg_class AS c ON c.oid = i.inhrelid,"
        " aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS a"
        " WHERE i.inhparent = 'entries'::regclass AND a.grantee <> c.relowner"
    )
    assert granted == []
    spared = await superuser.fetch(
        "SELECT rolname FROM pg_roles WHERE rolname LIKE 'gateway%'"
        " AND (rolbypassrls OR rolsuper)"
    )
    assert spared == []
    assert await superuser.fetchval(
        "SELECT relrowsecurity FROM pg_class WHERE oid = 'entries'::regclass"
    )


async def test_granting_again_does_not_lock_the_log(
    database: Database, superuser: Connection
) -> None:
    policies = "SELECT * FROM pg_policies ORDER BY policyname"
    before = await superuser.fetch(policies)
    assert len(before) == 3
    async with superuser.transaction():
        # As a flush does; whatever changes the table would wait for it.
        await superuser.execute("LOCK TABLE entries IN ROW EXCLUSIVE MODE")
        async with asyncio.timeout(10):
            await migrate(database.dsn("owner"))
    assert await superuser.fetch(policies) == before
