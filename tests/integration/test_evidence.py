"""A real sealed log, judged by a verifier that shares nothing with it.

The log grows by one leaf to 130, then by batches of any size. At each head receipts
are taken; at the end, proofs under and between all the heads it ever had.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Final

import pytest

from gateway.audit.checkpoint import Signer
from gateway.audit.export import write_export
from gateway.audit.sealed import SealedLog, encoded
from gateway.clock import SECOND
from gateway.postgres import Connection, Pool, pool
from tests.conftest import Database
from tests.evidence.independent import (
    check_export,
    check_grown,
    check_history,
    check_inclusion,
    check_range,
    check_receipt,
)
from tests.evidence.notes import Checkpoint, VerifierKey
from tests.evidence.trees import leaf
from tests.integration import exported, logs
from tests.integration.exported import Log

pytestmark = pytest.mark.integration

KEY: Final = VerifierKey.parse(Signer(logs.ORIGIN, bytes(range(32))).key.text)
ONE_BY_ONE: Final = 130
BATCHES: Final = 30
MILLISECOND: Final = SECOND // 1000


@dataclass
class Growing:
    """The log as it grows: its entries by leaf, and each note it ever showed."""

    log: Log
    auditor: Pool
    chance: Random
    names: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    async def write(self, entries: int) -> None:
        # Batches in the order of their instants, and so of their leaves.
        at = self.log.now + len(self.names) * MILLISECOND
        made = [logs.any_entry(self.chance, at) for _ in range(entries)]
        self.names += await logs.write(self.log.hot, made)

    async def judge_receipts(self) -> None:
        """Those of the first entry, the last and one of all, under the new head."""
        sealed = SealedLog(self.auditor)
        head = await sealed.head()
        assert head is not None
        assert head.size == len(self.names)
        self.notes.append(head.note)
        for index in {0, head.size - 1, self.chance.randrange(head.size)}:
            found = await self.log.inspection.entry(self.names[index])
            assert found is not None
            receipt = await sealed.receipt(found)
            assert receipt is not None
            document = json.loads(json.dumps(receipt.document))
            assert check_receipt(document, [KEY]).size == head.size
            assert json.loads(document["entry"])["access_id"] == self.names[index]
            assert document["leaf_index"] == index


@pytest.fixture
async def grown(
    database: Database, superuser: Connection, hot: Connection
) -> AsyncIterator[Growing]:
    chance = Random(2026)  # noqa: S311 - the same log at every run
    sealing, link = logs.sealer(database)
    async with (
        exported.opened(database, superuser, hot) as log,
        pool(
            database.dsn("auditor"), name="auditor", size=1, statement_seconds=30
        ) as auditor,
        link.connection() as connection,
    ):
        growing = Growing(log, auditor, chance)
        frontier = await sealing.frontier(connection)
        for entries in [1] * ONE_BY_ONE + chance.choices(range(2, 250), k=BATCHES):
            await growing.write(entries)
            frontier = await sealing.seal(connection, frontier)
            await growing.judge_receipts()
        yield growing
    link.drop()


async def test_every_proof_of_a_growing_log_convinces_an_outsider(
    grown: Growing, tmp_path: Path
) -> None:
    lines = await judge_exports(grown, tmp_path)
    assert [json.loads(line)["access_id"] for line in lines] == grown.names
    heads = [*check_history(lines, grown.notes, [KEY])]
    assert [head.size for head in heads[:ONE_BY_ONE]] == [*range(1, ONE_BY_ONE + 1)]
    assert len(heads) == ONE_BY_ONE + BATCHES
    log, leaves = SealedLog(grown.auditor), [leaf(line.encode()) for line in lines]
    for head in heads * 2:
        await judge_inclusion(log, head, leaves, grown.chance)
        await judge_range(log, head, leaves, grown.chance)
    for old, new in pairwise(heads):
        await judge_growth(log, old, new)
    for _ in range(400):
        one, other = sorted(grown.chance.sample(range(len(heads)), 2))
        await judge_growth(log, heads[one], heads[other])


async def judge_exports(grown: Growing, folder: Path) -> list[str]:
    """Exports of each second, and of the whole log, whose lines are given."""
    instants = [grown.log.now + n * SECOND for n in range(4)]
    for from_at, to_at in pairwise(instants):
        await judge_export(grown, folder / str(from_at), from_at, to_at)
    return await judge_export(grown, folder / "all", None, None)


async def judge_export(
    grown: Growing, file: Path, from_at: int | None, to_at: int | None
) -> list[str]:
    extract = await grown.log.exports.find(from_at, to_at)
    assert extract is not None
    await write_export(grown.log.exports, file, extract)
    lines = check_export(file, [KEY])
    assert len(lines) == extract.end - extract.start
    return lines


async def judge_inclusion(
    log: SealedLog, head: Checkpoint, leaves: list[bytes], chance: Random
) -> None:
    index = chance.randrange(head.size)
    path = encoded(await log.inclusion(index, head.size))
    document = {"leaf_index": index, "tree_size": head.size, "hashes": path}
    check_inclusion(document, leaves[index], head)


async def judge_range(
    log: SealedLog, head: Checkpoint, leaves: list[bytes], chance: Random
) -> None:
    start = chance.randrange(head.size)
    end = chance.randint(start + 1, head.size)
    proof = await log.range(start, end, head.size)
    beside = {"left": encoded(proof.left), "right": encoded(proof.right)}
    document = {"start": start, "end": end, "tree_size": head.size, **beside}
    check_range(document, leaves[start:end], head)


async def judge_growth(log: SealedLog, old: Checkpoint, new: Checkpoint) -> None:
    path = encoded(await log.consistency(old.size, new.size))
    check_grown({"from": old.size, "to": new.size, "hashes": path}, old, new)
