"""Idempotency keys are forgotten a day later, in steps, by one at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.audit.forgetting import MOST, Forgetting
from gateway.postgres import Connection, Link
from gateway.problems import KeyInProgress
from tests.conftest import Database
from tests.integration.attempts import (
    DAY_MS,
    age_answers,
    answered,
    attempt,
    claimed,
    found,
    run_out,
    worker,
)

pytestmark = pytest.mark.integration


@asynccontextmanager
async def forgetting(database: Database) -> AsyncIterator[None]:
    link = Link(database.dsn("sealer"), name="forgetting", statement_seconds=30)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(Forgetting(link).run())
        yield
        task.cancel()
    link.drop()


async def test_what_is_due_is_forgotten_in_steps_and_nothing_else(
    database: Database,
    hot: Connection,
    superuser: Connection,
) -> None:
    await answered(hot, attempt("old"))
    await superuser.execute(
        "INSERT INTO idempotency_answers (batch, institution, position, key_digest, body_digest)"
        " SELECT batch + n, institution, position, key_digest, body_digest"
        " FROM idempotency_answers, generate_series(1, $1) AS n",
        2 * MOST,
    )
    await age_answers(superuser, DAY_MS + 3600_000)
    await answered(hot, attempt("day old"))
    await age_answers(superuser, 1)
    await answered(hot, attempt("new"))
    async with worker(database.dsn("hot")) as claims:
        await claimed(claims, attempt("ran out"))
        await run_out(superuser)
        await claimed(claims, attempt("held"))

    assert await left(superuser) == [2 * MOST + 3, 2]
    async with forgetting(database):
        for _ in range(500):
            if await left(superuser) == [2, 1]:
                break
            await asyncio.sleep(0.01)
    assert await left(superuser) == [2, 1]
    async with worker(database.dsn("hot")) as claims:
        assert isinstance(await found(claims, attempt("held")), KeyInProgress)


async def left(superuser: Connection) -> list[int]:
    """How many answers and claims there are."""
    return [
        await superuser.fetchval(f"SELECT count(*) FROM idempotency_{kind}")
        for kind in ("answers", "claims")
    ]


async def test_one_forgets_at_a_time_and_no_more_than_it_is_told(
    database: Database, superuser: Connection, hot: Connection
) -> None:
    for n in range(5):
        await answered(hot, attempt(f"{n}"))
    await age_answers(superuser, 2 * DAY_MS)
    ask = "SELECT forget_idempotency_keys(2)"
    async with superuser.transaction():
        assert await superuser.fetchval(ask) == 2
        link = Link(database.dsn("sealer"), name="other", statement_seconds=5)
        async with link.connection() as other:
            assert await other.fetchval(ask) == 0
        link.drop()
    assert [await superuser.fetchval(ask) for _ in range(3)] == [2, 1, 0]
