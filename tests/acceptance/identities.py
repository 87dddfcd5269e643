"""An OpenID provider of our own, over HTTP, whose tokens a test may spoil.

What it holds a client to is real: the client's secret, the redirect URI, a code that is
good once, and PKCE.
"""

import asyncio
import base64
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from html import escape
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey

CLIENT: Final = "gateway:console"
SECRET: Final = "a+secret:of/the%client"  # noqa: S105 - of a provider that tests make
Claims = dict[str, Any]
Sign = Callable[[Claims, ECKey], str]
# Where a browser signs in, which leads it on itself.
PAGE: Final = (
    '<!doctype html><html lang="en"><title>Ministry</title>'
    '<form method="post" action="/realm/login?{}"><button>Sign in</button></form>'
)


def signed(claims: Claims, key: ECKey) -> str:
    return jwt.encode({"alg": "ES256", "kid": key.kid}, claims, key, ["ES256"])


def new_key() -> ECKey:
    return ECKey.generate_key("P-256", {"use": "sig"}, auto_kid=True)


@dataclass
class Issued:
    """What a code is for."""

    asked: dict[str, str]
    subject: str


@dataclass
class Provider:
    """A browser that asks it is signed in as `subject`, and sent back to `gateway`.

    `said` is put into every token; `sign` makes its text. `down` is how it fails.
    """

    port: int = 0
    gateway: str = ""
    subject: str = ""
    key: ECKey = field(default_factory=new_key)
    said: Claims = field(default_factory=dict)
    sign: Sign = signed
    down: str = ""
    codes: dict[str, Issued] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}/realm"

    def rotate(self) -> None:
        self.key = new_key()

    def admit(self, address: str, subject: str, **instead: str) -> str:
        """Where somebody who signs in at this address is sent back to."""
        parts = urlsplit(address)
        assert address.startswith(f"{self.issuer}/auth?"), address
        asked = dict(parse_qsl(parts.query))
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = Issued(asked, subject)
        back = {"code": code, "state": asked["state"], "iss": self.issuer} | instead
        target = urlsplit(asked["redirect_uri"])
        return f"{target.path}?{urlencode(back)}"

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: str
    ) -> tuple[int, object]:
        self.asked.append(path)
        place, _, query = path.partition("?")
        match method, place:
            case "GET", "/realm/auth":
                return 200, PAGE.format(escape(query))
            case "POST", "/realm/login":
                address = f"{self.issuer}/auth?{query}"
                return 303, self.gateway + self.admit(address, self.subject)
            case "GET", "/realm/.well-known/openid-configuration":
                return 200, {
                    "issuer": self.issuer,
                    "authorization_endpoint": f"{self.issuer}/auth",
                    "token_endpoint": f"{self.issuer}/token",
                    "jwks_uri": f"{self.issuer}/keys",
                    "authorization_response_iss_parameter_supported": True,
                }
            case "GET", "/realm/keys":
                post_quantum = {"kty": "AKP", "kid": "pq", "alg": "ML-DSA-44"}
                other = {"kty": "oct", "kid": "mac", "k": "c2VjcmV0"}
                key = self.key.as_dict(private=False)
                return 200, {"keys": [post_quantum, other, key]}
            case "POST", "/realm/token":
                return self._exchange(headers, dict(parse_qsl(body)))
            case _:
                return 404, {}

    def _exchange(
        self, headers: dict[str, str], form: dict[str, str]
    ) -> tuple[int, object]:
        client = urlencode({"": CLIENT})[1:].replace("+", "%20")
        secret = urlencode({"": SECRET})[1:].replace("+", "%20")
        basic = base64.b64encode(f"{client}:{secret}".encode()).decode()
        if headers.get("authorization") != f"Basic {basic}":
            return 401, {"error": "invalid_client"}
        issued = self.codes.pop(form.get("code", ""), None)
        digest = sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if (
            issued is None
            or form["grant_type"] != "authorization_code"
            or form["redirect_uri"] != issued.asked["redirect_uri"]
            or challenge != issued.asked["code_challenge"]
        ):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims: Claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": issued.subject,
            "nonce": issued.asked["nonce"],
            "iat": now,
            "exp": now + 300,
        }
        told = {k: v for k, v in (claims | self.said).items() if v is not None}
        return 200, {"id_token": self.sign(told, self.key), "token_type": "Bearer"}

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            method, target, _ = first.split(" ")
            pairs = (line.split(":", 1) for line in lines)
            headers = {name.lower(): value.strip() for name, value in pairs}
            length = int(headers.get("content-length", "0"))
            body = (await reader.readexactly(length)).decode()
            status, document = self.answer(method, target, headers, body)
            page = document if isinstance(document, str) else json.dumps(document)
            told, extra = page.encode(), ""
            if status == 303:
                extra = f"Location: {page}\r\n"
            elif isinstance(document, str):
                extra = "Content-Type: text/html\r\n"
            if self.down == "redirects":
                status, extra = 302, f"Location: {self.issuer}/elsewhere\r\n"
            if self.down == "fails":
                status = 500
            if self.down == "endless":
                told = b" " * 1_000_000
            reply = f"HTTP/1.1 {status} X\r\n{extra}Content-Length: {len(told)}\r\n"
            writer.write(f"{reply}Connection: close\r\n\r\n".encode() + told)
            await writer.drain()
        except ConnectionError:
            # The gateway hung up, as on an answer that is too long.
            self.asked.append("hung up")
        finally:
            writer.close()


@asynccontextmanager
async def providing() -> AsyncIterator[Provider]:
    provider = Provider()
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    provider.port = server.sockets[0].getsockname()[1]
    try:
        yield provider
    finally:
        server.close()


def state_of(address: str) -> str:
    return parse_qs(urlsplit(address).query)["state"][0]
