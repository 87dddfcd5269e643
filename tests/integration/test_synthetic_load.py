"""The synthetic registry, loaded: whole or not at all, and once."""

import asyncio
from itertools import chain

import asyncpg
import pytest

from gateway.postgres import Connection
from gateway.registry.population import Population
from gateway.registry.resident import Resident
from gateway.registry.synthetic import load, sample
from gateway.vocabulary import RESIDENT_FIELDS
from tests.conftest import Database

pytestmark = pytest.mark.integration

SEED = 11
SOME = 1_234
COUNT = "SELECT count(*) FROM registry.residents"
ALL = (
    f"SELECT {', '.join(RESIDENT_FIELDS)} FROM registry.gateway_residents ORDER BY nik"
)


async def fill(database: Database, residents: int = SOME) -> int:
    return await load(database.dsn("owner"), residents, seed=SEED, progress=_ignore)


def _ignore(_: int) -> None:
    return None


async def test_what_the_view_gives_is_the_population_field_for_field(
    database: Database,
) -> None:
    assert await fill(database) == SOME
    registry = await asyncpg.connect(database.dsn("registry"))
    rows = await registry.fetch(ALL)
    await registry.close()
    made = chain.from_iterable(Population(SEED).blocks(SOME))
    by_nik = sorted(made, key=lambda resident: str(resident["nik"]))
    read = [Resident.from_row(row.values()).values for row in rows]
    assert read == [resident.values for resident in by_nik]


async def test_the_sample_is_of_residents_that_were_loaded(
    database: Database, superuser: Connection
) -> None:
    await fill(database)
    niks = [int(str(resident["nik"])) for resident in sample(SOME, 100, seed=SEED)]
    found = await superuser.fetchval(f"{COUNT} WHERE nik = ANY($1)", niks)
    assert found == len(set(niks)) == 100


async def test_a_registry_that_holds_residents_is_left_as_it_is(
    database: Database, superuser: Connection
) -> None:
    await fill(database, 100)
    assert await fill(database, SOME) == 0
    assert await superuser.fetchval(COUNT) == 100


async def test_of_two_that_load_at_once_one_finds_it_full(
    database: Database, superuser: Connection
) -> None:
    loaded = await asyncio.gather(fill(database), fill(database))
    assert sorted(loaded) == [0, SOME]
    assert await superuser.fetchval(COUNT) == SOME


async def test_a_load_that_breaks_off_leaves_nothing_behind(
    database: Database, superuser: Connection
) -> None:
    def breaks(sent: int) -> None:
        if sent >= 500:
            raise KeyError("no more")

    with pytest.raises(KeyError):
        await load(database.dsn("owner"), SOME, seed=SEED, progress=breaks)
    assert await superuser.fetchval(COUNT) == 0
    assert await fill(database) == SOME


async def test_progress_is_told_as_it_goes_and_ends_with_the_whole(
    database: Database,
) -> None:
    told: list[int] = []
    await load(database.dsn("owner"), SOME, seed=SEED, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == SOME
    assert len(told) > 10


async def test_more_residents_than_there_are_serials_for_are_refused(
    database: Database, superuser: Connection
) -> None:
    with pytest.raises(ValueError, match="at most"):
        await fill(database, Population(SEED).capacity + 1)
    assert await superuser.fetchval(COUNT) == 0
