"""Idempotency keys: how an attempt is known again when it comes again.

What is kept of one are digests that say nothing without the pepper and the key itself,
which stands nowhere: neither who was asked about, nor that two questions were the same.
"""

from typing import NamedTuple

import msgspec

from gateway.keyed import Keyed
from gateway.settings import NumberedKeys


class Digests(NamedTuple):
    """16 bytes of the key and 16 of the body, under one pepper."""

    key: bytes
    body: bytes


class Attempt(NamedTuple):
    """An institution's key and body, as they are known under each pepper."""

    institution: int
    digests: tuple[Digests, ...]


class Attempts:
    """Makes attempts of keys and bodies.

    Under every pepper, not the newest alone: workers that know one pepper in common, as
    all do while it is rotated, know each other's attempts.
    """

    def __init__(self, peppers: NumberedKeys) -> None:
        self._keyed = [
            Keyed(Keyed(pepper).digest(b"idempotency"))
            for _, pepper in sorted(peppers.by_number.items())
        ]

    def of(self, institution: int, key: str, body: object) -> Attempt:
        """`body` is what was asked, parsed: the order of an object's members is none."""
        text = msgspec.json.encode(body, order="deterministic")
        name = b"%d %s" % (institution, key.encode("ascii"))
        return Attempt(
            institution,
            tuple(_digests(keyed, name, text) for keyed in self._keyed),
        )


def _digests(keyed: Keyed, name: bytes, body: bytes) -> Digests:
    """The body's is under the half of the key's digest that is not kept."""
    named = keyed.digest(name)
    return Digests(named[:16], Keyed(named[16:]).digest(body)[:16])
