"""Residents found in a real registry: many at once, in time, and without a trace."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from gateway.postgres import Connection, Link
from gateway.problems import RegistryUnavailable
from gateway.registry.residents import DEADLINE, Residents
from gateway.registry.synthetic import load, sample
from gateway.vocabulary import RESIDENT_FIELDS
from tests.conftest import Database
from tests.integration.wires import wire_to

pytestmark = pytest.mark.integration

SEED, POPULATION = 11, 600
NOBODY = "3171014501900001"
# What a busy test machine may add to waking up.
SLACK = 0.2


@asynccontextmanager
async def residents_of(
    dsn: str, *, batches: str | None = None
) -> AsyncIterator[Residents]:
    ways = (
        Link(dsn, name="lookups", statement_seconds=0, connect_seconds=1.0),
        Link(batches or dsn, name="batches", statement_seconds=0, connect_seconds=1.0),
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            yield Residents(ways, tasks=tasks)
    finally:
        for way in ways:
            way.drop()


@pytest.fixture
async def registry(database: Database) -> str:
    """The DSN of a registry that holds the synthetic population."""
    owner = database.dsn("owner")
    await load(owner, POPULATION, seed=SEED, progress=lambda _: None)
    return database.dsn("registry")


def people(count: int) -> dict[str, tuple[str | None, ...]]:
    drawn = sample(POPULATION, count, seed=SEED)
    return {str(resident["nik"]): resident.values for resident in drawn}


def flushes() -> float:
    labels = {"stage": "registry"}
    return REGISTRY.get_sample_value("gateway_flush_size_count", labels) or 0.0


async def test_a_resident_is_found_with_every_field_in_the_contracts_order(
    registry: str,
) -> None:
    async with residents_of(registry) as residents:
        for nik, values in people(50).items():
            found = await residents.find(nik)
            assert found is not None
            assert found.values == values
            assert found.project(RESIDENT_FIELDS) == dict(
                zip(RESIDENT_FIELDS, values, strict=True)
            )


async def test_a_nik_that_begins_with_zeros_is_found_and_given_back_whole(
    database: Database, superuser: Connection
) -> None:
    await superuser.execute(
        "INSERT INTO registry.residents (nik, kk, name) VALUES (9001, 9002, 'SITI')"
    )
    async with residents_of(database.dsn("registry")) as residents:
        found = await residents.find("0000000000009001")
        assert found is not None
        assert (found["nik"], found["kk"]) == ("0000000000009001", "0000000000009002")
        assert found["birth_date"] is None


async def test_a_nik_that_nobody_has_is_not_found(registry: str) -> None:
    async with residents_of(registry) as residents:
        assert await residents.find(NOBODY) is None


async def test_asks_at_once_are_one_query_and_each_gets_its_own_answer(
    registry: str,
) -> None:
    known = people(100)
    asked = [*known, NOBODY, *known]
    async with residents_of(registry) as residents:
        before = flushes()
        found = await asyncio.gather(*map(residents.find, asked))
        assert flushes() - before == 1
    assert [one and one["nik"] for one in found] == [
        None if nik == NOBODY else nik for nik in asked
    ]


async def unavailable(residents: Residents, nik: str) -> float:
    """The seconds after which it was said."""
    began = time.perf_counter()
    with pytest.raises(RegistryUnavailable):
        await residents.find(nik)
    return time.perf_counter() - began


async def test_a_registry_that_is_away_is_said_to_be_at_once() -> None:
    away = "postgres://gateway_registry:x@127.0.0.1:1/gateway"
    async with residents_of(away) as residents:
        assert await unavailable(residents, NOBODY) < SLACK


@pytest.mark.hurried
async def test_a_registry_that_hangs_is_given_up_after_two_seconds_and_found_again(
    registry: str, superuser: Connection
) -> None:
    (nik, *others) = people(9)
    async with residents_of(registry) as residents:
        async with superuser.transaction():
            await superuser.execute("LOCK TABLE registry.residents")
            waited = await asyncio.gather(
                *(unavailable(residents, one) for one in others)
            )
            assert max(waited) < DEADLINE + SLACK
        assert await residents.find(nik) is not None


async def test_a_resident_is_found_while_a_batch_hangs(registry: str) -> None:
    (first, second) = people(2)
    async with (
        wire_to(registry) as (wire, dsn),
        residents_of(registry, batches=dsn) as residents,
        asyncio.TaskGroup() as tasks,
    ):
        wire.heard.clear()
        hanging = tasks.create_task(residents.find_all([first]))
        await asyncio.sleep(0.1)
        assert await residents.find(second) is not None
        assert not hanging.done()
        wire.heard.set()
        assert None not in await hanging


async def test_a_connection_that_ended_while_idle_costs_no_call(
    registry: str, superuser: Connection
) -> None:
    (nik,) = people(1)
    async with residents_of(registry) as residents:
        await residents.find(nik)
        await superuser.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'gateway-lookups'"
        )
        await asyncio.sleep(0.1)
        assert await residents.find(nik) is not None


async def test_a_failure_says_nothing_of_whom_was_asked_about(
    registry: str, superuser: Connection
) -> None:
    (nik,) = people(1)
    await superuser.execute(
        "REVOKE SELECT ON registry.gateway_residents FROM gateway_registry"
    )
    async with residents_of(registry) as residents:
        with capture_logs() as logs, pytest.raises(RegistryUnavailable) as lost:
            await residents.find(nik)
    assert [entry["event"] for entry in logs] == ["registry_flush_failed"]
    chain: BaseException | None = lost.value
    while chain is not None:
        assert nik not in f"{chain}{chain.args}"
        chain = chain.__cause__
    assert nik not in str(logs)
