"""Batches and single entries beside each other, on a real PostgreSQL."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable
from itertools import chain

import pytest

from gateway.audit.batch import MOST_A_STATEMENT
from gateway.audit.entry import place_of
from gateway.audit.journal import MOST_A_FLUSH_OF_BATCHES
from gateway.postgres import Connection
from gateway.problems import AuditUnavailable
from tests.conftest import Database
from tests.integration.journals import entries, failed, journal_to, now
from tests.integration.wires import wire_to

pytestmark = pytest.mark.integration

# The log has a second to answer; a busy machine takes its time to make the rows before.
NOTICED = 3.0


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


SLOW_COMMIT = """
    CREATE FUNCTION rest_once() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF coalesce(current_setting('test.rested', true), '') = '' THEN
            PERFORM set_config('test.rested', 'once', true), pg_sleep(0.1);
        END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON batches
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rest_once();
"""


async def test_where_commits_are_slow_many_batches_share_one(
    database: Database, superuser: Connection
) -> None:
    await superuser.execute(SLOW_COMMIT)
    batches = [[failed() for _ in range(100)] for _ in range(64)]
    batches.insert(32, [failed() for _ in range(1_000)])
    async with journal_to(database.dsn("hot")) as journal:
        # Four at a time the last would wait for far longer than the log is waited for.
        await asyncio.gather(*map(journal.record_all, batches))
    places = {place_of(str(one.access_id)) for one in chain(*batches)}
    written = {(row["batch"], row["position"]) for row in await entries(superuser)}
    assert len(written) == 7_400
    assert places == written
    commits: Counter[str] = Counter()
    for row in await superuser.fetch("SELECT xmin::text, entries FROM batches"):
        commits[row["xmin"]] += row["entries"]
    assert len(commits) <= 8
    assert max(commits.values()) <= MOST_A_FLUSH_OF_BATCHES


async def unavailable(recorded: Awaitable[None]) -> AuditUnavailable:
    """How recording failed, as it must within a second of asking the log."""
    began = time.perf_counter()
    with pytest.raises(AuditUnavailable) as lost:
        await recorded
    assert time.perf_counter() - began < NOTICED
    return lost.value


@pytest.mark.hurried
@pytest.mark.parametrize("number", [200, 600])
async def test_a_batch_is_given_up_within_a_second_where_the_server_hangs(
    database: Database, superuser: Connection, number: int
) -> None:
    async with (
        wire_to(database.dsn("hot")) as (wire, dsn),
        journal_to(database.dsn("hot"), batches=dsn) as journal,
    ):
        await journal.record_all([failed()])
        wire.heard.clear()
        lost = await unavailable(journal.record_all([failed() for _ in range(number)]))
        # Of one statement nobody can tell; of several none was to be kept before COMMIT.
        assert lost.fate_unknown == (number <= MOST_A_STATEMENT)
        # It says nothing about the way of single entries.
        journal.check()
        await journal.record(failed())
        wire.heard.set()
        await journal.record_all([failed() for _ in range(number)])
    written = len(await entries(superuser))
    assert written in (
        {number + 2, 2 * number + 2} if lost.fate_unknown else {number + 2}
    )


@pytest.mark.hurried
async def test_of_many_batches_nothing_is_kept_where_the_server_hangs_before_commit(
    database: Database, superuser: Connection
) -> None:
    async with (
        wire_to(database.dsn("hot")) as (wire, dsn),
        journal_to(database.dsn("hot"), batches=dsn) as journal,
    ):
        await journal.record_all([failed()])
        wire.heard.clear()
        batches = [[failed() for _ in range(100)] for _ in range(30)]
        batches[0] *= 3
        lost = await asyncio.gather(
            *(unavailable(journal.record_all(batch)) for batch in batches)
        )
        assert not any(one.fate_unknown for one in lost)
        journal.check()
        wire.heard.set()
        await journal.record_all([failed()])
    assert len(await entries(superuser)) == 2


@pytest.mark.hurried
async def test_many_single_entries_are_given_up_within_a_second_as_well(
    database: Database, superuser: Connection
) -> None:
    async with (
        wire_to(database.dsn("hot")) as (wire, dsn),
        journal_to(dsn) as journal,
    ):
        await journal.record(failed())
        wire.heard.clear()
        lost = await asyncio.gather(
            *(unavailable(journal.record(failed())) for _ in range(300))
        )
        assert not any(one.fate_unknown for one in lost)
        wire.heard.set()
        journal.found_writable()
        await journal.record(failed())
    assert len(await entries(superuser)) == 2
