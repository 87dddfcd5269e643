"""Attempts with an idempotency key, the claims of a worker, and the passing of time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final
from uuid import UUID

from gateway.audit.claims import Claim, Claims
from gateway.audit.entry import Entry
from gateway.audit.idempotency import Attempt, Attempts
from gateway.postgres import Connection, Link
from gateway.problems import IdempotencyConflict
from gateway.settings import NumberedKeys
from gateway.vocabulary import Outcome
from tests.integration.logs import answer, write

ATTEMPTS: Final = Attempts(NumberedKeys({1: b"p" * 32}))
DAY_MS: Final = 24 * 3600 * 1000

Found = Claim | UUID | IdempotencyConflict


@asynccontextmanager
async def worker(dsn: str) -> AsyncIterator[Claims]:
    link = Link(dsn, name="claims", statement_seconds=0, connect_seconds=0.4)
    try:
        async with asyncio.TaskGroup() as tasks:
            yield Claims(link, tasks=tasks)
    finally:
        link.drop()


def attempt(key: str = "k", body: str = "a", institution: int = 1) -> Attempt:
    return ATTEMPTS.of(institution, key, body)


async def found(claims: Claims, one: Attempt) -> Found:
    try:
        return await claims.claim(one)
    except IdempotencyConflict as conflict:
        return conflict


async def claimed(claims: Claims, one: Attempt) -> Claim:
    claim = await claims.claim(one)
    assert isinstance(claim, Claim)
    return claim


def entry_of(one: Attempt, outcome: Outcome = Outcome.MATCHED) -> Entry:
    at = time.time_ns() // 1000
    return replace(answer(at, one.institution, outcome), attempt=one)


async def answered(hot: Connection, one: Attempt) -> UUID:
    return UUID((await write(hot, [entry_of(one)]))[0])


async def age_answers(superuser: Connection, milliseconds: int) -> None:
    await superuser.execute(
        "UPDATE idempotency_answers SET batch = batch - ($1::bigint << 21)",
        milliseconds,
    )


async def run_out(superuser: Connection) -> None:
    await superuser.execute(
        "UPDATE idempotency_claims SET until = now() - interval '1 microsecond'"
    )
