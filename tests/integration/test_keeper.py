"""A worker's keeper: a change and its entry are one, in time, on a lasting connection."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
import pytest

from gateway.changes import PATIENCE, Change, Keeper
from gateway.partners import keeping, listing
from gateway.postgres import Connection, Link
from gateway.problems import AuditUnavailable, Fault, InvalidRequest, NotFound
from gateway.settings import NumberedKeys
from gateway.vocabulary import Operation
from tests.conftest import Database
from tests.integration.wires import wire_to

PEPPERS = NumberedKeys({1: b"p" * 32})
WHY = Change(Operation.INSTITUTION_CREATE, "letter 12 of the ministry")
BANK = partial(keeping.create_institution, name="Bank Contoh")


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Keeper]:
    link = Link(dsn, name="admin", statement_seconds=0)
    async with asyncio.TaskGroup() as tasks:
        yield Keeper(link, peppers=PEPPERS, tasks=tasks)
    link.drop()


@pytest.fixture
async def keeper(database: Database) -> AsyncIterator[Keeper]:
    async with opened(database.dsn("admin")) as keeper:
        yield keeper


async def kept(superuser: Connection) -> tuple[int, int]:
    """How many institutions there are, and how many entries."""
    return (
        await superuser.fetchval("SELECT count(*) FROM institutions"),
        await superuser.fetchval("SELECT count(*) FROM entries"),
    )


async def backend(keeper: Keeper) -> int:
    async def ask(connection: Connection) -> int:
        pid: int = await connection.fetchval("SELECT pg_backend_pid()")
        return pid

    return await keeper.lend(ask)


async def test_a_change_and_its_entry_are_made_together(
    keeper: Keeper, superuser: Connection
) -> None:
    first = await keeper.change(WHY, BANK)
    second = await keeper.change(WHY, BANK)
    assert await kept(superuser) == (2, 2)
    assert first.access_id != second.access_id
    found = await keeper.lend(listing.list_institutions)
    assert [one.id for one in found] == [first.result, second.result]


async def test_changes_made_at_once_are_made_one_after_another(
    keeper: Keeper, superuser: Connection
) -> None:
    made = await asyncio.gather(*(keeper.change(WHY, BANK) for _ in range(30)))
    assert len({one.access_id for one in made}) == 30
    assert await kept(superuser) == (30, 30)


async def test_a_refusal_leaves_nothing_behind_and_the_connection_as_it_was(
    keeper: Keeper, superuser: Connection
) -> None:
    before = await backend(keeper)
    with pytest.raises(InvalidRequest):
        await keeper.change(WHY, BANK, [Fault("/reason", "want one")])
    with pytest.raises(InvalidRequest):
        await keeper.change(WHY, partial(keeping.create_institution, name=5))
    with pytest.raises(NotFound):
        await keeper.change(WHY, partial(keeping.revoke_staff, staff=7))
    assert await kept(superuser) == (0, 0)
    assert await backend(keeper) == before
    await keeper.change(WHY, BANK)
    assert await kept(superuser) == (1, 1)


async def test_a_caller_who_leaves_does_not_part_a_change_from_its_entry(
    keeper: Keeper, superuser: Connection
) -> None:
    pauses = (0.0, 0.001, 0.002, 0.004, 0.008)
    for made, pause in enumerate(pauses, 1):
        call = asyncio.ensure_future(keeper.change(WHY, BANK))
        await asyncio.sleep(pause)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        # It was begun, so it runs to its end, as if the caller had stayed.
        assert await kept(superuser) == (made, made)


async def test_a_connection_that_ended_is_made_again(
    keeper: Keeper, superuser: Connection
) -> None:
    ended = await backend(keeper)
    await superuser.execute("SELECT pg_terminate_backend($1, 5000)", ended)
    await asyncio.sleep(0.1)
    await keeper.change(WHY, BANK)
    assert await kept(superuser) == (1, 1)


async def test_a_log_that_is_locked_is_given_up_in_time_and_nothing_is_changed(
    keeper: Keeper, superuser: Connection
) -> None:
    await keeper.change(WHY, BANK)
    async with superuser.transaction():
        await superuser.execute("LOCK TABLE entries IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        waiting = (keeper.change(WHY, BANK) for _ in range(3))
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert time.monotonic() - began < PATIENCE + 0.5
        assert [type(end) for end in ends] == [AuditUnavailable] * 3
    await keeper.change(WHY, BANK)
    assert await kept(superuser) == (2, 2)


async def test_a_server_that_no_longer_answers_is_given_up_in_time(
    database: Database, superuser: Connection
) -> None:
    async with wire_to(database.dsn("admin")) as (wire, dsn), opened(dsn) as keeper:
        await keeper.change(WHY, BANK)
        wire.heard.clear()
        began = time.monotonic()
        with pytest.raises(AuditUnavailable):
            await keeper.change(WHY, BANK)
        assert time.monotonic() - began < PATIENCE + 0.5
    assert await kept(superuser) == (1, 1)


async def test_without_a_connection_nothing_was_sent(database: Database) -> None:
    dsn = database.dsn("admin").replace("gateway_admin", "gateway_nobody")
    async with opened(dsn) as keeper:
        with pytest.raises(AuditUnavailable):
            await keeper.change(WHY, BANK)


async def test_a_fault_of_ours_is_not_taken_for_a_lost_log(keeper: Keeper) -> None:
    async def wrong(connection: Connection) -> str:
        return await connection.execute("INSERT INTO institutions VALUES (1, NULL)")

    async def worse(_: Connection) -> str:
        raise KeyError

    with pytest.raises(asyncpg.NotNullViolationError):
        await keeper.change(WHY, wrong)
    with pytest.raises(KeyError):
        await keeper.change(WHY, worse)
    await keeper.change(WHY, BANK)
