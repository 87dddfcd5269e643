"""Merkle trees by RFC 9162 alone: what an outsider writes who has read nothing else.

Nothing of the gateway is imported here, and only the standard library is. The
algorithms are those of the RFC in its own words and letters, so that they can be
compared with it line by line.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final

# MTH of no leaves: HASH().
EMPTY: Final = sha256(b"").digest()


class Refused(Exception):
    """Evidence that does not hold. The text says what is wrong with it."""


def require(holds: object, otherwise: str) -> None:
    """Raises Refused unless it holds."""
    if not holds:
        raise Refused(otherwise)


def leaf(line: bytes) -> bytes:
    """HASH(0x00 || d)."""
    return sha256(b"\x00" + line).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def inclusion_root(
    leaf_index: int, tree_size: int, hash_: bytes, path: Sequence[bytes]
) -> bytes:
    """The root that an inclusion path leads to (§2.1.3.2, steps 1 to 5).

    Raises:
        Refused: the path is not that of a leaf at this index in a tree of this size.
    """
    require(0 <= leaf_index < tree_size, "there is no such leaf")
    fn, sn, r = leaf_index, tree_size - 1, hash_
    for p in path:
        require(sn, "the inclusion path is too long")
        if fn & 1 or fn == sn:
            r = _node(p, r)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = _node(r, p)
        fn, sn = fn >> 1, sn >> 1
    require(sn == 0, "the inclusion path is too short")
    return r


def check_consistency(
    first: int,
    first_hash: bytes,
    second: int,
    second_hash: bytes,
    path: Sequence[bytes],
) -> None:
    """That a tree is the beginning of another (§2.1.4.2, steps 1 to 7).

    The RFC asks for 0 < first < second. Two trees of one size need no proof: they are
    one tree. Nor does the empty tree (§2.1.1), with which every tree begins.

    Raises:
        Refused: it is not, or this does not show it.
    """
    require(0 <= first <= second, "the sizes are not in order")
    if first in {0, second}:
        expected = second_hash if first == second else EMPTY
        require(first_hash == expected, "two roots of one size")
        require(not path, "a proof where none is needed")
        return
    require(path, "the consistency path is empty")
    hashes = [*path]
    if first.bit_count() == 1:
        hashes.insert(0, first_hash)
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = hashes[0]
    for c in hashes[1:]:
        require(sn, "the consistency path is too long")
        if fn & 1 or fn == sn:
            fr, sr = _node(c, fr), _node(c, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = _node(sr, c)
        fn, sn = fn >> 1, sn >> 1
    require(sn == 0, "the consistency path is too short")
    require(fr == first_hash, "the path does not lead to the older root")
    require(sr == second_hash, "the path does not lead to the newer root")


def range_root(
    start: int,
    size: int,
    leaves: Sequence[bytes],
    left: Sequence[bytes],
    right: Sequence[bytes],
) -> bytes:
    """MTH of a tree (§2.1.1) of which some leaves in a row, and what is beside, are known.

    Args:
        start: the index of the first of the leaves.
        size: of the tree.
        leaves: their hashes.
        left: of the subtrees of 2**k leaves that lie wholly before them, in order.
        right: of those that lie wholly after them.

    Raises:
        Refused: there are more or fewer subtrees than this tree has there.
    """
    end = start + len(leaves)
    require(0 <= start < end <= size, "the range is not within the tree")
    before, after = iter(left), iter(right)

    def mth(low: int, high: int) -> bytes:
        n = high - low
        outside = high <= start or low >= end
        if outside and n.bit_count() == 1:
            given = next(before if high <= start else after, b"")
            require(given, "too few subtrees beside the range")
            return given
        if n == 1:
            return leaves[low - start]
        k = 1 << (n - 1).bit_length() - 1
        return _node(mth(low, low + k), mth(low + k, high))

    root = mth(0, size)
    beside = [*before, *after]
    require(not beside, "too many subtrees beside the range")
    return root


def roots(leaves: Iterable[bytes], sizes: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """The roots of a growing tree at these sizes, given in ascending order.

    Raises:
        Refused: the tree does not become so large.
    """
    wanted = iter(sizes)
    size = next(wanted, None)
    # The complete subtrees so far: how many leaves each has, and its hash.
    peaks: list[tuple[int, bytes]] = []
    while size == 0:
        yield 0, EMPTY
        size = next(wanted, None)
    for index, hash_ in enumerate(leaves, 1):
        if size is None:
            return
        grown = (1, hash_)
        while peaks and peaks[-1][0] == grown[0]:
            half, beside = peaks.pop()
            grown = (2 * half, _node(beside, grown[1]))
        peaks.append(grown)
        while size == index:
            yield index, _bagged(peaks)
            size = next(wanted, None)
    require(size is None, f"the log has no {size} leaves")


def _bagged(peaks: Sequence[tuple[int, bytes]]) -> bytes:
    folded = peaks[-1][1]
    for _, hash_ in peaks[-2::-1]:
        folded = _node(hash_, folded)
    return folded
