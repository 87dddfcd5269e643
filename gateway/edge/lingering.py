"""A refusal of a long body is heard: what still comes of it is read, and thrown away.

A server that closes a connection on which more is coming resets it (RFC 9112 §9.6), and the
answer that it sent before may be lost: a proxy that is still writing then tells 502, and a
client that a connection broke.
"""

import asyncio
from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, ReceiveMessage, Scope, Send

# Those whose bodies are longer than what lies in the buffers on the way.
LONG: Final = frozenset({"/v1/batch", "/v1/jobs"})
LINGER_SECONDS: Final = 5.0


class Lingering:
    """An ASGI application: `app`, which takes its time after an early answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["path"] not in LONG:
            await self._app(scope, receive, send)
            return
        ended = False

        async def receive_and_see() -> ReceiveMessage:
            nonlocal ended
            message = await receive()
            ended = _is_last(message)
            return message

        await self._app(scope, receive_and_see, send)
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while not ended:
                    await receive_and_see()
        except TimeoutError:
            # Whoever has not read the answer by now writes without listening.
            return


def _is_last(message: ReceiveMessage) -> bool:
    """Of the body, or of the connection."""
    return message["type"] != "http.request" or not message.get("more_body")
