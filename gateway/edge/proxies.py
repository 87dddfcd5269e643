"""Whose call it is behind a proxy: the one place where a header tells who is calling.

It stands before everything else, and sets the client of the ASGI scope, from which all
the rest takes it: entries, allow lists of keys, floods, throttles, jobs, the console.
Beside it in the scope, under CERTIFICATE, stands what certificate the client has.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, cast

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.audit.entry import parse_address, parsed
from gateway.edge import certificates
from gateway.settings import Network

HEADER: Final = b"x-forwarded-for"
# Of the scope: no caller can set it, as it could a header.
CERTIFICATE: Final = "gateway.client_certificate"


def judging(networks: Sequence[Network]) -> Callable[[str], tuple[str, bool]]:
    """Of an address: its canonical form, and whether it is a proxy of ours."""

    @lru_cache(maxsize=4096)
    def judged(text: str) -> tuple[str, bool]:
        address = parse_address(text)
        return address, any(parsed(address) in network for network in networks)

    return judged


class TrustedProxies:
    """An ASGI application: `app`, told of each call whom our own proxies made it for.

    Args:
        networks: of the proxies whose word is taken.
    """

    def __init__(self, app: ASGIApp, networks: Sequence[Network]) -> None:
        self._app = app
        self._read = judging(networks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and scope["client"] is not None:
            peer, port = scope["client"]
            if self._read(peer)[1]:
                told = [v for n, v in scope["headers"] if n == HEADER]
                scope["client"] = (self._client(peer, told), port)
                shown = [v for n, v in scope["headers"] if n == certificates.HEADER]
                if shown:
                    # A key of ours, which the type of a scope does not know.
                    noted = cast("dict[str, Any]", scope)
                    noted[CERTIFICATE] = certificates.presented(shown)
        await self._app(scope, receive, send)

    def _client(self, peer: str, told: list[bytes]) -> str:
        """The rightmost address that is none of our proxies' own.

        Each proxy adds, at the right, whom it was asked by. So what stands left of the first
        address that we do not trust is anybody's word, and is not read. Where a proxy of
        ours wrote what is no address, or nothing, the call is its own.
        """
        client, ours = peer, True
        rest = b",".join(told).decode("latin-1")
        while rest and ours:
            rest, _, text = rest.rpartition(",")
            if "%" in text:
                # A scope names an interface of the proxy, in any words.
                return client
            try:
                client, ours = self._read(text.strip(" \t"))
            except ValueError:
                return client
        return client
