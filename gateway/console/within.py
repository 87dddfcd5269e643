"""Asks the API's handlers in this process, as whoever is signed in at the console."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler

from gateway.edge.caller import HttpRequest, SignedIn
from gateway.partners.keys import Proved
from gateway.vocabulary import Reason

_JSON: Final = b"application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered: `document` is the body, None where there is none."""

    status: int
    headers: Mapping[str, str]
    document: Any

    @property
    def well(self) -> bool:
        return self.status < 400  # noqa: PLR2004 - HTTP status

    @property
    def reason(self) -> Reason | None:
        """Why not, of a problem."""
        if self.well:
            return None
        slug = str(self.document["type"]).replace("#", "/").rpartition("/")[2]
        return Reason.worded(slug)

    @property
    def faults(self) -> dict[str, str]:
        """What was wrong, by the name of the field: `/limits/day` is of `limits.day`."""
        errors = () if self.well else self.document.get("errors", ())
        return {
            one["pointer"].lstrip("?/").replace("/", "."): one["detail"]
            for one in errors
        }


def as_signed_in(
    request: HttpRequest,
    proved: Proved | None,
    *,
    method: str = "GET",
    path: str = "",
    query: Mapping[str, str] | None = None,
    body: object = None,
) -> SignedIn:
    """The request that a client would make who holds that key; nobody's without one."""
    sent = b"" if body is None else msgspec.json.encode(body)
    headers = [(b"content-type", _JSON), (b"content-length", str(len(sent)).encode())]

    async def receive() -> Any:
        return {"type": "http.request", "body": sent, "more_body": False}

    scope: Any = {
        **request.scope,
        "method": method,
        "path": path or request.scope["path"],
        "query_string": urlencode(query or {}).encode(),
        "headers": headers if sent else [],
        # Or Litestar would take what it has read of the page's own request.
        "state": {},
    }
    asked = SignedIn(scope, receive)
    asked.proved = proved
    return asked


async def ask(
    request: HttpRequest,
    proved: Proved | None,
    handler: HTTPRouteHandler,
    *,
    named: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    body: object = None,
) -> Response[Any]:
    """One call of the API; `named` are the parts of its path that have names."""
    (method,) = handler.http_methods
    asked = as_signed_in(request, proved, method=str(method), query=query, body=body)
    answered: Response[Any] = await handler.fn(asked, **(named or {}))
    return answered


def read(response: Response[Any]) -> Answer:
    content = response.content
    document = msgspec.json.decode(content) if content else None
    return Answer(response.status_code or 200, response.headers, document)
