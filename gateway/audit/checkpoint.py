"""Checkpoints: the signed head of the log, as C2SP signed notes. Pure.

c2sp.org/signed-note, c2sp.org/tlog-checkpoint: three lines of text (origin, size,
root), a blank line, and a signature line for each signer.
"""

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from gateway.settings import NumberedKeys

_ED25519 = b"\x01"
_SIGNATURE = "\u2014 "


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of the log: how many leaves, and the root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        root = base64.b64encode(self.root).decode()
        return f"{self.origin}\n{self.size}\n{root}\n"


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key by its name, as notes name it."""

    name: str
    public: bytes

    @property
    def hash(self) -> bytes:
        """SHA-256 of name, line feed, algorithm and key: its first four bytes."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    @property
    def text(self) -> str:
        """`name+hash+key`, the form in which verifiers take it."""
        key = base64.b64encode(_ED25519 + self.public).decode()
        return f"{self.name}+{self.hash.hex()}+{key}"

    @classmethod
    def read(cls, text: str) -> Self | None:
        """None for anything but a whole Ed25519 key whose hash is right."""
        name, _, rest = text.strip().partition("+")
        digest, _, encoded = rest.partition("+")
        try:
            raw = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            return None
        key = cls(name, raw[1:])
        well = len(raw) == 33 and raw[:1] == _ED25519  # noqa: PLR2004 - type and key
        return key if name and well and key.hash.hex() == digest else None

    def verifies(self, note: str) -> bool:
        """Whether the note bears a good signature of this key."""
        text, _, signatures = note.rpartition("\n\n")
        public = Ed25519PublicKey.from_public_bytes(self.public)
        for line in signatures.splitlines():
            name, _, encoded = line.removeprefix(_SIGNATURE).partition(" ")
            try:
                raw = base64.b64decode(encoded, validate=True)
                if name == self.name and raw[:4] == self.hash:
                    public.verify(raw[4:], f"{text}\n".encode())
                    return True
            except (binascii.Error, InvalidSignature):
                continue
        return False


class Signer:
    """An Ed25519 key made from a secret of 32 bytes that is never in the database."""

    def __init__(self, name: str, secret: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(secret[:32])
        self.key = NoteKey(name, self._key.public_key().public_bytes_raw())

    def sign(self, checkpoint: Checkpoint) -> str:
        """The note of a checkpoint."""
        signature = self._key.sign(checkpoint.text.encode())
        encoded = base64.b64encode(self.key.hash + signature).decode()
        return f"{checkpoint.text}\n{_SIGNATURE}{self.key.name} {encoded}\n"


def note_keys(secrets: NumberedKeys, origin: str) -> list[NoteKey]:
    """The verifier keys of a log, newest first: one for each secret it has signed with."""
    numbers = sorted(secrets.by_number, reverse=True)
    return [Signer(origin, secrets.by_number[number]).key for number in numbers]
