"""The Merkle tree of RFC 9162 §2.1, over hashes that are already there. Pure.

A tree is never in memory: every function takes `subtree(level, number)`, which gives
the hash of the complete subtree of 2**level leaves that begins at leaf
number * 2**level, wherever it is kept.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

Subtree = Callable[[int, int], bytes]


class Node(NamedTuple):
    """The complete subtree of 2**level leaves beginning at leaf number * 2**level."""

    level: int
    number: int


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01, left, right."""
    return sha256(b"\x01" + left + right).digest()


def complete_subtrees(start: int, end: int) -> Iterator[Node]:
    """The fewest complete subtrees that cover the leaves from start to end (exclusive).

    In order from left to right; `start` 0 gives the peaks of a tree of `end` leaves.
    """
    while start < end:
        alignment = (start & -start).bit_length() - 1 if start else end.bit_length()
        level = min(alignment, (end - start).bit_length() - 1)
        yield Node(level, start >> level)
        start += 1 << level


def root(size: int, subtree: Subtree) -> bytes:
    """MTH of the first `size` leaves; of none it is SHA-256 of nothing."""
    if size == 0:
        return sha256(b"").digest()
    return range_hash(0, size, subtree)


def range_hash(start: int, end: int, subtree: Subtree) -> bytes:
    """MTH(D[start:end]), where `start` is a multiple of the smallest 2**k >= its length.

    That holds for every range RFC 9162 asks for: the right part of a split at the
    largest power of two below a size.
    """
    hashes = [subtree(*node) for node in complete_subtrees(start, end)]
    folded = hashes.pop()
    while hashes:
        folded = node_hash(hashes.pop(), folded)
    return folded


def _split(size: int) -> int:
    """The largest power of two smaller than `size` (RFC 9162 §2.1.1)."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """PATH(index, D[size]) of RFC 9162 §2.1.3.1, from the leaf upwards.

    Raises:
        ValueError: unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise ValueError("an inclusion proof is of a leaf in the tree")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_hash(middle, end, subtree))
            end = middle
        else:
            path.append(range_hash(start, middle, subtree))
            start = middle
    return path[::-1]


def consistency_proof(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """PROOF(old, D[new]) of RFC 9162 §2.1.4.1; empty for equal sizes and for old 0.

    Raises:
        ValueError: unless 0 <= old <= new.
    """
    if not 0 <= old <= new:
        raise ValueError("a consistency proof is from a smaller tree to a larger")
    if old in {0, new}:
        return []
    proof: list[bytes] = []
    start, end, whole = 0, new, True
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(range_hash(middle, end, subtree))
            end = middle
        else:
            proof.append(range_hash(start, middle, subtree))
            start, whole = middle, False
    if not whole:
        proof.append(range_hash(start, end, subtree))
    return proof[::-1]


class RangeProof(NamedTuple):
    """The subtree hashes beside a range of leaves, each list from left to right."""

    left: list[bytes]
    right: list[bytes]


def range_proof(start: int, end: int, size: int, subtree: Subtree) -> RangeProof:
    """What, with the leaves from start to end (exclusive), gives the root of `size`.

    `left` are the complete subtrees of the leaves before `start`, largest first, and
    `right` those of the leaves from `end` to `size`, in the order of the leaves.

    Raises:
        ValueError: unless 0 <= start < end <= size.
    """
    if not 0 <= start < end <= size:
        raise ValueError("a range proof is of some leaves of the tree")
    return RangeProof(
        [subtree(*node) for node in complete_subtrees(0, start)],
        [subtree(*node) for node in complete_subtrees(end, size)],
    )


class Frontier:
    """The peaks of a growing tree: enough to extend it and to tell its root."""

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        self.size = size
        self._peaks = list(peaks)

    def add(self, leaf: bytes, *, least: int = 0) -> list[tuple[Node, bytes]]:
        """Appends a leaf; the subtrees that it completes, of that level at least."""
        level, index, hashed = 0, self.size, leaf
        completed = [] if least else [(Node(0, index), leaf)]
        while index & 1:
            hashed = node_hash(self._peaks.pop(), hashed)
            level, index = level + 1, index >> 1
            if level >= least:
                completed.append((Node(level, index), hashed))
        self.size += 1
        self._peaks.append(hashed)
        return completed

    def copy(self) -> "Frontier":
        return Frontier(self.size, self._peaks)

    def root(self) -> bytes:
        peaks = iter(zip(complete_subtrees(0, self.size), self._peaks, strict=True))
        held = dict(peaks)
        return root(self.size, lambda level, number: held[Node(level, number)])
