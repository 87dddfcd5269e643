"""The admin's pages, of all kinds of things that an admin keeps."""

from typing import Final

from gateway.console import agreeing, institutions, keyholding, staffing

ROUTES: Final = (
    *institutions.ROUTES,
    *agreeing.ROUTES,
    *keyholding.ROUTES,
    *staffing.ROUTES,
)
