"""Logs that exist only on paper: lines, their tree as RFC 9162 defines it, exports."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.audit.checkpoint import NoteKey

ORIGIN = "log.example/residents"
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = NoteKey(ORIGIN, SECRET.public_key().public_bytes_raw())


def leaf(line: bytes) -> bytes:
    return sha256(b"\x00" + line).digest()


def split(size: int) -> int:
    """The largest power of two smaller than `size`."""
    k = 1
    while k * 2 < size:
        k *= 2
    return k


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162 §2.1.1, word for word, over leaf hashes."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    joined = b"\x01" + tree_hash(leaves[:k]) + tree_hash(leaves[k:])
    return sha256(joined).digest()


def beside(
    leaves: Sequence[bytes], start: int, end: int, first: int = 0
) -> tuple[list[bytes], list[bytes]]:
    """The hashes of the complete subtrees on both sides of a range of leaves.

    `first` is the index of the first of `leaves` in the whole tree.
    """
    past = first + len(leaves)
    complete = len(leaves).bit_count() == 1
    if complete and past <= start:
        return [tree_hash(leaves)], []
    if complete and first >= end:
        return [], [tree_hash(leaves)]
    if len(leaves) == 1:
        return [], []
    k = split(len(leaves))
    one = beside(leaves[:k], start, end, first)
    other = beside(leaves[k:], start, end, first + k)
    return one[0] + other[0], one[1] + other[1]


def sign(text: str, name: str = ORIGIN) -> str:
    """A C2SP signed note, made here without checkpoint.py."""
    public = SECRET.public_key().public_bytes_raw()
    named = sha256(name.encode() + b"\n\x01" + public).digest()[:4]
    signature = base64.b64encode(named + SECRET.sign(text.encode())).decode()
    return f"{text}\n\u2014 {name} {signature}\n"


def encoded(hashes: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(one).decode() for one in hashes]


def line(number: int) -> bytes:
    name = f"019ab1c2-0000-7000-8000-{number:012x}"
    return f'{{"v":1,"access_id":"{name}","at":"{number}","count":1}}'.encode()


@dataclass(frozen=True)
class WrittenLog:
    """A log of `size` lines."""

    size: int

    @cached_property
    def lines(self) -> list[bytes]:
        return [line(number) for number in range(self.size)]

    @cached_property
    def leaves(self) -> list[bytes]:
        return [leaf(one) for one in self.lines]

    @cached_property
    def note(self) -> str:
        (root,) = encoded([tree_hash(self.leaves)])
        return sign(f"{ORIGIN}\n{self.size}\n{root}\n")

    def proof(self, start: int, end: int) -> dict[str, Any]:
        left, right = beside(self.leaves, start, end)
        described = {
            "start": start,
            "end": end,
            "tree_size": self.size,
            "left": encoded(left),
            "right": encoded(right),
        }
        return {"range": described, "checkpoint": self.note}

    def export(self, file: Path, start: int, end: int) -> Path:
        """Writes the three files of an export, as CONTRACT §4 describes them."""
        file.write_bytes(b"".join(one + b"\n" for one in self.lines[start:end]))
        Path(f"{file}.leaves").write_bytes(b"".join(self.leaves[start:end]))
        Path(f"{file}.proof.json").write_text(json.dumps(self.proof(start, end)))
        return file
