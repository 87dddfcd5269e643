"""The sealed log, read: its head, its proofs and its receipts."""

import asyncio
import base64
from dataclasses import dataclass
from typing import Final

from gateway.audit import merkle, tree
from gateway.audit.tree import Head
from gateway.postgres import Pool

MOST_LEAVES: Final = 16_384
# Witnesses that anybody may ask for: each number asked for in vain is remembered.
MOST_COSIGNED: Final = 32
# For so long nobody asks again whether the log is as large as it was, or whether a head
# has come to have more cosignatures than any had.
KNOWN_SECONDS: Final = 0.5


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
    """Read by the auditor's role.

    A head that is told is the newest that is committed: whoever asks one worker and then
    another is never told a smaller one, which would look like a log that was rolled back.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        # So many leaves the log has, as was seen; until when that is enough to know.
        self._seen, self._seen_until = 0, 0.0
        # Until when no head is looked for that so many witnesses have cosigned.
        self._in_vain: dict[int, float] = {}

    async def head(self, cosigned: int = 0) -> Head | None:
        """The newest checkpoint that so many witnesses at least have cosigned.

        None before the first, and where there is none among the newest cosignatures,
        all of which have to be read to know it.
        """
        now = asyncio.get_running_loop().time()
        if now < self._in_vain.get(cosigned, now):
            return None
        async with self._pool.acquire() as connection:
            head = await tree.head(connection, cosigned)
        if head is not None:
            self._seen, self._seen_until = head.size, now + KNOWN_SECONDS
        elif cosigned:
            self._in_vain[cosigned] = now + KNOWN_SECONDS
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
        if not sound or not await self._has(size):
            raise BeyondHead

    async def _has(self, size: int) -> bool:
        now = asyncio.get_running_loop().time()
        if now < self._seen_until and size <= self._seen:
            return True
        head = await self.head()
        return head is not None and size <= head.size

    async def receipt(self, found: tuple[bytes, int | None]) -> Receipt | None:
        """The receipt of an entry as Inspection found it; None until it is sealed."""
        entry, leaf_index = found
        head = None if leaf_index is None else await self.head()
        if leaf_index is None or head is None or leaf_index >= head.size:
            return None
        hashes = await self.inclusion(leaf_index, head.size)
        return Receipt(entry, leaf_index, head, hashes)
