"""What a witness is asked, and when it must refuse. Pure.

c2sp.org/tlog-witness: a log hands in its newest checkpoint with a proof that it
extends the one the witness knows. A witness that has once cosigned a head never
cosigns one that does not extend it: so history rewritten by somebody who holds the
log's database and its signing key is found, as long as the witness is out of reach.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import sha256
from typing import Final, NamedTuple, Self

from gateway.audit.checkpoint import NoteKey, from_base64, note_text
from gateway.audit.merkle import node_hash

MOST_PROOF_LINES: Final = 63
_HASH: Final = 32
# The size is also a signed 64-bit number wherever it is kept.
_LARGEST: Final = 2**63 - 1
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f]")
_CHECKPOINT_LINES: Final = 3


class Refusal(Enum):
    """Why a witness does not cosign, in the order in which it looks."""

    MALFORMED = auto()
    UNKNOWN_ORIGIN = auto()
    BAD_SIGNATURE = auto()
    OLD_BEYOND_NEW = auto()
    OTHER_OLD_SIZE = auto()
    OTHER_ROOT = auto()
    BAD_PROOF = auto()


class Refused(Exception):
    """The witness does not cosign; `known` is the size it has, where that is why."""

    def __init__(self, refusal: Refusal, known: int | None = None) -> None:
        super().__init__(refusal.name)
        self.refusal = refusal
        self.known = known


class Head(NamedTuple):
    """A head of a log as a witness knows it, with the note that the log signed."""

    size: int
    root: bytes
    note: str


# What a witness knows of a log that it has never seen: the empty tree.
NOTHING: Final = Head(0, sha256(b"").digest(), "")


@dataclass(frozen=True, slots=True)
class Submission:
    """One `add-checkpoint`: a checkpoint's note, and the proof that it extends `old`."""

    old: int
    proof: Sequence[bytes]
    note: str

    @property
    def text(self) -> str:
        """What is cosigned: the note without its signatures."""
        return note_text(self.note)

    @property
    def body(self) -> bytes:
        """The request, as it is sent."""
        hashes = [base64.b64encode(one).decode() for one in self.proof]
        lines = "\n".join([f"old {self.old}", *hashes])
        return f"{lines}\n\n{self.note}".encode()

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Reads the body of a request.

        Raises:
            Refused: MALFORMED.
        """
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise Refused(Refusal.MALFORMED) from None
        asked, _, note = text.partition("\n\n")
        word, *hashes = asked.split("\n")
        old = read_size(word.removeprefix("old "))
        proof = [_read_hash(line) for line in hashes]
        if not word.startswith("old ") or len(proof) > MOST_PROOF_LINES:
            raise Refused(Refusal.MALFORMED)
        return cls(old, proof, note)

    def head(self) -> tuple[str, Head]:
        """The log's origin, and the head that the note tells.

        Raises:
            Refused: MALFORMED.
        """
        lines = self.text.split("\n")[:-1]
        whole = "\n\n" in self.note and self.note.endswith("\n")
        # Extension lines may follow, never an empty one.
        well = len(lines) >= _CHECKPOINT_LINES and all(lines)
        if not whole or not well or _CONTROLS.search(self.note):
            raise Refused(Refusal.MALFORMED)
        origin, size, root = lines[:_CHECKPOINT_LINES]
        return origin, Head(read_size(size), _read_hash(root), self.note)


def read_size(text: str) -> int:
    """A tree size in decimal without leading zeros.

    Raises:
        Refused: MALFORMED.
    """
    if not _SIZE.fullmatch(text) or int(text) > _LARGEST:
        raise Refused(Refusal.MALFORMED)
    return int(text)


def _read_hash(line: str) -> bytes:
    try:
        raw = from_base64(line)
    except ValueError:
        raise Refused(Refusal.MALFORMED) from None
    if len(raw) != _HASH:
        raise Refused(Refusal.MALFORMED)
    return raw


def authenticate(
    submission: Submission, keys: Mapping[str, Sequence[NoteKey]]
) -> tuple[str, Head]:
    """Whether the note is one of a log whose keys, by origin, the witness knows.

    Raises:
        Refused: MALFORMED, UNKNOWN_ORIGIN, BAD_SIGNATURE or OLD_BEYOND_NEW.
    """
    origin, head = submission.head()
    if origin not in keys:
        raise Refused(Refusal.UNKNOWN_ORIGIN)
    if not any(key.verifies(submission.note) for key in keys[origin]):
        raise Refused(Refusal.BAD_SIGNATURE)
    if submission.old > head.size:
        raise Refused(Refusal.OLD_BEYOND_NEW)
    return origin, head


def judge(submission: Submission, head: Head, known: Head) -> None:
    """Whether the head may be cosigned by one that last cosigned `known`.

    Raises:
        Refused: OTHER_OLD_SIZE, OTHER_ROOT or BAD_PROOF.
    """
    if submission.old != known.size:
        raise Refused(Refusal.OTHER_OLD_SIZE, known.size)
    if head.size == known.size and head.root != known.root:
        raise Refused(Refusal.OTHER_ROOT)
    if not extends(known, head, submission.proof):
        raise Refused(Refusal.BAD_PROOF)


def extends(old: Head, new: Head, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that `old` is a prefix of `new` (RFC 9162 §2.1.4.2).

    Of nothing, and of the same head, the proof is empty (c2sp.org/tlog-witness).
    """
    if old.size == new.size:
        return not proof and old.root == new.root
    if old.size == 0:
        return not proof
    if old.size > new.size or not proof:
        return False
    return _roots(old, new, proof) == (old.root, new.root)


def _roots(old: Head, new: Head, proof: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """The two roots that a proof gives; None where it is too long or too short."""
    # A complete subtree: its root is the proof's first hash, and is left out of it.
    complete = old.size & (old.size - 1) == 0
    was, *path = [old.root, *proof] if complete else proof
    now, fn, sn = was, old.size - 1, new.size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    for beside in path:
        if sn == 0:
            return None
        if fn & 1 or fn == sn:
            was, now = node_hash(beside, was), node_hash(beside, now)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            now = node_hash(now, beside)
        fn, sn = fn >> 1, sn >> 1
    return (was, now) if sn == 0 else None
