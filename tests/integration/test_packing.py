"""A log from before its rows were packed: every line stays what it was."""

import shutil
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from gateway import migration
from gateway.audit.entry import (
    Entry,
    Place,
    PurposeName,
    access_id,
    batch_number,
    line,
    parse_address,
)
from gateway.audit.inspection import Inspection
from gateway.clock import from_datetime, to_datetime
from gateway.postgres import pool
from gateway.vocabulary import Actor, Operation, Outcome, Reason
from tests.conftest import Database
from tests.integration import logs

UNPACKED = """
    INSERT INTO entries (
        batch, position, at, actor, outcome, address, operation, institution, key, purpose, fields,
        subject_head, subject_tail, subject_key, reason, reference, operator, count, replay_of
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
"""


def unpacked(place: Place, entry: Entry) -> tuple[object, ...]:
    subject = entry.subject or (None, None, None)
    return (
        *place,
        to_datetime(entry.at),
        entry.actor,
        entry.outcome,
        entry.address,
        entry.operation,
        entry.institution,
        entry.key and entry.key.number,
        entry.purpose and entry.purpose.number,
        entry.fields,
        *subject,
        entry.reason,
        entry.reference,
        entry.operator,
        entry.count if entry.count > 1 else None,
        entry.replay_of,
    )


def of_every_kind(at: int) -> list[Entry]:
    replayed = logs.answer(at, 1, replay_of=UUID(int=7))
    full = logs.answer(at, 2, Outcome.MISMATCHED, PurposeName(2, "treatment"))
    full.fields, full.reference, full.operator = 5, "ref 1", "Siti"
    staff = Entry(
        at=at,
        actor=Actor.ADMIN,
        outcome=Outcome.DONE,
        address=None,
        operation=Operation.KEY_REVOKE,
        reference="lost",
    )
    flood = logs.refusal(at, times=300)
    flood.operation = None
    strange = logs.refusal(at, 3)
    strange.address, strange.reason = parse_address("2001:db8::1"), Reason.FORBIDDEN
    return [logs.answer(at, 1), replayed, full, staff, flood, strange]


@pytest.fixture
async def unmigrated(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> asyncpg.Connection:
    """The database as it was before this migration."""
    older = tmp_path / "sql" / "migrations"
    older.mkdir(parents=True)
    for file in (migration.SQL_FOLDER / "migrations").iterdir():
        if int(file.name[:14]) < 20261125000007:
            shutil.copy(file, older)
    superuser = await asyncpg.connect(database.dsn("superuser"))
    await superuser.execute("DROP OWNED BY gateway_owner CASCADE")
    with monkeypatch.context() as patched:
        patched.setattr(migration, "SQL_FOLDER", tmp_path / "sql")
        migration._run_dbmate(database.dsn("owner"))
    return superuser


async def test_every_line_of_an_unpacked_log_is_the_same_once_it_is_packed(
    database: Database, unmigrated: asyncpg.Connection
) -> None:
    await logs.make_key(unmigrated)
    now = from_datetime(await unmigrated.fetchval("SELECT clock_timestamp()"))
    # In the partition of a day, and where no partition was made: in the default.
    instants = [now, now - 40 * 24 * 3600 * 1_000_000]
    expected = {}
    for counter, at in enumerate(instants):
        for position, entry in enumerate(of_every_kind(at)):
            place = Place(batch_number(at, 1, counter), position)
            await unmigrated.execute(UNPACKED, *unpacked(place, entry))
            expected[access_id(place)] = line(entry, place)
    await unmigrated.close()
    await migration.migrate(database.dsn("owner"))
    dsn = database.dsn("auditor")
    async with pool(dsn, name="test", size=1, statement_seconds=9) as auditor:
        inspection = Inspection(auditor)
        found = {name: await inspection.entry(name) for name in expected}
    assert found == {name: (text, None) for name, text in expected.items()}
