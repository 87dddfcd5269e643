"""The sealer over a real database: every entry gets one leaf, and heads agree."""

import asyncio
import secrets
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any

import asyncpg
import pytest

from gateway.audit import merkle, tree, unsealed
from gateway.audit import sealer as sealing_module
from gateway.audit.batch import BatchDigests, append
from gateway.audit.checkpoint import Signer
from gateway.audit.entry import Entry, batch_number, parse_address
from gateway.audit.merkle import Frontier
from gateway.audit.sealer import AlteredBatch, Sealer
from gateway.clock import SECOND, from_datetime
from gateway.postgres import SERVER_GONE, Connection, Link
from gateway.settings import NumberedKeys
from gateway.vocabulary import Actor, Operation, Outcome, Reason
from tests.conftest import Database

PEPPERS = NumberedKeys({1: bytes(32)})
ORIGIN = "log.example/residents"


def refusal(at: int) -> Entry:
    return Entry(
        at=at,
        actor=Actor.UNIDENTIFIED,
        outcome=Outcome.REFUSED,
        reason=Reason.UNAUTHENTICATED,
        operation=Operation.VERIFY,
        address=parse_address("192.0.2.1"),
    )


async def write(database: Database, batches: list[int], seconds_late: int = 0) -> int:
    """Batches of these sizes, committed so long after they were numbered; the entries written."""
    hot = await asyncpg.connect(database.dsn("hot"))
    now = from_datetime(await hot.fetchval("SELECT clock_timestamp()"))
    now -= seconds_late * SECOND
    for n, size in enumerate(batches):
        at = now + n * SECOND // 100
        number = batch_number(at, secrets.randbelow(2048), n % 1024)
        entries = [refusal(at)] * size
        async with hot.transaction():
            await append(hot, number, entries, BatchDigests(PEPPERS))
    await hot.close()
    return sum(batches)


def sealer(database: Database) -> tuple[Sealer, Link]:
    link = Link(database.dsn("sealer"), name="sealer", statement_seconds=30)
    signer = Signer(ORIGIN, bytes(range(32)))
    return (
        Sealer(link, origin=ORIGIN, signer=signer, digests=BatchDigests(PEPPERS)),
        link,
    )


async def test_every_committed_entry_gets_a_leaf_and_every_proof_verifies(
    database: Database,
) -> None:
    total = await write(database, [1, 5, 300, 2, 700, 33])
    sealing, link = sealer(database)
    async with link.connection() as connection:
        frontier = await sealing.frontier(connection)
        first = await sealing.seal(connection, frontier)
        assert first.size == total
        total += await write(database, [41, 1, 7])
        # Another sealer goes on from what is kept alone.
        resumed = await sealing.frontier(connection)
        grown = await sealing.seal(connection, resumed)
        head = await tree.head(connection)
        assert head is not None
        assert (head.size, head.root) == (total, grown.root())
        leaves = await tree.leaves(connection, 0, total)
        assert len(leaves) == total
        for index in (0, 255, 256, 700, total - 1):
            path = await tree.prove(
                connection, partial(merkle.inclusion_proof, index, total)
            )
            assert climbs_to(index, total, leaves[index], path) == head.root
    link.drop()


def climbs_to(index: int, size: int, leaf: bytes, path: list[bytes]) -> bytes:
    """RFC 9162 §2.1.3.2, written from its text."""
    fn, sn, r = index, size - 1, leaf
    for p in path:
        assert sn > 0
        if fn & 1 or fn == sn:
            r = merkle.node_hash(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = merkle.node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0
    return r


@pytest.mark.parametrize("altered", ["'198.51.100.9'", "set_masklen(address, 24)"])
async def test_a_row_altered_between_commit_and_seal_stops_the_sealing(
    database: Database, altered: str
) -> None:
    await write(database, [3, 4])
    superuser = await asyncpg.connect(database.dsn("superuser"))
    await superuser.execute(
        f"UPDATE entries SET address = {altered} WHERE position = 2"
    )
    await superuser.close()
    sealing, link = sealer(database)
    async with link.connection() as connection:
        with pytest.raises(AlteredBatch):
            await sealing.seal(connection, await sealing.frontier(connection))
        assert await tree.head(connection) is None
    link.drop()


async def test_a_row_removed_between_commit_and_seal_stops_the_sealing(
    database: Database,
) -> None:
    await write(database, [3])
    superuser = await asyncpg.connect(database.dsn("superuser"))
    await superuser.execute("DELETE FROM entries WHERE position = 1")
    await superuser.close()
    sealing, link = sealer(database)
    async with link.connection() as connection:
        with pytest.raises(AlteredBatch):
            await sealing.seal(connection, await sealing.frontier(connection))
    link.drop()


async def test_two_sealers_that_both_believe_they_hold_the_lock_give_no_number_twice(
    database: Database,
) -> None:
    total = await write(database, [10, 20, 30])
    (one, link), (other, beside) = sealer(database), sealer(database)
    async with link.connection() as first, beside.connection() as second:
        begun = await other.frontier(second)
        grown = await one.seal(first, await one.frontier(first))
        await write(database, [5])
        with pytest.raises(asyncpg.UniqueViolationError):
            await other.seal(second, begun)
        assert (await one.seal(first, grown)).size == total + 5
    link.drop()
    beside.drop()


async def test_a_sealer_that_is_silent_for_long_loses_the_lock_to_another(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing_module, "FROZEN_SECONDS", 1)
    (frozen, link), (other, beside) = sealer(database), sealer(database)
    holding, thawed = asyncio.Event(), asyncio.Event()

    async def freeze(connection: Connection, frontier: Frontier) -> Frontier:
        holding.set()
        await thawed.wait()
        return await Sealer.seal(frozen, connection, frontier)

    monkeypatch.setattr(frozen, "seal", freeze)
    total = await write(database, [3, 4])
    async with asyncio.TaskGroup() as tasks:
        stuck = tasks.create_task(ended_by_the_server(frozen))
        await holding.wait()
        going = tasks.create_task(other.run())
        await sealed(database, total)
        thawed.set()
        await stuck
        await sealed(database, total + await write(database, [5]))
        going.cancel()
    link.drop()
    beside.drop()


async def ended_by_the_server(sealing: Sealer) -> None:
    with pytest.raises(SERVER_GONE):
        await sealing.run()


async def sealed(database: Database, total: int) -> None:
    """Waits until the log has so many leaves, and fails if it ever has more."""
    auditor = await asyncpg.connect(database.dsn("auditor"))
    async with asyncio.timeout(10):
        while (head := await tree.head(auditor)) is None or head.size < total:  # noqa: ASYNC110 - no event tells of a head
            await asyncio.sleep(0.05)
    assert head.size == total
    await auditor.close()


async def test_a_sealer_that_is_behind_does_not_rest_between_passes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing_module, "MOST_BATCHES", 10)
    monkeypatch.setattr(sealing_module, "PAUSE", 30)
    total = await write(database, [2] * 25)
    assert await heads_while(database, sealed(database, total)) == 3


async def test_a_sealer_rests_between_passes_while_entries_keep_coming(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing_module, "PAUSE", 1)

    async def keep_writing() -> None:
        # In one go, so that no pass is ever over before the next batch is there.
        ends = time.monotonic() + 2.5
        while time.monotonic() < ends:
            await write(database, [1] * 100)

    assert 1 < await heads_while(database, keep_writing()) < 6


@pytest.mark.parametrize(
    ("looks", "lateness"),
    [
        ({}, [8, 9]),
        ({"LOOK_SECONDS": 0.3}, [100, 15, 115]),
        ({"SWEEP_SECONDS": 0.3}, [36 * 3600, 125, 3600, 40 * 3600]),
    ],
)
async def test_a_batch_gets_its_leaves_however_late_it_is_committed(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    looks: dict[str, float],
    lateness: list[int],
) -> None:
    # Each look alone: the others are had at the start, and no more.
    for name in ("LOOK_SECONDS", "SWEEP_SECONDS"):
        monkeypatch.setattr(unsealed, name, looks.get(name, 9999.0))
    monkeypatch.setattr(sealing_module, "PAUSE", 0.05)
    total = await write(database, [3])

    async def come_late() -> None:
        nonlocal total
        await sealed(database, total)
        for seconds in lateness:
            total += await write(database, [2, 1], seconds_late=seconds)
            await sealed(database, total)

    assert await heads_while(database, come_late()) > len(lateness)


async def heads_while(database: Database, work: Coroutine[Any, Any, None]) -> int:
    """How many heads a sealer signs while the work is done."""
    sealing, link = sealer(database)
    auditor = await asyncpg.connect(database.dsn("auditor"))
    async with asyncio.TaskGroup() as tasks:
        going = tasks.create_task(sealing.run())
        await work
        going.cancel()
    heads: int = await auditor.fetchval(
        "SELECT count(*) FROM checkpoints WHERE size > 0"
    )
    await auditor.close()
    link.drop()
    return heads
