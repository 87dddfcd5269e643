"""The admin's pages of keys and tokens: finding one, showing a new one once, revoking."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Response, get, post
from litestar.params import FromPath

from gateway.clock import to_text
from gateway.console import history
from gateway.console.forms import AFRESH, again, done
from gateway.console.institutions import lives
from gateway.console.once import and_never_again, shown_here
from gateway.console.visit import Visit, go, shown
from gateway.edge import administration, listings
from gateway.edge.caller import MOST_BODY, HttpRequest
from gateway.partners.keys import ID_LENGTH
from gateway.vocabulary import Actor

_PREFIXES: Final = ("gdk_live_", "gdk_test_", "gds_live_", "gds_test_")


@get("/console/admin/keys", include_in_schema=False)
async def finding(request: HttpRequest) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        return visit.draw("admin_find_key.html")

    return await shown(request, Actor.ADMIN, work)


@post("/console/admin/keys", include_in_schema=False, request_max_body_size=MOST_BODY)
async def find_key(request: HttpRequest) -> Response[Any]:
    """To the page of the key, of which all or its eight characters were typed.

    Only those go into the address: what leaked may be typed whole.
    """

    async def work(visit: Visit) -> Response[Any]:
        text = visit.text("key")
        for prefix in _PREFIXES:
            text = text.removeprefix(prefix)
        key_id = text[:ID_LENGTH]
        if not (len(key_id) == ID_LENGTH and key_id.isascii() and key_id.isalnum()):
            return visit.draw("admin_find_key.html", status=400)
        return go(f"/console/admin/keys/{key_id}")

    return await shown(request, Actor.ADMIN, work)


@get("/console/admin/keys/{key:str}", include_in_schema=False)
async def key_page(request: HttpRequest, key: FromPath[str]) -> Response[Any]:
    """One key. Come to from the form that made it, it shows the secret, this once."""

    async def work(visit: Visit) -> Response[Any]:
        secret = shown_here(visit)
        page = await _draw(visit, key, AFRESH, secret)
        return page if secret is None else and_never_again(visit, page)

    return await shown(request, Actor.ADMIN, work)


async def _draw(
    visit: Visit, key: str, told: Mapping[str, Any], secret: str | None = None
) -> Response[bytes]:
    found = await visit.need(listings.one_key, named={"key": key})
    return visit.draw(
        "admin_key.html",
        key=found,
        lives=lives(found, to_text(visit.held.clock.now())),
        institution=found["institution"]
        and await _institution(visit, found["institution"]),
        history=history.told(found),
        secret=secret,
        **told,
    )


async def _institution(visit: Visit, number: int) -> Any:
    named = {"institution": str(number)}
    return await visit.need(listings.one_institution, named=named)


@post(
    "/console/admin/keys/{key:str}/revocation",
    include_in_schema=False,
    request_max_body_size=MOST_BODY,
)
async def revoke_key(request: HttpRequest, key: FromPath[str]) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        answer = await visit.ask(
            administration.revoke_key,
            named={"key": key},
            body={"reason": visit.text("reason")},
        )
        if not answer.well:
            return await _draw(visit, key, again(visit, answer))
        return done(f"/console/admin/keys/{key}", answer)

    return await shown(request, Actor.ADMIN, work)


ROUTES: Final = (finding, find_key, key_page, revoke_key)
