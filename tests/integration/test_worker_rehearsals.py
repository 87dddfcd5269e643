"""A worker rehearses as the command line does, a bounded number, in small steps."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway import rehearsing
from gateway.postgres import Connection, pool
from gateway.problems import InvalidRequest, NotFound
from gateway.rehearsing import Asked, Rehearsals, rehearse
from tests.conftest import Database
from tests.integration import logs
from tests.integration.test_rehearsal import (
    AGREED,
    BANK,
    DAY,
    HOUR,
    NOON,
    make_bank,
    make_keys,
    write_in_any_order,
)

pytestmark = pytest.mark.integration

ASKED = Asked(BANK, AGREED, NOON - DAY, NOON + 4 * DAY)


@pytest.fixture
async def rehearsals(database: Database) -> AsyncIterator[Rehearsals]:
    dsn = database.dsn("auditor")
    async with pool(dsn, name="test", size=2, statement_seconds=30) as auditor:
        yield Rehearsals(auditor)


@pytest.fixture
async def bank(admin: Connection, superuser: Connection) -> None:
    await make_bank(admin, **AGREED)
    await make_keys(superuser)


@pytest.mark.usefixtures("bank")
async def test_it_finds_what_the_command_line_finds(
    rehearsals: Rehearsals,
    hot: Connection,
    superuser: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Small, so that pages and steps end amid the calls of an instant.
    monkeypatch.setattr(rehearsing, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(rehearsing, "CALLS_AT_ONCE", 3)
    await write_in_any_order(hot, seed=36)
    whole = await rehearse(superuser, ASKED, lambda *_: None)
    assert whole is not None
    assert whole.document["refused"] != 0
    assert (await rehearsals.rehearse(ASKED)).document == whole.document


@pytest.mark.usefixtures("bank")
async def test_others_have_their_turn_while_one_entry_of_many_calls_is_replayed(
    rehearsals: Rehearsals, hot: Connection
) -> None:
    await logs.write(hot, [logs.refusal(NOON, BANK, 20_000)])
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        meanwhile = tasks.create_task(others())
        found = await rehearsals.rehearse(ASKED)
        meanwhile.cancel()
    assert found.document["calls"] == 20_000
    assert turns >= 20_000 / rehearsing.CALLS_AT_ONCE


@pytest.mark.usefixtures("bank")
async def test_what_it_cannot_do_it_says(
    rehearsals: Rehearsals, hot: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidRequest) as nothing:
        await rehearsals.rehearse(ASKED)
    assert nothing.value.faults[0].detail == rehearsing.NOTHING
    for hour in range(3):
        await logs.write(hot, [logs.answer(NOON + hour * HOUR, BANK)] * 20)
    monkeypatch.setattr(rehearsing, "MOST_CALLS", 59)
    with pytest.raises(InvalidRequest) as many:
        await rehearsals.rehearse(ASKED)
    assert many.value.faults[0].pointer == "/from"
    assert many.value.faults[0].detail == rehearsing.TOO_MANY
    monkeypatch.setattr(rehearsing, "MOST_CALLS", 60)
    assert (await rehearsals.rehearse(ASKED)).document["calls"] == 60
    with pytest.raises(NotFound):
        await rehearsals.rehearse(Asked(999, AGREED, NOON, None))
