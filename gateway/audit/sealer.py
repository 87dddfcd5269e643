"""The sealer: gives committed batches their leaf numbers and signs the log's head.

One at a time, by an advisory lock that ends with its session. A pass is one
transaction: seals, subtrees and checkpoint appear together or not at all, so that a
crash anywhere leaves the log at an earlier head, and the next sealer goes on from
there with the code of every other pass. What one pass takes was committed before;
batches that commit late are found by looking back.
"""

import asyncio
import hmac
from dataclasses import dataclass
from typing import Final

import asyncpg
import structlog

from gateway import telemetry
from gateway.audit import merkle, tree
from gateway.audit.batch import BatchDigests
from gateway.audit.checkpoint import Checkpoint, Signer
from gateway.audit.entry import (
    BATCH_TIME_SHIFT,
    Place,
    batch_instant,
    leaf_hash,
    line,
)
from gateway.audit.merkle import Frontier, Node
from gateway.audit.rows import read_entry
from gateway.audit.unsealed import Unsealed
from gateway.clock import SECOND, to_datetime
from gateway.postgres import Connection, Link

log = structlog.get_logger()

SQL = tree.SQL
PAUSE: Final = 0.5
MOST_BATCHES: Final = 1000
MOST_SPAN: Final = 10_000 << BATCH_TIME_SHIFT
SUMMARY_SECONDS: Final = 5.0
# Longer than any pass thinks between two statements. A sealer that asks nothing for so
# long is frozen, or its host is gone without a word: the server then ends its session,
# and with it the lock, for which another waits.
FROZEN_SECONDS: Final = 60


class AlteredBatch(Exception):
    """Rows of a batch are not what its worker wrote: somebody must look.

    Nothing is sealed over it. Sealing then lags, which alerts, and at four hours the
    gateway stops answering.
    """


@dataclass(frozen=True, slots=True)
class Batch:
    number: int
    leaves: list[bytes]


class Sealer:
    """Seals one log. `run` goes on for ever, sealing whenever it holds the lock."""

    def __init__(
        self, link: Link, *, origin: str, signer: Signer, digests: BatchDigests
    ) -> None:
        self._link = link
        self._origin = origin
        self._signer = signer
        self._digests = digests
        # Whether the last pass left committed batches to the next.
        self._behind = False
        # Those within MOST_SPAN are sealed together; beyond, one would tell that there are more.
        self._unsealed = Unsealed(span=2 * MOST_SPAN)
        self._summarized_at = -SUMMARY_SECONDS

    async def run(self) -> None:
        async with self._link.connection() as connection:
            await self._prepare(connection)
            # The lock is the database's to give: there is no event to wait for.
            while not await connection.fetchval(SQL["try_to_be_the_sealer"]):  # noqa: ASYNC110 - see above
                await asyncio.sleep(PAUSE)
            log.info("sealing_began")
            frontier = await self.begin(connection)
            while True:
                frontier = await self.seal(connection, frontier)
                # A pass looks back over many batches, so one for every few would take from
                # the calls what it costs.
                if not self._behind:
                    await asyncio.sleep(PAUSE)

    async def _prepare(self, connection: Connection) -> None:
        # Every table here is large, or will be; fresh partitions have no statistics
        # to say so.
        await connection.execute("SET enable_seqscan = off")
        for idle in ("idle_session_timeout", "idle_in_transaction_session_timeout"):
            await connection.execute(f"SET {idle} = '{FROZEN_SECONDS}s'")

    async def begin(self, connection: Connection) -> Frontier:
        """The tree so far; of a log without any entry the head is signed too."""
        if await tree.head(connection) is None:
            await self._keep(connection, Frontier(), [])
        return await self.frontier(connection)

    async def frontier(self, connection: Connection) -> Frontier:
        """The tree's peaks, from what is kept; they must give the signed root."""
        head = await tree.head(connection)
        if head is None:
            return Frontier()
        peaks = await tree.prove(
            connection,
            lambda subtree: [
                subtree(*node) for node in merkle.complete_subtrees(0, head.size)
            ],
        )
        frontier = Frontier(head.size, peaks)
        if frontier.root() != head.root:
            raise AlteredBatch("the kept hashes do not give the signed root")
        return frontier

    async def seal(self, connection: Connection, frontier: Frontier) -> Frontier:
        """One pass: the tree as it is then, committed; as it was if there was nothing."""
        taken = await self._take(connection)
        if not taken:
            return frontier
        grown = frontier.copy()
        first_leaves: list[int] = []
        kept: list[tuple[Node, bytes]] = []
        for batch in taken:
            first_leaves.append(grown.size)
            for leaf in batch.leaves:
                kept += grown.add(leaf, least=tree.KEPT_LEVEL)
        async with connection.transaction():
            await connection.execute(
                SQL["insert_seals"],
                first_leaves,
                [batch.number for batch in taken],
                [b"".join(batch.leaves) for batch in taken],
            )
            await self._keep(connection, grown, kept)
        telemetry.SEALED.inc(grown.size - frontier.size)
        return grown

    async def _keep(
        self,
        connection: Connection,
        grown: Frontier,
        kept: list[tuple[Node, bytes]],
    ) -> None:
        """The subtrees that a pass completed, of those that are kept, and the log's new head."""
        checkpoint = Checkpoint(self._origin, grown.size, grown.root())
        await connection.execute(
            SQL["insert_nodes"],
            [node.level for node, _ in kept],
            [node.number for node, _ in kept],
            [hashed for _, hashed in kept],
        )
        await connection.execute(
            SQL["insert_checkpoint"],
            checkpoint.size,
            checkpoint.root,
            self._signer.sign(checkpoint),
        )

    async def _take(self, connection: Connection) -> list[Batch]:
        """Committed batches that have no leaf numbers, with their leaves, in order."""
        await self._summarize(connection)
        found = await self._unsealed.next(connection, MOST_BATCHES)
        if not found:
            self._behind = False
            return []
        # All entries between the first and the last are read: a batch that is a day
        # late must not bring the day with it.
        first = found[0]["batch"]
        rows = [row for row in found if row["batch"] <= first + MOST_SPAN]
        self._behind = len(rows) < len(found) or len(found) >= MOST_BATCHES
        last = rows[-1]["batch"]
        entries = await connection.fetch(
            SQL["entries_of_batches"],
            first,
            last,
            to_datetime(batch_instant(first) - 60 * SECOND),
            to_datetime(batch_instant(last) + SECOND),
        )
        leaves: dict[int, list[bytes]] = {row["batch"]: [] for row in rows}
        for row in entries:
            held = leaves.get(row["batch"])
            if held is not None:
                place = Place(row["batch"], row["position"])
                held.append(leaf_hash(line(read_entry(row), place)))
        for row in rows:
            self._check(row, leaves[row["batch"]])
        return [Batch(number, held) for number, held in leaves.items()]

    def _check(self, row: asyncpg.Record, leaves: list[bytes]) -> None:
        digest = self._digests.digest(leaves, row["digest_key"])
        if len(leaves) != row["entries"] or not hmac.compare_digest(
            digest, row["digest"]
        ):
            log.critical("altered_batch", batch=row["batch"])
            raise AlteredBatch(f"batch {row['batch']} is not as it was written")

    async def _summarize(self, connection: Connection) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._summarized_at >= SUMMARY_SECONDS:
            self._summarized_at = now
            await connection.execute(SQL["summarize_entries"])
