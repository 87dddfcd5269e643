"""What a browser takes along to the provider and must bring back, readable to us alone.

A departure is kept nowhere: its cookie holds it, sealed. So that it is used once, its
return is noted (gateway/console/sessions.py).
"""

import base64
import hmac
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Self

import msgspec
from cryptography.fernet import Fernet, InvalidToken

from gateway.settings import NumberedKeys

SECONDS: Final = 600
_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Departure:
    """One way to the provider. `verifier` is PKCE's (RFC 7636)."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)

    @classmethod
    def make(cls) -> Self:
        return cls(*(secrets.token_urlsafe(_BYTES) for _ in range(3)))

    @property
    def challenge(self) -> str:
        """RFC 7636 §4.2, S256."""
        digest = sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def is_answered_by(self, state: str) -> bool:
        return hmac.compare_digest(self.state.encode(), state.encode())


class Departures:
    """Seals departures under the newest pepper. Instants are seconds since 1970."""

    def __init__(self, peppers: NumberedKeys) -> None:
        pepper = peppers.by_number[peppers.newest]
        key = hmac.digest(pepper, b"oidc departure", sha256)
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def seal(self, departure: Departure, now: int) -> str:
        told = msgspec.json.encode(departure)
        return self._fernet.encrypt_at_time(told, now).decode()

    def open(self, sealed: str, now: int) -> Departure | None:
        """None for what we did not seal, and for one that left too long ago."""
        try:
            told = self._fernet.decrypt_at_time(sealed, SECONDS, now)
        except (InvalidToken, ValueError):
            # The second for what is not ASCII.
            return None
        return msgspec.json.decode(told, type=Departure)
