"""The three files of an export, read in blocks of whole lines.

FILE holds the lines, each with its line feed; FILE.proof.json what ties them to a
signed head of the log; FILE.leaves their hashes, so that a wrong line can be named.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from gateway.audit.folding import HASH, Subtree, leaf_hashes, subtrees

BLOCK: Final = 4 * 1024 * 1024
# No line of the log comes near this length: a file without line feeds is read in
# pieces too, and is then no export.
LONGEST_LINE: Final = 64 * 1024
_LEAVES_AT_ONCE: Final = 32 * 1024
_ACCESS_ID: Final = re.compile(rb'\{"v":1,"access_id":"([0-9a-f-]{36})"')


@dataclass(frozen=True, slots=True)
class ExportFiles:
    """Where an export lies."""

    lines: Path

    @property
    def proof(self) -> Path:
        return self.lines.with_name(self.lines.name + ".proof.json")

    @property
    def leaves(self) -> Path:
        return self.lines.with_name(self.lines.name + ".leaves")


class Block(NamedTuple):
    """A stretch of FILE: its bytes, and which of the file's lines it holds (from 0)."""

    offset: int
    length: int
    first: int
    lines: int


class Digest(NamedTuple):
    """What a block holds, without its lines; `difference` counts in the file, from 0."""

    end: int
    subtrees: list[Subtree]
    difference: int | None


def blocks(file: Path) -> Iterator[Block]:
    """The whole file in order. What follows the last line feed counts as a line."""
    offset = first = 0
    with file.open("rb") as opened:
        while piece := opened.read(BLOCK):
            if not piece.endswith(b"\n"):
                piece += opened.readline(LONGEST_LINE)
            lines = piece.count(b"\n") + (not piece.endswith(b"\n"))
            yield Block(offset, len(piece), first, lines)
            offset, first = offset + len(piece), first + lines


def lines_of(file: Path, block: Block) -> list[bytes]:
    """Without their line feeds."""
    with file.open("rb") as opened:
        opened.seek(block.offset)
        lines = opened.read(block.length).split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def digest(files: ExportFiles, start: int, block: Block) -> Digest:
    """Hashes a block and compares it with FILE.leaves, if there is one.

    Args:
        files: the export.
        start: the leaf of the export's first line.
        block: of `blocks(files.lines)`.
    """
    found = leaf_hashes(lines_of(files.lines, block))
    return Digest(
        block.offset + block.length,
        subtrees(start + block.first, found),
        _difference(files.leaves, block, found),
    )


def _difference(leaves: Path, block: Block, found: bytes) -> int | None:
    try:
        with leaves.open("rb") as opened:
            opened.seek(block.first * HASH)
            sealed = opened.read(len(found))
    except FileNotFoundError:
        return None
    if found == sealed:
        return None
    same = 0
    while found[same : same + HASH] == sealed[same : same + HASH]:
        same += HASH
    return block.first + same // HASH


def sealed_leaves(leaves: Path, first: int = 0) -> Iterator[tuple[int, bytes]]:
    """FILE.leaves from leaf `first` of the file on: which leaf, and hashes from it on."""
    with leaves.open("rb") as opened:
        opened.seek(first * HASH)
        while piece := opened.read(_LEAVES_AT_ONCE * HASH):
            yield first, piece
            first += len(piece) // HASH


def found_leaves(file: Path, first: int = 0) -> Iterator[tuple[int, bytes]]:
    """The hashes of FILE's own lines, in the same way."""
    for block in blocks(file):
        skipped = max(0, first - block.first)
        if skipped < block.lines:
            lines = lines_of(file, block)[skipped:]
            yield block.first + skipped, leaf_hashes(lines)


def access_id_at(file: Path, number: int) -> str | None:
    """The access_id on line `number` (from 0), if it is a line with one."""
    for block in blocks(file):
        if number < block.first + block.lines:
            line = lines_of(file, block)[number - block.first]
            named = _ACCESS_ID.match(line)
            return named[1].decode() if named else None
    return None
