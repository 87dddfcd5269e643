"""The short way in for lookups, which come by the thousand a second.

Litestar's way to a handler and back (router, signature model, conversion of the response)
costs a lookup 50 microseconds of CPU, a fifth of all it takes. The handlers are the same
functions that Litestar has mounted, so what they answer is the same; every other path and
method goes Litestar's way.
"""

from collections.abc import Iterable
from typing import Any

from litestar import Litestar, Request, Response
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.types import Receive, Scope, Send

from gateway.edge.other_methods import METHODS, NO_ROUTES

_Headers = list[tuple[bytes, bytes]]


class Express:
    """An ASGI application: `app`, with the short way to some of its handlers.

    Args:
        app: has the handlers mounted.
        handlers: take the request and nothing else, and raise nothing.
    """

    def __init__(self, app: Litestar, handlers: Iterable[HTTPRouteHandler]) -> None:
        self._app = app
        self._handlers = {
            (str(method), path): handler
            for handler in handlers
            for method in handler.http_methods
            for path in handler.paths
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = None
        if scope["type"] == ScopeType.HTTP:
            handler = self._handlers.get((scope["method"], scope["path"]))
            if handler is None and scope["method"] not in METHODS:
                scope["method"] = NO_ROUTES
        if handler is None:
            await self._app(scope, receive, send)
            return
        scope["litestar_app"] = self._app
        scope["path_template"] = scope["path"]
        request: Request[Any, Any, Any] = Request(scope, receive, send)
        await _send(await handler.fn(request), send)


async def _send(response: Response[bytes], send: Send) -> None:
    body = response.content
    headers: _Headers = [
        (b"content-type", str(response.media_type).encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    headers += [
        (name.lower().encode(), value.encode("latin-1"))
        for name, value in response.headers.items()
    ]
    await send(
        {
            "type": "http.response.start",
            "status": response.status_code or 200,
            "headers": headers,
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})
