"""Keys and staff tokens: how they are made, read and proved (contract §2).

    gdk_live_ + id (8) + secret (30) + checksum (6)

The id finds the key, the secret proves it, and the checksum tells a mistyped key from
a wrong one without a lookup. Only the digest of the whole text is ever stored.
"""

import re
import secrets
import string
import zlib
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec
from typing_extensions import override

from gateway.keyed import Keyed

ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH: Final = 8
SECRET_LENGTH: Final = 30
CHECKSUM_LENGTH: Final = 6

_PAIRS: Final = [first + second for first in ALPHABET for second in ALPHABET]
_FORM: Final = re.compile(r"gd[ks]_(?:live|test)_([0-9A-Za-z]{8})[0-9A-Za-z]{36}")


class Kind(StrEnum):
    INSTITUTION = "gdk"
    STAFF = "gds"


class Environment(StrEnum):
    LIVE = "live"
    TEST = "test"


class Credential(msgspec.Struct, frozen=True, gc=False):
    """A well-formed key: `text` is all of it and secret, `id` its public part."""

    id: str
    text: str

    # A credential that strays into a log line or a traceback must say nothing.
    @override
    def __repr__(self) -> str:
        return f"Credential(id={self.id!r})"


class Proved(NamedTuple):
    """A key that was proved before, when its holder signed in: by the log's number.

    Made of a session only, never of anything that a request says of itself.
    """

    number: int
    environment: Environment


def make(kind: Kind, environment: Environment) -> Credential:
    """Make a key that nobody has: about 179 bits of secret."""
    key_id = "".join(secrets.choice(ALPHABET) for _ in range(ID_LENGTH))
    secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    body = f"{kind}_{environment}_{key_id}{secret}"
    return Credential(key_id, body + checksum(body))


def parse(text: str) -> Credential | None:
    """Read what a caller presented; None if it is malformed or mistyped."""
    match = _FORM.fullmatch(text)
    if match is None or text[-CHECKSUM_LENGTH:] != checksum(text[:-CHECKSUM_LENGTH]):
        return None
    return Credential(match[1], text)


def environment_of(text: str) -> Environment:
    """Which of the two a well-formed key is of."""
    return Environment.TEST if text[4:8] == Environment.TEST else Environment.LIVE


def checksum(body: str) -> str:
    """CRC-32 of the ASCII text in base62, the most significant digit first."""
    first, last = divmod(zlib.crc32(body.encode("ascii")), len(_PAIRS))
    first, middle = divmod(first, len(_PAIRS))
    return _PAIRS[first] + _PAIRS[middle] + _PAIRS[last]


def digest(text: str, pepper: Keyed) -> bytes:
    """HMAC-SHA-256 of the whole key: the 32 bytes that are stored and compared."""
    return pepper.digest(text.encode("ascii"))
