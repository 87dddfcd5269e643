"""Jobs as PostgreSQL keeps them."""

from uuid import UUID, uuid4

import asyncpg
import pytest

from gateway.jobs.job import KEPT_SECONDS, RECEIVING_SECONDS
from gateway.jobs.store import SQL
from gateway.postgres import Connection
from tests.conftest import Database

pytestmark = pytest.mark.integration

INSTITUTION, KEY, VERIFY = 4_711, 1, 5


async def begin(connection: Connection) -> UUID:
    job = uuid4()
    await connection.fetch(
        *(SQL["begin"], job, INSTITUTION, KEY, None, VERIFY, "kyc", 1),
        *("receiving", 1_000),
    )
    await connection.execute(SQL["keep_items"], job, 0, [1, 2], b"sealed")
    return job


@pytest.mark.parametrize(
    ("status", "column", "seconds"),
    [
        ("done", "over_at", KEPT_SECONDS),
        ("cancelled", "over_at", KEPT_SECONDS),
        ("receiving", "created_at", RECEIVING_SECONDS),
    ],
)
async def test_what_is_over_is_forgotten_after_a_day(
    database: Database, status: str, column: str, seconds: int
) -> None:
    hot = await asyncpg.connect(database.dsn("hot"))
    owner = await asyncpg.connect(database.dsn("owner"))
    try:
        jobs = [await begin(hot), await begin(hot)]
        for job, age in zip(jobs, (seconds - 60, seconds + 60), strict=True):
            await owner.execute(
                f"UPDATE jobs SET status = $2, {column} = clock_timestamp()"
                " - make_interval(secs => $3) WHERE id = $1",
                job,
                status,
                age,
            )
        await hot.execute(SQL["forget"], KEPT_SECONDS, RECEIVING_SECONDS)
        left = await owner.fetch("SELECT id FROM jobs WHERE id = ANY($1)", jobs)
        assert [row["id"] for row in left] == jobs[:1]
        items = await owner.fetch("SELECT job FROM job_items WHERE job = ANY($1)", jobs)
        assert [row["job"] for row in items] == jobs[:1]
    finally:
        await hot.close()
        await owner.close()


async def test_units_are_held_exactly_as_long_as_items_wait(database: Database) -> None:
    hot = await asyncpg.connect(database.dsn("hot"))
    try:
        job = await begin(hot)
        with pytest.raises(asyncpg.CheckViolationError):
            await hot.execute("UPDATE jobs SET reserved = 1 WHERE id = $1", job)
    finally:
        await hot.close()


async def test_only_who_holds_the_lease_moves_a_job_on_and_only_from_where_it_is(
    database: Database,
) -> None:
    hot = await asyncpg.connect(database.dsn("hot"))
    try:
        job = await begin(hot)
        now = await hot.fetchval("SELECT clock_timestamp()")
        await hot.fetch(SQL["accept"], job, 0, 10, now)
        frozen, alive = uuid4(), uuid4()

        async def advance(lease: UUID, first: int) -> int:
            return len(await hot.fetch(SQL["advance"], job, lease, first, 5))

        assert len(await hot.fetch(SQL["take"], frozen, 0)) == 1
        # Its time is over: another takes the job, and then nobody else can.
        assert len(await hot.fetch(SQL["take"], alive, 60)) == 1
        assert await hot.fetch(SQL["take"], uuid4(), 60) == []
        assert await advance(frozen, 0) == 0
        assert await advance(alive, 0) == 1
        assert await advance(alive, 0) == 0
        assert await advance(alive, 5) == 1
        row = await hot.fetchrow("SELECT status, answered, reserved FROM jobs")
        assert row is not None
        assert tuple(row) == ("done", 10, 0)
        assert await advance(alive, 10) == 0
    finally:
        await hot.close()
