"""Batches, whole, while what they need is away: one entry for all, and nothing charged."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway.audit.access import Access
from gateway.audit.entry import Place, access_id
from gateway.batching import Batch, Batches, Item
from gateway.calls import Call
from gateway.postgres import Connection
from gateway.problems import AuditUnavailable, Problem, RegistryUnavailable
from gateway.vocabulary import Operation, Outcome, Reason
from tests.conftest import Database
from tests.integration.desks import HOME, Desk, opened_desk

pytestmark = pytest.mark.integration

NIKS = [f"31710145019090{n:02}" for n in range(5)]
LOCK = "LOCK TABLE batches IN ACCESS EXCLUSIVE MODE"


@pytest.fixture
async def desk(
    database: Database, redis: Redis, admin: Connection, superuser: Connection
) -> AsyncIterator[Desk]:
    async with opened_desk(database, admin, superuser, redis) as one:
        await one.lookups.directory.refresh()
        yield one


def call(desk: Desk) -> Call[Batch]:
    items = [Item(f"n{n}", nik, ("name",), {"name": "X"}) for n, nik in enumerate(NIKS)]

    async def read() -> Batch:
        await asyncio.sleep(0)
        return Batch("verify", "kyc", items, len(items))

    return Call(Access(Operation.BATCH, HOME), desk.key, read)


async def fails(desk: Desk, problem: type[Problem]) -> Call[Batch]:
    asked = call(desk)
    with pytest.raises(problem):
        await Batches(desk.lookups).answer(asked)
    return asked


async def test_without_the_registry_it_is_one_entry_that_counts_for_all(
    database: Database, redis: Redis, admin: Connection, superuser: Connection
) -> None:
    away = "postgres://gateway_registry:x@127.0.0.1:1/gateway"
    async with opened_desk(database, admin, superuser, redis, registry=away) as desk:
        await desk.lookups.directory.refresh()
        asked = await fails(desk, RegistryUnavailable)
        row = await desk.entry()
        assert (row["outcome"], row["reason"]) == (
            Outcome.FAILED,
            Reason.REGISTRY_UNAVAILABLE,
        )
        assert (row["subject"], row["count"]) == (None, len(NIKS))
        assert asked.access.access_id is not None
        assert await desk.used() == (0, 0)


async def test_a_batch_that_is_known_not_to_be_written_costs_nothing(
    desk: Desk, database: Database, superuser: Connection
) -> None:
    role = f"ALTER ROLE gateway_hot IN DATABASE {database.name}"
    await superuser.execute(f"{role} SET default_transaction_read_only = on")
    asked = await fails(desk, AuditUnavailable)
    assert asked.access.access_id is None
    assert await superuser.fetchval("SELECT count(*) FROM entries") == 0
    assert await desk.used() == (0, 0)


@pytest.mark.hurried
async def test_its_charge_stays_while_the_fate_of_its_entries_is_unknown(
    desk: Desk, superuser: Connection
) -> None:
    await Batches(desk.lookups).answer(call(desk))
    assert await desk.used() == (len(NIKS), len(NIKS))
    async with superuser.transaction():
        await superuser.execute(LOCK)
        await fails(desk, AuditUnavailable)
        assert await desk.used() == (2 * len(NIKS), 2 * len(NIKS))


async def test_batches_and_calls_beside_each_other_have_entries_that_are_theirs(
    desk: Desk, superuser: Connection
) -> None:
    calls = [call(desk) for _ in range(20)]
    batches = Batches(desk.lookups)
    whole = await asyncio.gather(
        *(batches.answer(one) for one in calls),
        *(desk.lookups.verify(desk.call()) for _ in range(20)),
    )
    rows = await superuser.fetch("SELECT * FROM readable_entries")
    entered = {
        access_id(Place(row["batch"], row["position"])): row["reference"]
        for row in rows
    }
    assert len(entered) == 20 * len(NIKS) + 20
    for asked, answers in zip(calls, whole, strict=False):
        assert isinstance(answers, list)
        for answer in answers:
            name = answer.access.access_id
            assert name is not None
            assert entered[name] == f"{asked.access.access_id}/{answer.id}"
