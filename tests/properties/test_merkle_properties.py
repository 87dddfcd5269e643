"""The Merkle tree at every size to 600, against RFC 9162 written out again."""

from collections.abc import Sequence
from hashlib import sha256

import pytest

from gateway.audit import folding, merkle
from tests.evidence import published
from tests.written_logs import beside, leaf, split, tree_hash

MOST = 600
LEAVES = [leaf(number.to_bytes(2)) for number in range(MOST)]
SIZES = [range(first, min(first + 100, MOST + 1)) for first in range(1, MOST, 100)]

CT_LEAVES = [leaf(one) for one in published.LEAVES]


class Tree:
    """Leaves whose subtrees are hashed once."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._known = {(0, n): one for n, one in enumerate(leaves)}

    def __call__(self, level: int, number: int) -> bytes:
        if (level, number) not in self._known:
            left, right = self(level - 1, 2 * number), self(level - 1, 2 * number + 1)
            self._known[level, number] = sha256(b"\x01" + left + right).digest()
        return self._known[level, number]


TREE = Tree(LEAVES)


def path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 9162 §2.1.3.1, word for word."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*path(index, leaves[:k]), tree_hash(leaves[k:])]
    return [*path(index - k, leaves[k:]), tree_hash(leaves[:k])]


def subproof(m: int, leaves: Sequence[bytes], *, whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 9162 §2.1.4.1, word for word."""
    n = len(leaves)
    if m == n:
        return [] if whole else [tree_hash(leaves)]
    k = split(n)
    if m <= k:
        return [*subproof(m, leaves[:k], whole=whole), tree_hash(leaves[k:])]
    return [*subproof(m - k, leaves[k:], whole=False), tree_hash(leaves[:k])]


def some_of(size: int) -> list[int]:
    """Indexes where trees turn: the ends, and those beside powers of two."""
    near = {(1 << n) + by for n in range(10) for by in (-1, 0, 1)}
    return sorted(one for one in near | {size // 3, size - 1} if 0 <= one < size)


@pytest.mark.parametrize("size", published.ROOTS)
def test_roots_are_those_of_the_certificate_transparency_reference(size: int) -> None:
    leaves = CT_LEAVES[:size]
    assert merkle.root(size, Tree(leaves)).hex() == published.ROOTS[size]
    assert tree_hash(leaves).hex() == published.ROOTS[size]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_root_and_frontier_agree_with_the_definition_at_every_size(
    sizes: range,
) -> None:
    frontier = merkle.Frontier()
    for n in range(sizes.start - 1):
        frontier.add(LEAVES[n])
    for size in sizes:
        frontier.add(LEAVES[size - 1])
        expected = tree_hash(LEAVES[:size])
        assert merkle.root(size, TREE) == expected
        assert frontier.root() == expected


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_inclusion_proofs_are_the_paths_of_the_rfc_at_every_size(sizes: range) -> None:
    for size in sizes:
        leaves = LEAVES[:size]
        for index in some_of(size)[:: 1 + size // 50]:
            assert merkle.inclusion_proof(index, size, TREE) == path(index, leaves)


def test_inclusion_proofs_of_every_leaf_of_small_trees_are_the_paths() -> None:
    for size in range(1, 70):
        for index in range(size):
            expected = path(index, LEAVES[:size])
            assert merkle.inclusion_proof(index, size, TREE) == expected


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_consistency_proofs_are_the_subproofs_of_the_rfc(sizes: range) -> None:
    for size in sizes[::7]:
        for old in [one for one in some_of(size) if one][:: 1 + size // 50]:
            expected = subproof(old, LEAVES[:size], whole=True)
            assert merkle.consistency_proof(old, size, TREE) == expected


def test_range_proofs_with_their_leaves_give_the_root_for_every_small_range() -> None:
    for size in range(1, 28):
        root = tree_hash(LEAVES[:size])
        for start in range(size):
            for end in range(start + 1, size + 1):
                assert folded(start, end, size) == root


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_range_proofs_with_their_leaves_give_the_root_at_every_size(
    sizes: range,
) -> None:
    for size in sizes:
        root = tree_hash(LEAVES[:size])
        starts = some_of(size)[:: 1 + size // 60]
        for start in starts:
            end = start + 1 + (size - start - 1) * (start % 3) // 2
            assert folded(start, end, size) == root


def folded(start: int, end: int, size: int) -> bytes:
    """The root, by the verifier's own algorithm, in blocks of unlike size."""
    left, right = merkle.range_proof(start, end, size, TREE)
    assert (left, right) == beside(LEAVES[:size], start, end)
    fold = folding.Fold(start, left)
    middle = (start + end) // 2
    for first, past in ((start, middle), (middle, end)):
        fold.add(folding.subtrees(first, b"".join(LEAVES[first:past])))
    return fold.root(size, right)


@pytest.mark.parametrize(
    ("start", "end", "size"), [(0, 0, 1), (1, 1, 2), (0, 3, 2), (-1, 1, 2), (2, 1, 3)]
)
def test_there_is_no_proof_of_an_empty_or_outlying_range(
    start: int, end: int, size: int
) -> None:
    with pytest.raises(ValueError, match="some leaves"):
        merkle.range_proof(start, end, size, TREE)
