"""A log without any entry has a head too, and every later one has grown from it."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.audit import tree
from gateway.audit.courier import Courier, KnownWitness
from gateway.audit.export import Exports
from gateway.audit.sealed import BeyondHead, SealedLog, encoded
from gateway.audit.tree import Head
from gateway.embedded.history import History
from gateway.postgres import Connection, Pool, pool
from tests.conftest import Database
from tests.evidence.independent import check_grown
from tests.evidence.notes import VerifierKey, opened
from tests.integration.witnesses import COSIGNER, SIGNER, WatchedLog

pytestmark = pytest.mark.integration

KEY = VerifierKey.parse(SIGNER.key.text)


@pytest.fixture
def log(database: Database) -> WatchedLog:
    return WatchedLog(database)


@pytest.fixture
async def auditor(database: Database) -> AsyncIterator[Pool]:
    async with pool(
        database.dsn("auditor"), name="auditor", size=1, statement_seconds=30
    ) as held:
        yield held


async def begin(log: WatchedLog) -> Head:
    """What a sealer does before its first pass, and the head then."""
    link = log.link("sealer")
    async with link.connection() as connection:
        frontier = await log.sealer(link).begin(connection)
        head = await tree.head(connection)
    link.drop()
    assert head is not None
    assert (head.size, head.root) == (frontier.size, frontier.root())
    return head


async def test_a_running_sealer_signs_the_head_of_an_empty_log(
    log: WatchedLog, auditor: Pool
) -> None:
    sealed, link = SealedLog(auditor), log.link("sealer")
    async with asyncio.TaskGroup() as tasks:
        going = tasks.create_task(log.sealer(link).run())
        async with asyncio.timeout(10):
            while (head := await sealed.head()) is None:  # noqa: ASYNC110 - another session's commit
                await asyncio.sleep(0.05)
        going.cancel()
    link.drop()
    assert (head.size, head.root) == (0, sha256(b"").digest())
    assert opened(head.note, [KEY]).root == head.root


async def test_it_is_signed_once_and_every_later_head_has_grown_from_it(
    log: WatchedLog, auditor: Pool, superuser: Connection
) -> None:
    empty = await begin(log)
    assert await begin(log) == empty
    await log.write(3)
    grown = await log.seal()
    assert await begin(log) == grown
    path = encoded(await SealedLog(auditor).consistency(0, 3))
    proof = {"from": 0, "to": 3, "hashes": path}
    check_grown(proof, opened(empty.note, [KEY]), opened(grown.note, [KEY]))
    assert await superuser.fetchval("SELECT count(*) FROM checkpoints") == 2


async def test_under_it_there_is_nothing(
    log: WatchedLog, auditor: Pool, tmp_path: Path
) -> None:
    await begin(log)
    await log.write(1)
    sealed = SealedLog(auditor)
    assert await sealed.consistency(0, 0) == []
    for asked in (
        sealed.consistency(0, 1),
        sealed.inclusion(0, 0),
        sealed.inclusion(0, 1),
        sealed.range(0, 0, 0),
        sealed.range(0, 1, 1),
        sealed.leaves(0, 0),
        sealed.leaves(0, 1),
    ):
        with pytest.raises(BeyondHead):
            await asked
    assert await sealed.receipt((b"{}", None)) is None
    assert await Exports(auditor).find(None, None) is None
    assert await History(auditor, [SIGNER.key], tmp_path).look() == []


async def test_no_witness_is_brought_it(log: WatchedLog) -> None:
    await begin(log)
    link = log.link("courier")
    courier = Courier(link, KnownWitness("http://127.0.0.1:1", COSIGNER.key))
    async with link.connection() as connection:
        assert await courier._next(connection) is None
        await log.write(1)
        assert await courier._next(connection) is None
        head = await log.seal()
        assert await courier._next(connection) == head
    link.drop()
