"""A secret that was just made is shown on one page, once.

From the form's answer to the page that shows it, it goes in a cookie, sealed so that
only the gateway reads it and only in this session; that page takes the cookie away.
"""

from typing import Any, Final

from litestar import Response
from litestar.datastructures import Cookie

from gateway.console.visit import Visit, cookie_name, go

SECONDS: Final = 60


def go_and_show(visit: Visit, address: str, secret: str) -> Response[bytes]:
    """Sends the browser on to the page of this address, which is to show the secret."""
    sent = go(address)
    sent.set_cookie(_cookie(visit, visit.seal(f"{address} {secret}")))
    return sent


def shown_here(visit: Visit) -> str | None:
    """The secret that this page is to show; None if there is none for it."""
    sealed = visit.request.cookies.get(_name(visit))
    opened = visit.unseal(sealed) if sealed else None
    address, _, secret = (opened or "").partition(" ")
    return secret if secret and address == visit.path else None


def and_never_again(visit: Visit, page: Response[Any]) -> Response[Any]:
    """The page that showed it, and the cookie is gone."""
    page.set_cookie(_cookie(visit, ""))
    return page


def _name(visit: Visit) -> str:
    return f"{cookie_name(visit.request)}-once"


def _cookie(visit: Visit, sealed: str) -> Cookie:
    return Cookie(
        _name(visit),
        "/",
        sealed,
        max_age=SECONDS if sealed else 0,
        httponly=True,
        secure=cookie_name(visit.request).startswith("__Host-"),
        samesite="strict",
    )
