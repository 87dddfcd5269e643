"""FILE.proof.json and the signed note in it, read without trust. Pure.

What is not a proof at all cannot be judged (`CannotTell`); one that is, but does not
hold, is the judge's to refuse.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.audit.checkpoint import Checkpoint, NoteKey, from_base64
from gateway.audit.folding import HASH

MOST_BYTES: Final = 1024 * 1024


class CannotTell(Exception):
    """Nothing is known of the export. The text is one sentence saying why."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What ties the lines of a range of leaves, `end` exclusive, to a signed head."""

    start: int
    end: int
    size: int
    left: list[bytes]
    right: list[bytes]
    note: str

    @property
    def checkpoint(self) -> Checkpoint | None:
        return read_checkpoint(self.note)

    @property
    def fits_checkpoint(self) -> bool:
        """Whether it is of some leaves of the log of that size."""
        checkpoint = self.checkpoint
        in_order = 0 <= self.start < self.end <= self.size
        return in_order and checkpoint is not None and checkpoint.size == self.size


def read_proof(file: Path) -> Proof:
    """Raises CannotTell for a file that is missing, or not a proof."""
    try:
        with file.open("rb") as opened:
            text = opened.read(MOST_BYTES)
    except OSError as error:
        raise CannotTell(f"{file} cannot be read: {error.strerror}.") from None
    try:
        return _proof(json.loads(text))
    except (LookupError, TypeError, ValueError, RecursionError):
        raise CannotTell(f"{file} is not the proof of an export.") from None


def _proof(document: Any) -> Proof:
    described, note = document["range"], document["checkpoint"]
    if not isinstance(note, str):
        raise TypeError("a note is text")
    # JSON can hold halves of characters that no text consists of.
    note.encode()
    return Proof(
        start=_number(described["start"]),
        end=_number(described["end"]),
        size=_number(described["tree_size"]),
        left=[_hash(one) for one in described["left"]],
        right=[_hash(one) for one in described["right"]],
        note=note,
    )


def read_checkpoint(note: str) -> Checkpoint | None:
    """The head a note speaks of (C2SP tlog-checkpoint); None for another text."""
    lines = note.split("\n")
    try:
        origin, digits, encoded = lines[:3]
        size, root = int(digits), from_base64(encoded)
    except ValueError:
        return None
    well = str(size) == digits and size >= 0 and len(root) == HASH
    return Checkpoint(origin, size, root) if well and origin else None


def read_keys(given: str) -> list[NoteKey]:
    """Verifier keys: `name+hash+base64`, or a file that holds such lines.

    Raises:
        CannotTell: there is no key in it, or a line is none.
    """
    text = given
    if NoteKey.read(given) is None:
        try:
            text = Path(given).read_text("utf-8")
        except (OSError, ValueError):
            raise CannotTell("The key is neither a key nor a readable file.") from None
    keys = [NoteKey.read(line) for line in text.splitlines() if line.strip()]
    if not keys or None in keys:
        raise CannotTell("The key is not of the form name+hash+base64.")
    return [key for key in keys if key is not None]


def signed_by(note: str, keys: Sequence[NoteKey]) -> bool:
    """Whether one of the keys signed the note, and the note names that key's log."""
    checkpoint = read_checkpoint(note)
    return checkpoint is not None and any(
        key.name == checkpoint.origin and key.verifies(note) for key in keys
    )


def _number(value: object) -> int:
    # bool is an int to Python, and not to JSON.
    if type(value) is not int:
        raise TypeError("not a whole number")
    return value


def _hash(value: object) -> bytes:
    raw = from_base64(str(value))
    if len(raw) != HASH:
        raise ValueError("not a hash")
    return raw
