"""The log's head as several workers tell it, each by a SealedLog of its own."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import asyncpg
import pytest

from gateway.audit.inspection import Criteria, Inspection
from gateway.audit.sealed import BeyondHead, SealedLog
from gateway.audit.tree import Head
from gateway.postgres import Pool, pool
from tests.conftest import Database
from tests.integration.witnesses import COSIGNER, NAME, WatchedLog

pytestmark = pytest.mark.integration


class Workers(NamedTuple):
    """Two that read the same log."""

    log: WatchedLog
    auditor: Pool
    one: SealedLog
    other: SealedLog

    async def grow(self) -> Head:
        """The log has another entry; its new head."""
        await self.log.write(1)
        return await self.log.seal()

    async def cosign(self, head: Head) -> None:
        """As a courier keeps it."""
        sealer = await asyncpg.connect(self.log.dsn)
        await sealer.execute(
            "INSERT INTO cosignatures (size, witness, line) VALUES ($1, $2, $3)",
            *(head.size, NAME, COSIGNER.cosign(head.note, 1_800_000_000)),
        )
        await sealer.close()


@pytest.fixture
async def workers(database: Database) -> AsyncIterator[Workers]:
    async with pool(
        database.dsn("auditor"), name="auditor", size=2, statement_seconds=30
    ) as auditor:
        log = WatchedLog(database)
        yield Workers(log, auditor, SealedLog(auditor), SealedLog(auditor))


async def test_no_worker_tells_a_smaller_head_than_another_has_told(
    workers: Workers,
) -> None:
    for _ in range(3):
        head = await workers.grow()
        assert await workers.one.head() == head
        assert await workers.other.head() == head


async def test_no_worker_tells_a_smaller_cosigned_head_than_another_has_told(
    workers: Workers,
) -> None:
    for _ in range(3):
        head = await workers.grow()
        await workers.cosign(head)
        for worker in (workers.one, workers.other):
            told = await worker.head(cosigned=1)
            assert told is not None
            assert told.size == head.size
        assert await workers.one.head(cosigned=2) is None


async def test_a_receipt_is_under_the_newest_head(workers: Workers) -> None:
    await workers.grow()
    page = await Inspection(workers.auditor).page(Criteria(), None, 1)
    for _ in range(2):
        receipt = await workers.one.receipt(page.entries[0])
        assert receipt is not None
        assert receipt.head == await workers.other.head()
        await workers.grow()


async def test_a_worker_proves_at_once_under_a_head_that_another_has_told(
    workers: Workers,
) -> None:
    first = await workers.grow()
    assert await workers.one.inclusion(0, first.size) == []
    second = await workers.grow()
    assert len(await workers.one.inclusion(0, second.size)) == 1
    with pytest.raises(BeyondHead):
        await workers.one.inclusion(0, second.size + 1)
