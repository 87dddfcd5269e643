"""The ministry's identity provider: what it says of itself, its keys, and its tokens.

Asked for nothing until somebody signs in by it. Calls have a deadline and a bound on the
answer, follow no redirect, and go to https or to this machine. One that failed is not
tried again for a moment, so that a provider which hangs holds few of us up.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, urlencode

import httpx
import msgspec
import structlog
from joserfc.jwk import KeySet

from gateway.oidc import id_token
from gateway.oidc.departure import Departure
from gateway.oidc.id_token import Claims, NotBelieved, UnknownKey
from gateway.problems import ReducedCapacity
from gateway.settings import OidcSettings, is_safe_url, read_client_secret

log = structlog.get_logger()

DEADLINE_SECONDS: Final = 5.0
MOST_ANSWER: Final = 256 * 1024
MOST_CALLS: Final = 10
KEPT_SECONDS: Final = 3600.0
PAUSE_SECONDS: Final = 2.0
_DISCOVERY: Final = "/.well-known/openid-configuration"
# RFC 6749 §5.2: what may be told of an error, as nothing in it is anybody's.
_ERRORS: Final = {
    *("invalid_request", "invalid_client", "invalid_grant"),
    *("unauthorized_client", "unsupported_grant_type", "invalid_scope"),
}
_SCOPES: Final = {"sub": "openid", "email": "openid email"}
T = TypeVar("T")


class ProviderUnavailable(ReducedCapacity):
    """The provider cannot be asked now. The text says why, in fixed words."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a provider says of itself (OpenID Connect Discovery 1.0, §3)."""

    authorization: str
    token: str
    keys: str
    tells_issuer: bool

    @classmethod
    def read(cls, document: Any, issuer: str) -> "Metadata":
        """Raises ValueError: not this issuer's, or not fit to be followed."""
        if not isinstance(document, dict) or document.get("issuer") != issuer:
            raise ValueError("of another issuer")
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        leave, token, keys = (str(document.get(name)) for name in names)
        if not all(map(is_safe_url, (leave, token, keys))):
            raise ValueError("without safe addresses")
        # RFC 9207 §3.
        tells = document.get("authorization_response_iss_parameter_supported")
        return cls(leave, token, keys, tells_issuer=tells is True)


class _Kept(Generic[T]):
    """Something of the provider's, asked for by one at a time and kept for an hour."""

    def __init__(self) -> None:
        self._asking = asyncio.Lock()
        self._known: T | None = None
        self._until = -math.inf
        self._paused_until = -math.inf

    def forget(self) -> None:
        self._until = -math.inf

    async def get(self, ask: Callable[[], Any]) -> T:
        async with self._asking:
            if self._known is None or time.monotonic() >= self._until:
                if time.monotonic() < self._paused_until:
                    raise ProviderUnavailable("failed a moment ago")
                try:
                    self._known = await ask()
                except ProviderUnavailable:
                    self._paused_until = time.monotonic() + PAUSE_SECONDS
                    raise
                self._until = time.monotonic() + KEPT_SECONDS
            return self._known


class IdentityProvider:
    """One worker's way to the provider.

    Raises, from `address` and `claims`:
        ProviderUnavailable: it cannot be asked, or answers what it should not.
    """

    def __init__(self, settings: OidcSettings) -> None:
        self.issuer = settings.oidc_issuer
        self.claim = settings.oidc_claim
        self._client_id = settings.oidc_client_id
        self._redirect_uri = settings.oidc_redirect_uri
        secret = read_client_secret(settings.oidc_client_secret_file)
        # RFC 6749 §2.3.1: encoded as a form is, before it is Basic.
        self._auth = httpx.BasicAuth(quote(self._client_id, ""), quote(secret, ""))
        self._client = httpx.AsyncClient(
            timeout=DEADLINE_SECONDS,
            limits=httpx.Limits(max_connections=MOST_CALLS),
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )
        self._metadata = _Kept[Metadata]()
        self._keys = _Kept[KeySet]()

    async def close(self) -> None:
        await self._client.aclose()

    async def address(self, departure: Departure) -> str:
        """Where the browser goes to sign in (OpenID Connect Core 1.0, §3.1.2.1)."""
        metadata = await self._know()
        asked = {
            "response_type": "code",
            "scope": _SCOPES.get(self.claim, "openid profile"),
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "state": departure.state,
            "nonce": departure.nonce,
            "code_challenge": departure.challenge,
            "code_challenge_method": "S256",
        }
        return f"{metadata.authorization}?{urlencode(asked)}"

    async def is_told_by(self, issuer: str | None) -> bool:
        """Whether an answer with this `iss` can be this provider's (RFC 9207 §2.4)."""
        if issuer is None:
            return not (await self._know()).tells_issuer
        return issuer == self.issuer

    async def claims(self, code: str, departure: Departure, now: int) -> Claims:
        """What the provider says of who came back with this code, at `now` in seconds.

        Raises:
            NotBelieved: the code is not good, or the token is not to be believed.
        """
        token = await self._exchange(code, departure)
        try:
            return await self._verify(token, departure, now)
        except UnknownKey:
            # Keys are rotated; only its own token endpoint can make us ask again.
            self._keys.forget()
        try:
            return await self._verify(token, departure, now)
        except UnknownKey:
            raise NotBelieved("unknown key") from None

    async def _verify(self, token: str, departure: Departure, now: int) -> Claims:
        return id_token.verify(
            token,
            await self._keys.get(self._ask_for_keys),
            issuer=self.issuer,
            client=self._client_id,
            nonce=departure.nonce,
            now=now,
        )

    async def _exchange(self, code: str, departure: Departure) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": departure.verifier,
        }
        url = (await self._know()).token
        status, document = await self._ask("POST", url, data=form, auth=self._auth)
        told = document if isinstance(document, dict) else {}
        error, token = told.get("error"), told.get("id_token")
        if error == "invalid_grant":
            # Used before, over, or of another departure.
            raise NotBelieved("code")
        if status != httpx.codes.OK or not isinstance(token, str):
            known = error if error in _ERRORS else ""
            raise self._unavailable("token", f"status {status} {known}".strip())
        return token

    async def _know(self) -> Metadata:
        return await self._metadata.get(self._discover)

    async def _discover(self) -> Metadata:
        document = await self._read(f"{self.issuer.rstrip('/')}{_DISCOVERY}")
        try:
            return Metadata.read(document, self.issuer)
        except ValueError as error:
            raise self._unavailable("discovery", str(error)) from None

    async def _ask_for_keys(self) -> KeySet:
        document = await self._read((await self._know()).keys)
        try:
            return id_token.read_keys(document)
        except TypeError as error:
            raise self._unavailable("keys", str(error)) from None

    async def _read(self, url: str) -> object:
        status, document = await self._ask("GET", url)
        if status != httpx.codes.OK:
            raise self._unavailable("document", f"status {status}")
        return document

    async def _ask(
        self,
        method: str,
        url: str,
        *,
        data: Mapping[str, str] | None = None,
        auth: httpx.Auth | None = None,
    ) -> tuple[int, object]:
        """The status, and the JSON of the answer; None where there is none in it."""
        try:
            async with (
                asyncio.timeout(DEADLINE_SECONDS),
                self._client.stream(method, url, data=data, auth=auth) as response,
            ):
                content = b""
                async for some in response.aiter_raw():
                    content += some
                    if len(content) > MOST_ANSWER:
                        raise self._unavailable("answer", "has no end")
        except (httpx.HTTPError, TimeoutError) as error:
            raise self._unavailable("call", type(error).__name__) from None
        try:
            return response.status_code, msgspec.json.decode(content)
        except msgspec.DecodeError:
            return response.status_code, None

    def _unavailable(self, what: str, why: str) -> ProviderUnavailable:
        log.warning("oidc_failed", issuer=self.issuer, what=what, why=why)
        return ProviderUnavailable(f"{what}: {why}")
