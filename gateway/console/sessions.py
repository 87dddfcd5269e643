"""Who is signed in: sessions that all workers share, in PostgreSQL.

The browser holds a secret, the database its digest. Whose session it is says the key or
token of the sign-in, and that is looked up in the directory at every request: once it is
revoked its sessions are of no use, on every worker within a second.
"""

import base64
import hmac
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, NamedTuple

from cryptography.fernet import Fernet, InvalidToken

from gateway.partners.keys import Environment, Proved
from gateway.postgres import REFERENCE_GONE, Pool, queries
from gateway.settings import NumberedKeys

IDLE_SECONDS: Final = 15 * 60
LONGEST_SECONDS: Final = 12 * 3600
_SQL: Final = queries("gateway.console")


class Bound(NamedTuple):
    """A member of staff whom an OpenID provider knows: the token, and the identity's number."""

    proved: Proved
    identity: int


class NotBound(Exception):
    """The identity was removed while its holder signed in."""


@dataclass(frozen=True, slots=True)
class Session:
    """One browser's, while it is signed in. `secret` is what its cookie holds."""

    proved: Proved
    secret: str = field(repr=False)

    @property
    def csrf(self) -> str:
        """What every form carries, so that no other site can fill it in."""
        return hmac.digest(self.secret.encode(), b"csrf", sha256).hex()


class Sessions:
    """The sessions of all workers.

    Raises, from every method: gateway.postgres.SERVER_GONE, PostgreSQL is away.
    """

    def __init__(self, pool: Pool, peppers: NumberedKeys) -> None:
        self._pool = pool
        self._pepper = peppers.by_number[peppers.newest]

    async def begin(self, proved: Proved, identity: int | None = None) -> Session:
        """A session that ends with the token, and with the identity if it is by one.

        Raises:
            NotBound: there is no such identity now.
        """
        session = Session(proved, secrets.token_urlsafe(32))
        sandbox = proved.environment is Environment.TEST
        try:
            await self._pool.execute(
                _SQL["begin_session"],
                *(_digest(session.secret), proved.number, sandbox),
                *(float(LONGEST_SECONDS), identity),
            )
        except REFERENCE_GONE:
            raise NotBound from None
        return session

    async def bound_to(self, issuer: str, claim: str, subject: str) -> Bound | None:
        """Who is known by this identity, whether the token is still good or not."""
        row = await self._pool.fetchrow(_SQL["bound_to"], issuer, claim, subject)
        if row is None:
            return None
        return Bound(_proved(row["key"], sandbox=row["sandbox"]), row["number"])

    async def arrive(self, state: str, seconds: int) -> bool:
        """Whether this is the first return with a state that is good for so long."""
        # Twice as long, since clocks differ.
        row = await self._pool.fetchrow(
            _SQL["arrive"], _digest(state), 2.0 * float(seconds)
        )
        return row is not None

    async def find(self, secret: str, *, seen: bool) -> Session | None:
        """The session with this secret, if it is not over; `seen` lets it live on."""
        row = await self._pool.fetchrow(
            _SQL["see_session" if seen else "look_at_session"],
            *(_digest(secret), float(IDLE_SECONDS), float(LONGEST_SECONDS)),
        )
        if row is None:
            return None
        return Session(_proved(row["key"], sandbox=row["sandbox"]), secret)

    async def end(self, session: Session) -> None:
        await self._pool.execute(_SQL["end_session"], _digest(session.secret))

    def seal(self, session: Session, text: str) -> str:
        """A text that a page carries to the next one and that nobody can read there."""
        return self._fernet(session).encrypt(text.encode()).decode()

    def open(self, session: Session, sealed: str) -> str | None:
        """What was sealed in this session a little while ago; None for anything else."""
        try:
            return self._fernet(session).decrypt(sealed, ttl=IDLE_SECONDS).decode()
        except (InvalidToken, ValueError):
            # The second for what is not ASCII.
            return None

    def _fernet(self, session: Session) -> Fernet:
        secret = b"console:" + session.secret.encode()
        return Fernet(
            base64.urlsafe_b64encode(hmac.digest(self._pepper, secret, sha256))
        )


def _proved(key: int, *, sandbox: bool) -> Proved:
    return Proved(key, Environment.TEST if sandbox else Environment.LIVE)


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
