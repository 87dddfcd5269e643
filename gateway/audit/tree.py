"""The log's tree as it is kept in PostgreSQL: hashes, and proofs made of them.

An algorithm of merkle.py is run twice: once to learn which subtrees it needs, and,
when they are read in two queries at most a block, once for its answer.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeVar

from gateway.audit import merkle
from gateway.audit.merkle import Node, Subtree
from gateway.postgres import Reader, queries

SQL = queries("gateway.audit")
HASH: Final = 32
# Subtrees of this level and above are kept; a block is what one of them covers.
KEPT_LEVEL: Final = 8
BLOCK: Final = 1 << KEPT_LEVEL

T = TypeVar("T")


class NotAsSealed(Exception):
    """What is kept is not what was sealed. The text is one sentence."""


class Head(NamedTuple):
    """A checkpoint: its size and root, and the note with what witnesses added."""

    size: int
    root: bytes
    note: str


async def head(connection: Reader, cosigned: int = 0) -> Head | None:
    """The newest checkpoint, or the newest that so many witnesses have cosigned."""
    if cosigned:
        row = await connection.fetchrow(SQL["newest_cosigned"], cosigned)
    else:
        row = await connection.fetchrow(SQL["newest_checkpoint"])
    return None if row is None else Head(*row)


async def prove(connection: Reader, algorithm: Callable[[Subtree], T]) -> T:
    """Runs an algorithm of merkle.py over the kept tree."""
    needed: set[Node] = set()

    def note(level: int, index: int) -> bytes:
        needed.add(Node(level, index))
        return bytes(HASH)

    algorithm(note)
    hashes = await _read(connection, needed)
    return algorithm(lambda level, index: hashes[Node(level, index)])


async def leaves(connection: Reader, start: int, end: int) -> list[bytes]:
    """The leaf hashes from start to end (exclusive), as far as they are sealed."""
    rows = await connection.fetch(SQL["find_leaves"], start, end)
    joined = b"".join(row["leaves"] for row in rows)
    if not rows:
        return []
    first = rows[0]["first_leaf"]
    return [
        joined[at : at + HASH]
        for at in range(
            (start - first) * HASH, min((end - first) * HASH, len(joined)), HASH
        )
    ]


async def _read(connection: Reader, needed: Iterable[Node]) -> dict[Node, bytes]:
    kept = [node for node in needed if node.level >= KEPT_LEVEL]
    low = [node for node in needed if node.level < KEPT_LEVEL]
    rows = await connection.fetch(
        SQL["find_nodes"], [node.level for node in kept], [node.number for node in kept]
    )
    hashes = {Node(row["level"], row["index"]): row["hash"] for row in rows}
    for block in {node.number >> (KEPT_LEVEL - node.level) for node in low}:
        start = block * BLOCK
        found = await leaves(connection, start, start + BLOCK)
        hashes |= _subtrees_of(block, found)
    return hashes


def _subtrees_of(block: int, found: list[bytes]) -> dict[Node, bytes]:
    """Every complete subtree within a block, hashed anew from its leaves."""
    hashes: dict[Node, bytes] = {}
    level, row = 0, found
    while row:
        first = block << (KEPT_LEVEL - level)
        hashes |= {Node(level, first + n): one for n, one in enumerate(row)}
        pairs = zip(row[::2], row[1::2], strict=False)
        row = [merkle.node_hash(left, right) for left, right in pairs]
        level += 1
    return hashes
