"""Subject references: how the log names a resident without holding a NIK.

About 10¹⁰ NIKs are plausible, so a plain hash is reversed in minutes; these are
HMACs under a numbered key that never enters the database.
"""

from typing import NamedTuple

from gateway.keyed import Keyed
from gateway.settings import NumberedKeys


class Subject(NamedTuple):
    """The first 16 bytes of HMAC-SHA-256 of a NIK, as two signed 64-bit halves."""

    head: int
    tail: int
    key: int

    @property
    def text(self) -> str:
        """32 hexadecimal digits, as lines write it."""
        mask = (1 << 64) - 1
        return f"{self.head & mask:016x}{self.tail & mask:016x}"


class SubjectKeys:
    """The newest key writes references; searches try every one."""

    def __init__(self, keys: NumberedKeys) -> None:
        self._newest = keys.newest
        self._keyed = {number: Keyed(key) for number, key in keys.by_number.items()}

    def reference(self, nik: str) -> Subject:
        return self._under(self._newest, nik)

    def references(self, nik: str) -> list[Subject]:
        """The resident's reference under every key there is."""
        return [self._under(number, nik) for number in self._keyed]

    def digest(self, kind: bytes, what: bytes) -> bytes:
        """32 bytes that name something else than a resident, under the newest key.

        A kind of what is named begins what is digested: no NIK begins so.
        """
        return self._keyed[self._newest].digest(kind + b" " + what)

    def _under(self, number: int, nik: str) -> Subject:
        digest = self._keyed[number].digest(nik.encode("ascii"))
        return Subject(
            int.from_bytes(digest[:8], signed=True),
            int.from_bytes(digest[8:16], signed=True),
            number,
        )
