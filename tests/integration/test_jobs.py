"""Jobs as PostgreSQL keeps them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest

from gateway.jobs.ending import forget
from gateway.jobs.job import GIVEN_UP_SECONDS, KEPT_SECONDS
from gateway.jobs.store import SQL, Store
from gateway.postgres import Connection, Link, pool
from gateway.settings import NumberedKeys
from tests.conftest import Database

pytestmark = pytest.mark.integration

INSTITUTION, KEY, VERIFY = 4_711, 1, 5


@asynccontextmanager
async def store(database: Database) -> AsyncIterator[Store]:
    link = Link(database.dsn("hot"), name="test", statement_seconds=30)
    async with pool(
        database.dsn("hot"), name="test", size=1, statement_seconds=30
    ) as held:
        yield Store(held, link, NumberedKeys({1: bytes(32)}))
    link.drop()


async def begin(connection: Connection) -> UUID:
    job = uuid4()
    await connection.fetch(
        *(SQL["begin"], job, INSTITUTION, KEY, None, VERIFY, "kyc", 1),
        *("receiving", 60, 1_000),
    )
    await connection.execute(SQL["keep_items"], job, 0, [1, 2], b"sealed")
    return job


@pytest.mark.parametrize(
    ("status", "column", "seconds"),
    [
        ("done", "over_at", KEPT_SECONDS),
        ("cancelled", "over_at", KEPT_SECONDS),
        ("receiving", "due_at", GIVEN_UP_SECONDS),
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
        async with store(database) as held:
            await forget(held)
        left = await owner.fetch("SELECT id FROM jobs WHERE id = ANY($1)", jobs)
        assert [row["id"] for row in left] == jobs[:1]
        items = await owner.fetch("SELECT job FROM job_items WHERE job = ANY($1)", jobs)
        kept = jobs[:1] if status == "receiving" else []
        assert [row["job"] for row in items] == kept
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


@pytest.mark.parametrize(
    ("status", "items", "answers"),
    [("running", 250, 3), ("done", 0, 3), ("failed", 0, 3), ("cancelled", 0, 0)],
)
async def test_of_what_is_over_no_item_is_kept_nor_an_answer_that_is_told_no_more(
    database: Database, hot: Connection, status: str, items: int, answers: int
) -> None:
    job = await slices(hot, 250)
    for n in range(3):
        await hot.execute(SQL["keep_answers"], job, n, b"sealed")
    await hot.execute(
        "UPDATE jobs SET status = $2, reserved = 0,"
        " over_at = CASE WHEN $2 <> 'running' THEN clock_timestamp() END"
        " WHERE id = $1",
        job,
        status,
    )
    async with store(database) as held:
        await forget(held)
    assert await count(hot, "job_items", job) == items
    assert await count(hot, "job_answers", job) == answers


async def test_items_go_as_they_are_answered(hot: Connection) -> None:
    job = await slices(hot, 40)
    # Ten at a time, and never the one that holds what is asked next.
    for answered, left in ((0, 40), (1, 39), (2, 38), (39, 28), (39, 18), (39, 8)):
        await hot.execute(SQL["drop_answered_items"], job, answered)
        assert await count(hot, "job_items", job) == left
    await hot.execute(SQL["drop_answered_items"], job, 40)
    assert await count(hot, "job_items", job) == 1
    (last,) = await hot.fetch(SQL["items"], job, 39)
    assert last["first"] == 39


async def slices(hot: Connection, number: int) -> UUID:
    """A job of so many slices, of one item each."""
    job = await begin(hot)
    await hot.executemany(
        SQL["keep_items"], [(job, n, [n], b"sealed") for n in range(1, number)]
    )
    return job


async def count(hot: Connection, table: str, job: UUID) -> int:
    found: int = await hot.fetchval(f"SELECT count(*) FROM {table} WHERE job = $1", job)
    return found
