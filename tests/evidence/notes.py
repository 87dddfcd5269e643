"""Signed notes and checkpoints by C2SP alone (signed-note, tlog-checkpoint, -cosignature).

Nothing of the gateway is imported here: only the standard library and cryptography.
"""

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.evidence.trees import Refused, require

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04
_DASH: Final = "\u2014 "
_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8
_HASH_BYTES: Final = 32


def decoded(text: str) -> bytes:
    """Base64 of RFC 4648 §4, padded, and nothing else."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("not base64") from None
    require(base64.b64encode(raw).decode() == text, "not the base64 of anything")
    return raw


class Checkpoint(NamedTuple):
    """The head of a log: its name, how many leaves it has, and their root."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True)
class VerifierKey:
    """A key by its name. `kind` is what it signs: ED25519 notes, or COSIGNATURE."""

    name: str
    id: bytes
    kind: int
    public: bytes

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Of `name+id+base64(kind || key)`.

        Raises:
            Refused: it is not a whole one.
        """
        parts = text.split("+", 2)
        require(len(parts) == 3 and parts[0], "not a verifier key")
        name, id_, encoded = parts
        raw = decoded(encoded)
        expected = sha256(name.encode() + b"\n" + raw).digest()[:_ID_BYTES]
        require(id_ == expected.hex(), "the key's id is not its hash")
        require(len(raw) == 1 + _HASH_BYTES, "not an Ed25519 key")
        require(raw[0] in {ED25519, COSIGNATURE}, "not a kind of key that is known")
        return cls(name, expected, raw[0], raw[1:])

    def signed(self, signature: bytes, message: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True


class Note(NamedTuple):
    """A note's text, with its last line feed, and its signatures: name, id, bytes."""

    text: str
    signatures: list[tuple[str, bytes, bytes]]


def read_note(note: str) -> Note:
    """Raises Refused for what is not a signed note."""
    above, empty, below = note.rpartition("\n\n")
    require(empty and below.endswith("\n"), "not a signed note")
    text = above + "\n"
    require(all(c >= " " for c in text if c != "\n"), "a control character")
    return Note(text, [*map(_signature, below[:-1].split("\n"))])


def _signature(line: str) -> tuple[str, bytes, bytes]:
    require(line.startswith(_DASH), "not a signature line")
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    raw = decoded(encoded)
    require(name and space and len(raw) > _ID_BYTES, "not a signature line")
    return name, raw[:_ID_BYTES], raw[_ID_BYTES:]


def opened(note: str, keys: Sequence[VerifierKey]) -> Checkpoint:
    """The checkpoint of a note that the log itself signed.

    Signatures of keys that are not known are passed over; a bad one of a known key
    spoils the note, as signed-note says.

    Raises:
        Refused: no key signed it, a signature is wrong, or it is no checkpoint.
    """
    read = read_note(note)
    checkpoint = _checkpoint(read.text)
    found = False
    for key in keys:
        for signature in _of(read, key):
            require(key.kind == ED25519, "a key that does not sign notes")
            require(key.signed(signature, read.text.encode()), "a wrong signature")
            found = found or key.name == checkpoint.origin
    require(found, "not signed by the log")
    return checkpoint


def cosigned_at(note: str, witness: VerifierKey) -> int:
    """When a witness cosigned, in seconds since 1970.

    Raises:
        Refused: it did not.
    """
    read = read_note(note)
    require(witness.kind == COSIGNATURE, "a key that does not cosign")
    for timestamped in _of(read, witness):
        at = int.from_bytes(timestamped[:_TIME_BYTES])
        message = f"cosignature/v1\ntime {at}\n{read.text}".encode()
        require(witness.signed(timestamped[_TIME_BYTES:], message), "a wrong signature")
        return at
    raise Refused("not cosigned by the witness")


def _of(note: Note, key: VerifierKey) -> Iterator[bytes]:
    for name, id_, signature in note.signatures:
        if (name, id_) == (key.name, key.id):
            yield signature


def _checkpoint(text: str) -> Checkpoint:
    lines = text.split("\n")
    require(len(lines) > 3, "not a checkpoint")
    origin, size, root, *extensions = lines[:-1]
    require(origin and all(extensions), "an empty line in a checkpoint")
    digits = size.isascii() and size.isdecimal() and str(int(size)) == size
    require(digits, "a checkpoint's size is no decimal number")
    raw = decoded(root)
    require(len(raw) == _HASH_BYTES, "a checkpoint's root is no hash")
    return Checkpoint(origin, int(size), raw)
