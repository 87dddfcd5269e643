"""The admin's pages, of all kinds of things that an admin keeps."""

from typing import Final

from gateway.console import (
    agreeing,
    certifying,
    institutions,
    keyholding,
    limiting,
    proposing,
    staffing,
)

ROUTES: Final = (
    *institutions.ROUTES,
    *agreeing.ROUTES,
    *limiting.ROUTES,
    *keyholding.ROUTES,
    *certifying.ROUTES,
    *staffing.ROUTES,
    *proposing.ROUTES,
)
