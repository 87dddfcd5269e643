"""The sealed log, read: its head, its proofs and its receipts."""

import asyncio
import base64
from dataclasses import dataclass
from typing import Final

from gateway.audit import merkle, tree
from gateway.audit.tree import Head
from gateway.postgres import Pool

MOST_LEAVES: Final = 16_384
# Witnesses that anybody may ask for: each number's head is remembered.
MOST_COSIGNED: Final = 32
# A head is never wrong when it is a little old, and everybody asks for it.
HEAD_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Receipt:
    """All that an outsider needs, with the log's key, to know an access is in it."""

    entry: bytes
    leaf_index: int
    head: Head
    hashes: list[bytes]

    @property
    def document(self) -> dict[str, object]:
        """As CONTRACT §4 gives it."""
        return {
            "entry": self.entry.decode(),
            "leaf_index": self.leaf_index,
            "proof": {"tree_size": self.head.size, "hashes": encoded(self.hashes)},
            "checkpoint": self.head.note,
        }


def encoded(hashes: list[bytes]) -> list[str]:
    """Base64 of RFC 4648 §4, padded."""
    return [base64.b64encode(one).decode() for one in hashes]


class BeyondHead(Exception):
    """A size, a leaf or a range that the log does not have yet, or none at all."""


class SealedLog:
    """Read by the auditor's role; a worker's workers share its short-lived head."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        # By how many witnesses; and until when.
        self._heads: dict[int, tuple[float, Head | None]] = {}

    async def head(self, cosigned: int = 0) -> Head | None:
        """The newest checkpoint that so many witnesses at least have cosigned.

        None before the first, and where there is none among the newest cosignatures.
        """
        now = asyncio.get_running_loop().time()
        good_until, head = self._heads.get(cosigned, (now, None))
        if now >= good_until:
            async with self._pool.acquire() as connection:
                head = await tree.head(connection, cosigned)
            self._heads[cosigned] = now + HEAD_SECONDS, head
        return head

    async def inclusion(self, index: int, size: int) -> list[bytes]:
        await self._require(index < size, size)
        async with self._pool.acquire() as connection:
            return await tree.prove(
                connection,
                lambda subtree: merkle.inclusion_proof(index, size, subtree),
            )

    async def consistency(self, old: int, new: int) -> list[bytes]:
        await self._require(old <= new, new)
        async with self._pool.acquire() as connection:
            return await tree.prove(
                connection, lambda subtree: merkle.consistency_proof(old, new, subtree)
            )

    async def range(self, start: int, end: int, size: int) -> merkle.RangeProof:
        await self._require(start < end <= size, size)
        async with self._pool.acquire() as connection:
            return await tree.prove(
                connection,
                lambda subtree: merkle.range_proof(start, end, size, subtree),
            )

    async def leaves(self, start: int, end: int) -> bytes:
        """Leaf hashes of 32 bytes each, at most MOST_LEAVES."""
        await self._require(start < end <= start + MOST_LEAVES, end)
        async with self._pool.acquire() as connection:
            return b"".join(await tree.leaves(connection, start, end))

    async def _require(self, sound: bool, size: int) -> None:  # noqa: FBT001 - a condition
        head = await self.head()
        if head is not None and size > head.size:
            # Somebody has seen a head that is newer than ours.
            self._heads.clear()
            head = await self.head()
        if not sound or head is None or size > head.size:
            raise BeyondHead

    async def receipt(self, found: tuple[bytes, int | None]) -> Receipt | None:
        """The receipt of an entry as Inspection found it; None until it is sealed."""
        entry, leaf_index = found
        head = await self.head()
        if leaf_index is not None and (head is None or leaf_index >= head.size):
            self._heads.clear()
            head = await self.head()
        if leaf_index is None or head is None or leaf_index >= head.size:
            return None
        hashes = await self.inclusion(leaf_index, head.size)
        return Receipt(entry, leaf_index, head, hashes)
