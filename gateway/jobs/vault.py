"""Seals what jobs ask and are answered, so that the database holds no text of theirs.

Each job has a key of its own, made from a secret that is not in the database; a slice is
sealed by AES-256-GCM (NIST SP 800-38D) under a random nonce, bound to its job and place.
"""

import hmac
import os
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from gateway.batching import Item
from gateway.settings import NumberedKeys

_NONCE: Final = 12
_ITEMS, _ANSWERS = b"items", b"answers"
_NAMED: Final = 8


class Answered(msgspec.Struct, array_like=True):
    """What one item was answered; `reason` is the number of a problem's."""

    id: str
    access_id: str
    reason: int | None
    resident: dict[str, str | None] | None
    matches: dict[str, bool] | None


class Box:
    """The sealing of one job."""

    def __init__(self, job: UUID, secret: bytes) -> None:
        expand = HKDFExpand(SHA256(), 64, b"gateway job " + job.bytes)
        keys = expand.derive(secret)
        self._job = job
        self._cipher, self._naming = AESGCM(keys[:32]), keys[32:]

    def names(self, items: Sequence[Item]) -> list[int]:
        """A keyed digest of 64 bits of each item's id."""
        return [
            int.from_bytes(
                hmac.digest(self._naming, item.id.encode(), sha256)[:_NAMED],
                signed=True,
            )
            for item in items
        ]

    def seal_items(self, first: int, items: Sequence[Item]) -> bytes:
        return self._seal(_ITEMS, first, items)

    def items(self, first: int, sealed: bytes) -> list[Item]:
        text = self._open(_ITEMS, first, sealed)
        return msgspec.msgpack.decode(text, type=list[Item])

    def seal_answers(self, first: int, answers: Sequence[Answered]) -> bytes:
        return self._seal(_ANSWERS, first, answers)

    def answers(self, first: int, sealed: bytes) -> list[Answered]:
        text = self._open(_ANSWERS, first, sealed)
        return msgspec.msgpack.decode(text, type=list[Answered])

    def _place(self, kind: bytes, first: int) -> bytes:
        return b"%s %s %d" % (self._job.bytes, kind, first)

    def _seal(self, kind: bytes, first: int, content: Sequence[Any]) -> bytes:
        nonce, text = os.urandom(_NONCE), msgspec.msgpack.encode(content)
        return nonce + self._cipher.encrypt(nonce, text, self._place(kind, first))

    def _open(self, kind: bytes, first: int, sealed: bytes) -> bytes:
        nonce, rest = sealed[:_NONCE], sealed[_NONCE:]
        return self._cipher.decrypt(nonce, rest, self._place(kind, first))


class Vault:
    """Boxes of jobs; `newest` is the number of the secret of those that are begun now."""

    def __init__(self, peppers: NumberedKeys) -> None:
        self._secrets = peppers.by_number
        self.newest = peppers.newest

    def box(self, job: UUID, secret: int) -> Box:
        return Box(job, self._secrets[secret])
