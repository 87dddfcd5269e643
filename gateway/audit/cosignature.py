"""Cosignatures: a witness's word that it has seen a log grow to a head. Pure.

c2sp.org/tlog-cosignature, the Ed25519 kind: a signature line whose signature is the
time in eight bytes, then Ed25519 over `cosignature/v1`, the time and the note's text.
"""

import base64
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typing_extensions import override

from gateway.audit.checkpoint import SIGNATURE, NoteKey, note_text
from gateway.settings import NumberedKeys

_TIME_BYTES: Final = 8
_LATEST: Final = 2**63 - 1


class Cosignature(NamedTuple):
    """A signature line without its line feed; `at` in seconds since 1970."""

    line: str
    at: int


def _message(at: int, text: str) -> str:
    return f"cosignature/v1\ntime {at}\n{text}"


@dataclass(frozen=True, slots=True)
class CosignerKey(NoteKey):
    """The public key of a witness, by its name."""

    algorithm: ClassVar[bytes] = b"\x04"

    def cosignature(self, note: str) -> Cosignature | None:
        """The note's first good cosignature of this key, if there is any."""
        text = note_text(note)
        for line, raw in self.signature_lines(note):
            at = int.from_bytes(raw[:_TIME_BYTES])
            if at <= _LATEST and self.signed(raw[_TIME_BYTES:], _message(at, text)):
                return Cosignature(line, at)
        return None

    @override
    def verifies(self, note: str) -> bool:
        return self.cosignature(note) is not None


class Cosigner:
    """An Ed25519 key of a witness, made from a secret that only the witness has."""

    def __init__(self, name: str, secret: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(secret[:32])
        self.key = CosignerKey(name, self._key.public_key().public_bytes_raw())

    def cosign(self, text: str, at: int) -> str:
        """The signature line over a note's text, without a line feed.

        Args:
            text: of the note, its last line feed included.
            at: seconds since 1970.
        """
        signature = self._key.sign(_message(at, text).encode())
        stamped = self.key.hash + at.to_bytes(_TIME_BYTES) + signature
        return f"{SIGNATURE}{self.key.name} {base64.b64encode(stamped).decode()}"


def cosigners(secrets: NumberedKeys, name: str) -> list[Cosigner]:
    """A cosigner for each secret, newest first.

    All of them sign, so that a log may know the old key or the new one.
    """
    numbers = sorted(secrets.by_number, reverse=True)
    return [Cosigner(name, secrets.by_number[number]) for number in numbers]
