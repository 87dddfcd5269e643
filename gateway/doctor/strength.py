"""Whether a secret could be guessed: pure.

A secret is to be 32 bytes that nobody chose. None that `openssl rand` gives is refused:
each rule errs once in 10^13 of such secrets at most.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise
from typing import Final

from gateway.doctor.finding import Finding, unsafe, warning
from gateway.settings import SHORTEST_SECRET, NumberedKeys

# Of 32 random bytes some 30 differ from each other.
FEWEST_DIFFERENT: Final = 16
_PRINTABLE: Final = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\r\n")
# RFC 8032 section 7.1: the secret keys of its Ed25519 test vectors.
_PUBLISHED: Final = frozenset(
    map(
        bytes.fromhex,
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "f5e5767cf153319517630f226876b86c8160cc583bc013744c6bf255f5cc0ee5",
        ),
    )
)
# Whoever hashes a word to get 32 bytes takes one of these.
_WORDS: Final = (
    *("", "0", "1", "admin", "changeme", "default", "demo", "dev", "example", "foo"),
    *("gateway", "hello", "hello world", "key", "password", "pepper", "production"),
    *("resident-data-gateway", "salt", "secret", "signing-key", "subject-keys", "test"),
)
_HASHED: Final = frozenset(
    hashlib.sha256(word.encode() + end).digest()
    for word in _WORDS
    for end in (b"", b"\n")
)


def weakness(secret: bytes) -> str | None:
    """Why this secret could be guessed, as the end of a sentence; None: it could not."""
    if secret in _PUBLISHED or secret in _HASHED:
        return "is one that everybody knows"
    if len(set(secret)) < FEWEST_DIFFERENT:
        return "has few different bytes"
    if len({(b - a) % 256 for a, b in pairwise(secret)}) < FEWEST_DIFFERENT:
        return "counts up or down"
    longest = min(len(secret) // 2, SHORTEST_SECRET - 1)
    if any(_repeats(secret, length) for length in range(1, longest + 1)):
        return "repeats itself"
    if _PRINTABLE.issuperset(secret):
        return "is a text and not random bytes"
    return None


def _repeats(secret: bytes, length: int) -> bool:
    return secret[length:] == secret[:-length]


def examine(files: Mapping[str, NumberedKeys]) -> list[Finding]:
    """Findings of the secrets, by the setting that names their file."""
    found = []
    held: dict[bytes, list[str]] = defaultdict(list)
    for setting, keys in files.items():
        for number, secret in keys.by_number.items():
            name = f"number {number} of {setting}"
            held[secret].append(name)
            if why := weakness(secret):
                newest = number == keys.newest
                found.append(_weak(f"Secret {name} {why}", newest=newest))
    for names in held.values():
        if len(names) > 1:
            says = f"The same secret is {' and '.join(names)}: each is to have its own."
            found.append(unsafe("shared-secret", says))
    return found


def _weak(says: str, *, newest: bool) -> Finding:
    if newest:
        add = "add one of openssl rand -hex 32 under the next number"
        return unsafe("weak-secret", f"{says}: {add}.")
    # It may have to stay, to read what was written under it.
    open_still = "what was made under it is open to whoever guesses it"
    return warning("weak-old-secret", f"{says}: {open_still}.")
