"""Batches and single entries beside each other, on a real PostgreSQL."""

import asyncio
from itertools import chain

import pytest

from gateway.audit.entry import place_of
from gateway.postgres import Connection
from tests.conftest import Database
from tests.integration.journals import entries, failed, journal_to, now
from tests.integration.wires import wire_to

pytestmark = pytest.mark.integration


async def test_beside_batches_no_entry_is_named_twice(
    database: Database, superuser: Connection
) -> None:
    async with journal_to(database.dsn("hot")) as journal:
        at = now()
        accesses = [failed(at) for _ in range(3_500)]
        batches = [[failed(at) for _ in range(500)] for _ in range(4)]
        await asyncio.gather(
            *map(journal.record, accesses), *map(journal.record_all, batches)
        )
    names = {one.access_id for one in [*accesses, *chain(*batches)]}
    assert len(names) == 5_500
    assert len(await entries(superuser)) == 5_500


async def test_a_single_entry_is_written_while_those_of_a_batch_hang(
    database: Database, superuser: Connection
) -> None:
    hot = database.dsn("hot")
    async with (
        wire_to(hot) as (wire, dsn),
        journal_to(hot, batches=dsn) as journal,
        asyncio.TaskGroup() as tasks,
    ):
        wire.heard.clear()
        batch = [failed() for _ in range(600)]
        hanging = tasks.create_task(journal.record_all(batch))
        await asyncio.sleep(0.1)
        single = failed()
        await journal.record(single)
        assert single.access_id is not None
        assert len(await entries(superuser)) == 1
        assert not hanging.done()
        wire.heard.set()
    # One batch of the log, although it took several statements.
    places = [place_of(str(one.access_id)) for one in batch]
    assert [one.position for one in places if one] == list(range(600))
    assert len({one.batch for one in places if one}) == 1
    assert len(await entries(superuser)) == 601
