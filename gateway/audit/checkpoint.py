"""Checkpoints: the signed head of the log, as C2SP signed notes. Pure.

c2sp.org/signed-note, c2sp.org/tlog-checkpoint: three lines of text (origin, size,
root), a blank line, and a signature line for each signer.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from gateway.settings import NumberedKeys

SIGNATURE: Final = "\u2014 "


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
    """A public Ed25519 key by its name, as notes name it."""

    # The signature type of signed-note, which a key's hash and its text both carry.
    algorithm: ClassVar[bytes] = b"\x01"

    name: str
    public: bytes

    @property
    def hash(self) -> bytes:
        """SHA-256 of name, line feed, algorithm and key: its first four bytes."""
        digest = sha256(self.name.encode() + b"\n" + self.algorithm + self.public)
        return digest.digest()[:4]

    @property
    def text(self) -> str:
        """`name+hash+key`, the form in which verifiers take it."""
        key = base64.b64encode(self.algorithm + self.public).decode()
        return f"{self.name}+{self.hash.hex()}+{key}"

    @classmethod
    def read(cls, text: str) -> Self | None:
        """None for anything but a whole key of this algorithm whose hash is right."""
        name, _, rest = text.strip().partition("+")
        digest, _, encoded = rest.partition("+")
        try:
            raw = from_base64(encoded)
            key = cls(name, raw[1:])
            # An argument can hold half of a character, of which no hash is made.
            named = name and key.hash.hex() == digest
        except ValueError:
            return None
        well = len(raw) == 33 and raw[:1] == cls.algorithm  # noqa: PLR2004 - type and key
        return key if named and well else None

    def signature_lines(self, note: str) -> Iterator[tuple[str, bytes]]:
        """The note's signature lines that name this key, each with its signature."""
        for line in note.rpartition("\n\n")[2].split("\n"):
            name, _, encoded = line.removeprefix(SIGNATURE).partition(" ")
            try:
                raw = from_base64(encoded)
            except ValueError:
                continue
            if line.startswith(SIGNATURE) and (name, raw[:4]) == (self.name, self.hash):
                yield line, raw[4:]

    def signed(self, signature: bytes, message: str) -> bool:
        """Whether this key made the signature over the message."""
        try:
            public = Ed25519PublicKey.from_public_bytes(self.public)
            public.verify(signature, message.encode())
        except InvalidSignature:
            return False
        return True

    def verifies(self, note: str) -> bool:
        """Whether the note bears a good signature of this key."""
        text = note_text(note)
        return any(self.signed(one, text) for _, one in self.signature_lines(note))


def note_text(note: str) -> str:
    """What the signatures of a note are over: all before its last empty line."""
    return note.rpartition("\n\n")[0] + "\n"


def from_base64(text: str) -> bytes:
    """What a text of base64 says (RFC 4648 §4, padded), in the one spelling that it has.

    Python reads others too: with more padding, and with bits that say nothing (§3.5).

    Raises:
        ValueError: it is none, or of another spelling.
    """
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise ValueError("not the one spelling of it")
    return raw


class Signer:
    """An Ed25519 key made from a secret of 32 bytes that is never in the database."""

    def __init__(self, name: str, secret: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(secret[:32])
        self.key = NoteKey(name, self._key.public_key().public_bytes_raw())

    def sign(self, checkpoint: Checkpoint) -> str:
        """The note of a checkpoint."""
        signature = self._key.sign(checkpoint.text.encode())
        encoded = base64.b64encode(self.key.hash + signature).decode()
        return f"{checkpoint.text}\n{SIGNATURE}{self.key.name} {encoded}\n"


def note_keys(secrets: NumberedKeys, origin: str) -> list[NoteKey]:
    """The verifier keys of a log, newest first: one for each secret it has signed with."""
    numbers = sorted(secrets.by_number, reverse=True)
    return [Signer(origin, secrets.by_number[number]).key for number in numbers]
