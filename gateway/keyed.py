"""HMAC-SHA-256 (RFC 2104) under a key that stays: what each call names and proves by it."""

from hashlib import sha256
from typing import Final

_BLOCK: Final = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


class Keyed:
    """Both hashes begun with the key, so that a digest begins with copies of them.

    OpenSSL's HMAC looks its algorithm up anew for each digest, and takes several times as
    long among the other work of a call.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        if len(key) > _BLOCK:
            key = sha256(key).digest()
        block = key.ljust(_BLOCK, b"\0")
        self._inner = sha256(block.translate(_INNER))
        self._outer = sha256(block.translate(_OUTER))

    def digest(self, message: bytes) -> bytes:
        """32 bytes."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()
