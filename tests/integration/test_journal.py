"""The journal on a real PostgreSQL: together, cut off, read-only, away and back."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.audit.access import Access
from gateway.audit.entry import KeyName, place_of
from gateway.audit.journal import PATIENCE, Journal
from gateway.audit.subject import Subject
from gateway.clock import SECOND, from_datetime
from gateway.postgres import Connection
from gateway.problems import (
    AuditUnavailable,
    Forbidden,
    RegistryUnavailable,
    ResidentNotFound,
)
from gateway.vocabulary import Actor, Operation, Outcome, Reason
from tests.conftest import Database
from tests.integration.journals import HOME, entries, failed, journal_to, now
from tests.integration.wires import wire_to

pytestmark = pytest.mark.integration

# The contract: 503 within a second.
NOTICED = 1.0


@pytest.fixture
async def journal(database: Database) -> AsyncIterator[Journal]:
    async with journal_to(database.dsn("hot")) as one:
        yield one


def impossible() -> Access:
    """An access that the schema refuses to hold: an institution without its id."""
    return Access(Operation.VERIFY, HOME, actor=Actor.INSTITUTION, outcome=Outcome.DONE)


async def unavailable(journal: Journal, *, after: float = 0.0) -> AuditUnavailable:
    """How recording failed, as it must within a second."""
    await asyncio.sleep(after)
    began = time.perf_counter()
    with pytest.raises(AuditUnavailable) as lost:
        await journal.record(failed())
    assert time.perf_counter() - began < NOTICED
    return lost.value


async def writable_again(journal: Journal, superuser: Connection) -> None:
    journal.found_writable()
    before = len(await entries(superuser))
    await journal.record(failed())
    assert len(await entries(superuser)) == before + 1


async def test_entries_recorded_at_once_share_flushes_and_no_name(
    journal: Journal, superuser: Connection
) -> None:
    accesses = [failed() for _ in range(400)]
    async with asyncio.TaskGroup() as callers:
        for access in accesses:
            callers.create_task(journal.record(access))
    rows = {(row["batch"], row["position"]) for row in await entries(superuser)}
    assert len(rows) == 400
    assert await superuser.fetchval("SELECT count(*) FROM batches") <= 5
    assert {place_of(str(access.access_id)) for access in accesses} == rows


async def test_a_batch_holds_its_entries_in_the_order_of_their_instants(
    journal: Journal, superuser: Connection
) -> None:
    began = now()
    seconds = [5, 1, 4, 4, 0, 3, 2]
    await asyncio.gather(*(journal.record(failed(began + s * SECOND)) for s in seconds))
    rows = await entries(superuser)
    assert len({row["batch"] for row in rows}) == 1
    written = [(from_datetime(row["at"]) - began) // SECOND for row in rows]
    assert written == sorted(seconds)


async def test_entries_over_a_minute_apart_go_to_two_batches_of_one_transaction(
    journal: Journal, superuser: Connection
) -> None:
    began = now()
    accesses = [failed(began), failed(began - 70 * SECOND), failed(began - SECOND)]
    await asyncio.gather(*map(journal.record, accesses))
    rows = await superuser.fetch(
        "SELECT xmin::text, entries FROM batches ORDER BY batch"
    )
    assert [row["entries"] for row in rows] == [1, 2]
    assert len({row["xmin"] for row in rows}) == 1
    places = [place_of(str(access.access_id)) for access in accesses]
    at = {
        (row["batch"], row["position"]): from_datetime(row["at"])
        for row in await entries(superuser)
    }
    assert [at[place] for place in places if place] == [
        access.at for access in accesses
    ]


async def test_each_worker_draws_a_number_of_its_own(
    database: Database, superuser: Connection
) -> None:
    at = now()
    for _ in range(3):
        async with journal_to(database.dsn("hot")) as journal:
            await journal.record(failed(at))
    numbers = {row["batch"] >> 10 & 2047 for row in await entries(superuser)}
    assert len(numbers) == 3


async def test_without_a_connection_an_entry_is_known_not_to_be_written() -> None:
    nobody = "postgres://gateway_hot:x@127.0.0.1:1/gateway"
    async with journal_to(nobody) as journal:
        assert not (await unavailable(journal)).fate_unknown


@pytest.mark.hurried
async def test_a_connection_that_hangs_while_it_is_made_has_written_nothing(
    database: Database, superuser: Connection
) -> None:
    async with wire_to(database.dsn("hot")) as (wire, dsn), journal_to(dsn) as journal:
        wire.heard.clear()
        assert not (await unavailable(journal)).fate_unknown
        wire.heard.set()
        await writable_again(journal, superuser)


@pytest.mark.hurried
async def test_a_hang_before_the_first_entry_was_sent_has_written_nothing(
    database: Database, superuser: Connection
) -> None:
    async with wire_to(database.dsn("hot")) as (wire, dsn), journal_to(dsn) as journal:
        # Connected, but the worker's number, which is asked first, never comes.
        await journal._links[0].ready()
        wire.heard.clear()
        assert not (await unavailable(journal)).fate_unknown
        wire.heard.set()
        assert await entries(superuser) == []


@pytest.mark.hurried
async def test_an_answer_that_never_comes_leaves_the_fate_of_its_entry_unknown(
    database: Database, superuser: Connection
) -> None:
    async with wire_to(database.dsn("hot")) as (wire, dsn), journal_to(dsn) as journal:
        await journal.record(failed())
        wire.heard.clear()
        assert (await unavailable(journal)).fate_unknown
        # And this is why: it is in the log.
        assert len(await entries(superuser)) == 2
        wire.heard.set()
        await writable_again(journal, superuser)


@pytest.mark.hurried
async def test_a_call_that_waited_behind_a_hanging_flush_is_known_to_be_undone(
    database: Database, superuser: Connection
) -> None:
    async with wire_to(database.dsn("hot")) as (wire, dsn), journal_to(dsn) as journal:
        await journal.record(failed())
        wire.heard.clear()
        first, second = await asyncio.gather(
            unavailable(journal),
            unavailable(journal, after=PATIENCE / 4),
        )
        assert first.fate_unknown
        # Its own flush never got a connection, so it was never sent.
        assert len(await entries(superuser)) == 2
        assert not second.fate_unknown


@asynccontextmanager
async def locked(superuser: Connection) -> AsyncIterator[None]:
    """Holds every statement of the journal up until the end."""
    async with superuser.transaction():
        await superuser.execute("LOCK TABLE batches IN ACCESS EXCLUSIVE MODE")
        yield


END_JOURNALS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'gateway-journal' AND datname = current_database()
"""


async def test_a_connection_ended_mid_statement_leaves_the_fate_unknown(
    journal: Journal, superuser: Connection
) -> None:
    await journal.record(failed())
    async with locked(superuser), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(unavailable(journal))
        await asyncio.sleep(0.1)
        await superuser.execute(END_JOURNALS)
    assert waiting.result().fate_unknown
    await writable_again(journal, superuser)


async def test_a_wire_cut_mid_statement_leaves_the_fate_unknown(
    database: Database, superuser: Connection
) -> None:
    async with wire_to(database.dsn("hot")) as (wire, dsn), journal_to(dsn) as journal:
        await journal.record(failed())
        wire.heard.clear()
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(unavailable(journal))
            await asyncio.sleep(0.1)
            wire.cut()
        assert len(await entries(superuser)) == 2
        assert waiting.result().fate_unknown
        await writable_again(journal, superuser)


async def test_a_connection_that_ended_while_idle_costs_no_entry_twice(
    journal: Journal, superuser: Connection
) -> None:
    await journal.record(failed())
    await superuser.execute(END_JOURNALS)
    await asyncio.sleep(0.1)
    await writable_again(journal, superuser)


async def test_in_a_read_only_database_an_entry_is_known_not_to_be_written(
    database: Database, superuser: Connection
) -> None:
    role = f"ALTER ROLE gateway_hot IN DATABASE {database.name}"
    await superuser.execute(f"{role} SET default_transaction_read_only = on")
    async with journal_to(database.dsn("hot")) as journal:
        assert not (await unavailable(journal)).fate_unknown
    assert await entries(superuser) == []


async def loss(journal: Journal, access: Access) -> AuditUnavailable | None:
    try:
        await journal.record(access)
    except AuditUnavailable as lost:
        return lost
    return None


async def test_a_failed_flush_fails_its_own_entries_alone(
    journal: Journal, superuser: Connection
) -> None:
    async with asyncio.TaskGroup() as tasks, locked(superuser):
        # One is under way while the others gather behind it.
        first = tasks.create_task(loss(journal, impossible()))
        await asyncio.sleep(0.1)
        others = [tasks.create_task(loss(journal, failed())) for _ in range(5)]
        await asyncio.sleep(0)
    lost = first.result()
    assert lost is not None
    assert not lost.fate_unknown
    assert [other.result() for other in others] == [None] * 5
    assert len(await entries(superuser)) == 5
    # Its entries were at fault and not the log: calls go on.
    journal.check()


@pytest.mark.hurried
async def test_while_the_log_is_known_to_be_away_calls_end_before_they_begin(
    database: Database, superuser: Connection
) -> None:
    async with wire_to(database.dsn("hot")) as (wire, dsn), journal_to(dsn) as journal:
        await journal.record(failed())
        wire.heard.clear()
        await unavailable(journal)
        with pytest.raises(AuditUnavailable) as refused:
            await leave(journal, failed(), None)
        assert not refused.value.fate_unknown
        wire.heard.set()
        await writable_again(journal, superuser)
        await leave(journal, failed(), None)


async def leave(journal: Journal, access: Access, error: BaseException | None) -> None:
    async with journal.recording(access):
        if error is not None:
            raise error


WAYS_OUT: list[tuple[BaseException | None, Outcome, Reason | None]] = [
    (None, Outcome.DONE, None),
    (Forbidden(), Outcome.REFUSED, Reason.FORBIDDEN),
    (ResidentNotFound(), Outcome.NOT_FOUND, Reason.RESIDENT_NOT_FOUND),
    (RegistryUnavailable(), Outcome.FAILED, Reason.REGISTRY_UNAVAILABLE),
    (ZeroDivisionError(), Outcome.FAILED, Reason.INTERNAL_ERROR),
    (asyncio.CancelledError(), Outcome.FAILED, None),
]


@pytest.mark.parametrize(
    ("error", "outcome", "reason"), WAYS_OUT, ids=lambda one: type(one).__name__
)
async def test_every_way_out_of_a_call_leaves_exactly_one_entry(
    journal: Journal,
    superuser: Connection,
    error: BaseException | None,
    outcome: Outcome,
    reason: Reason | None,
) -> None:
    access = failed()
    access.outcome, access.reason = Outcome.DONE, None
    if isinstance(error, ResidentNotFound):
        access.actor, access.institution = Actor.INSTITUTION, 5
        access.key, access.subject = KeyName(7, "Ab3dE6gH"), Subject(1, 2, 1)
    if error is None:
        await leave(journal, access, None)
    else:
        with pytest.raises(type(error)):
            await leave(journal, access, error)
    (row,) = await entries(superuser)
    assert (row["outcome"], row["reason"]) == (outcome, reason)
    assert place_of(str(access.access_id)) == (row["batch"], row["position"])


def refusal(journal: Journal) -> Access:
    access = failed(journal._clock.now())
    access.outcome, access.reason = Outcome.REFUSED, Reason.UNAUTHENTICATED
    return access


async def counts(superuser: Connection) -> list[int]:
    return sorted(row["count"] or 1 for row in await entries(superuser))


async def test_a_flood_waits_for_nothing_and_its_count_is_in_the_log_once_drained(
    journal: Journal, superuser: Connection
) -> None:
    refusals = [refusal(journal) for _ in range(60)]
    await asyncio.gather(*map(journal.record, refusals))
    assert sum(access.access_id is not None for access in refusals) == 10
    assert await counts(superuser) == [1] * 10
    await journal.drain_floods()
    assert await counts(superuser) == [1] * 10 + [50]


async def test_counts_that_could_not_be_written_are_written_later(
    database: Database, superuser: Connection
) -> None:
    async with wire_to(database.dsn("hot")) as (wire, dsn), journal_to(dsn) as journal:
        for _ in range(13):
            await journal.record(refusal(journal))
        wire.cut()
        wire.heard.clear()
        await journal.drain_floods()
        assert await counts(superuser) == [1] * 10
        wire.heard.set()
        await journal.drain_floods()
        assert await counts(superuser) == [1] * 10 + [3]
