"""Leaf hashes folded to the root of the log: RFC 9162 §2.1.1, for verifiers. Pure.

Written apart from merkle.py, which makes the proofs: what verifies must not share a
mistake with what is verified.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

HASH: Final = 32


class Subtree(NamedTuple):
    """A complete subtree: its 2**level leaves begin at leaf number * 2**level."""

    level: int
    number: int
    hash: bytes


def leaf_hashes(lines: Iterable[bytes]) -> bytes:
    """SHA-256 of 0x00 and each line, 32 bytes each, one after another."""
    return b"".join([sha256(b"\x00" + line).digest() for line in lines])


def subtrees(first: int, leaves: bytes) -> list[Subtree]:
    """The largest complete subtrees over consecutive leaves, from left to right.

    Args:
        first: the index in the log of the first of them.
        leaves: their hashes, 32 bytes each.
    """
    opening: list[Subtree] = []
    closing: list[Subtree] = []
    level, row = 0, leaves
    while row:
        if first & 1:
            opening.append(Subtree(level, first, row[:HASH]))
            first, row = first + 1, row[HASH:]
        if len(row) // HASH & 1:
            last = first + len(row) // HASH - 1
            closing.append(Subtree(level, last, row[-HASH:]))
            row = row[:-HASH]
        row = b"".join(
            [
                sha256(b"\x01" + row[at : at + 2 * HASH]).digest()
                for at in range(0, len(row), 2 * HASH)
            ]
        )
        level, first = level + 1, first >> 1
    return opening + closing[::-1]


class Fold:
    """The tree from its left edge on, as far as it is known. Holds O(log n) hashes."""

    def __init__(self, start: int, left: Sequence[bytes]) -> None:
        """Begins with the subtrees of the leaves before `start`, largest first.

        Raises:
            ValueError: if they are not as many as `start` needs.
        """
        self._next = 0
        self._peaks: list[Subtree] = []
        levels = [n for n in range(start.bit_length()) if start >> n & 1]
        self._lay(levels[::-1], left)

    def add(self, following: Iterable[Subtree]) -> None:
        """Takes the subtrees that follow, joining what is complete."""
        for one in following:
            self._peaks.append(one)
            self._next = one.number + 1 << one.level
            self._join()

    def root(self, size: int, right: Sequence[bytes]) -> bytes:
        """The root of the log of `size` leaves, of which `right` are the last subtrees.

        Raises:
            ValueError: if they are not as many as the leaves still missing need.
        """
        levels = []
        at = self._next
        while at < size:
            aligned = (at & -at).bit_length() - 1 if at else size.bit_length()
            levels.append(min(aligned, (size - at).bit_length() - 1))
            at += 1 << levels[-1]
        self._lay(levels, right)
        folded = self._peaks[-1].hash
        for peak in self._peaks[-2::-1]:
            folded = sha256(b"\x01" + peak.hash + folded).digest()
        return folded

    def _lay(self, levels: list[int], hashes: Sequence[bytes]) -> None:
        if len(levels) != len(hashes):
            raise ValueError("the proof has too many or too few hashes")
        for level, one in zip(levels, hashes, strict=True):
            self.add([Subtree(level, self._next >> level, one)])

    def _join(self) -> None:
        while len(self._peaks) > 1:
            left, right = self._peaks[-2:]
            if left.level != right.level or not right.number & 1:
                return
            joined = sha256(b"\x01" + left.hash + right.hash).digest()
            self._peaks[-2:] = [Subtree(left.level + 1, left.number >> 1, joined)]
