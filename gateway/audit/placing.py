"""Which line of an export is wrong, and what was done to it.

FILE.leaves is known to be true here: it folds to the signed root. So the first line
whose hash differs from it is the first that is wrong, and where that hash and the
one that belongs there occur elsewhere tells what happened.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from gateway.audit.exported import (
    ExportFiles,
    access_id_at,
    found_leaves,
    sealed_leaves,
)
from gateway.audit.folding import HASH


class Kind(StrEnum):
    """What is wrong with an export."""

    CHANGED = "changed"
    REMOVED = "removed"
    ADDED = "added"
    SWAPPED = "swapped"
    CUT_OFF = "cut off"
    ALTERED = "altered"
    UNPROVEN = "unproven"
    UNSIGNED = "unsigned"
    FORKED = "forked"


class Counted(NamedTuple):
    """How many lines FILE has, how many it should have, and whether its last is whole."""

    lines: int
    sealed: int
    whole: bool


class Placed(NamedTuple):
    """What was done to a line, and the access_id that now stands there."""

    kind: Kind
    access_id: str | None
    sentence: str


def place(files: ExportFiles, counted: Counted, wrong: int) -> Placed:
    """What happened at the first wrong line.

    Args:
        files: an export whose FILE.leaves is true.
        counted: its lines.
        wrong: the first line, counted from 0, that is not as FILE.leaves has it.
    """
    kind, sentence = _judge(files, counted, wrong)
    named = access_id_at(files.lines, wrong)
    return Placed(kind, named, sentence)


def _judge(files: ExportFiles, counted: Counted, wrong: int) -> tuple[Kind, str]:
    if wrong >= counted.sealed:
        return Kind.ADDED, f"{counted.lines - counted.sealed} added at the end"
    if wrong >= counted.lines:
        return Kind.CUT_OFF, f"{counted.sealed - counted.lines} cut off from the end"
    if wrong == counted.lines - 1 and not counted.whole:
        after = counted.sealed - counted.lines
        return Kind.CUT_OFF, f"cut off before its end, and {after} after it"
    return _compare(files, counted, wrong)


def _compare(files: ExportFiles, counted: Counted, wrong: int) -> tuple[Kind, str]:
    here = _first(found_leaves(files.lines, wrong))
    belongs = _first(sealed_leaves(files.leaves, wrong))
    # Where what stands here belongs, and where what belongs here stands.
    home = _search(sealed_leaves(files.leaves, wrong), here)
    moved = _search(found_leaves(files.lines, wrong), belongs)
    if moved is None:
        if home is None or _first(found_leaves(files.lines, home)) == here:
            # Unknown, or a copy of another that also stands where it belongs.
            return Kind.CHANGED, "changed"
        return Kind.REMOVED, f"{home - wrong} removed before it"
    if home is None or counted.lines > counted.sealed:
        return Kind.ADDED, f"{moved - wrong} added here"
    return Kind.SWAPPED, f"swapped: what belongs here is on line {moved + 1}"


def _first(leaves: Iterator[tuple[int, bytes]]) -> bytes:
    """The first hash; empty where there is none."""
    return next((joined[:HASH] for _, joined in leaves), b"")


def _search(leaves: Iterator[tuple[int, bytes]], wanted: bytes) -> int | None:
    """The number of the line, or leaf, with this hash."""
    for first, joined in leaves:
        at = joined.find(wanted)
        while at >= 0 and at % HASH:
            at = joined.find(wanted, at + 1)
        if at >= 0:
            return first + at // HASH
    return None
