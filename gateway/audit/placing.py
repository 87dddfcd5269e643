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
    """What was done at a line.

    `access_id` is of the entry that was changed, added, swapped or cut off; None where
    the file does not tell which that is, as of one that was removed.
    """

    kind: Kind
    access_id: str | None
    sentence: str


class _Judged(NamedTuple):
    """`named` is the line that has the entry it is about, if one has."""

    kind: Kind
    sentence: str
    named: int | None


def place(files: ExportFiles, counted: Counted, wrong: int) -> Placed:
    """What happened at the first wrong line.

    Args:
        files: an export whose FILE.leaves is true.
        counted: its lines.
        wrong: the first line, counted from 0, that is not as FILE.leaves has it.
    """
    kind, sentence, named = _judge(files, counted, wrong)
    access_id = None if named is None else access_id_at(files.lines, named)
    return Placed(kind, access_id, sentence)


def _judge(files: ExportFiles, counted: Counted, wrong: int) -> _Judged:
    if wrong >= counted.sealed:
        added = counted.lines - counted.sealed
        return _Judged(Kind.ADDED, f"{added} added at the end", wrong)
    if wrong >= counted.lines:
        cut = counted.sealed - counted.lines
        return _Judged(Kind.CUT_OFF, f"{cut} cut off from the end", None)
    if wrong == counted.lines - 1 and not counted.whole:
        after = counted.sealed - counted.lines
        told = f"cut off before its end, and {after} after it"
        return _Judged(Kind.CUT_OFF, told, wrong)
    return _compare(files, counted, wrong)


def _compare(files: ExportFiles, counted: Counted, wrong: int) -> _Judged:
    here = _first(found_leaves(files.lines, wrong))
    belongs = _first(sealed_leaves(files.leaves, wrong))
    # Where what stands here belongs, and where what belongs here stands.
    home = _search(sealed_leaves(files.leaves, wrong), here)
    moved = _search(found_leaves(files.lines, wrong), belongs)
    if moved is None:
        if home is None or _first(found_leaves(files.lines, home)) == here:
            return _changed(files, here, wrong)
        gone = f"{home - wrong} removed before what stands there now"
        return _Judged(Kind.REMOVED, gone, None)
    if home is None or counted.lines > counted.sealed:
        return _Judged(Kind.ADDED, f"{moved - wrong} added here", wrong)
    told = f"swapped: what belongs here is on line {moved + 1}"
    return _Judged(Kind.SWAPPED, told, moved)


def _changed(files: ExportFiles, here: bytes, wrong: int) -> _Judged:
    copied = _search(sealed_leaves(files.leaves), here)
    if copied is None:
        return _Judged(Kind.CHANGED, "changed", wrong)
    # The access_id that stands here is that of the other line.
    return _Judged(Kind.CHANGED, f"changed into a copy of line {copied + 1}", None)


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
