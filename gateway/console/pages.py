"""Draws pages: templates, what every one of them may say, and the headers they bear."""

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Response

from gateway.clock import JAKARTA_OFFSET, SECOND
from gateway.console.assets import ASSETS
from gateway.console.texts import LANGUAGES, NAMES, Texts

WIB: Final = timezone(timedelta(seconds=JAKARTA_OFFSET // SECOND), "WIB")
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def _wib(instant: str) -> str:
    """An instant of the API as people there read it: to the second, in Jakarta's time."""
    moment = datetime.fromisoformat(instant).astimezone(WIB)
    return moment.strftime("%Y-%m-%d %H:%M:%S WIB")


def _grouped(number: float) -> str:
    """12.345.678 is written by Indonesians, 12,345,678 by others: a space by all."""
    return f"{number:,}".replace(",", "\N{NO-BREAK SPACE}")


def _json(document: object) -> str:
    """For a shell's single quotes, which no name of ours holds."""
    return msgspec.json.encode(document).decode()


def _ms(seconds: float | None) -> str:
    """A bound of a histogram; "> 5 s" is not known more closely than that."""
    return "—" if seconds is None else f"{seconds * 1000:g}\N{NO-BREAK SPACE}ms"


def _rate(number: float) -> str:
    return _grouped(round(number)) if number >= 10 else f"{number:.1f}"  # noqa: PLR2004 - digits that tell something


def _size(octets: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if octets < 1000:  # noqa: PLR2004 - SI
            return f"{octets:.3g}\N{NO-BREAK SPACE}{unit}"
        octets /= 1000
    return f"{octets:.3g}\N{NO-BREAK SPACE}TB"


def _without(asked: Mapping[str, str], name: str) -> dict[str, str]:
    return {one: text for one, text in asked.items() if one != name}


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("gateway.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "wib": _wib,
        "grouped": _grouped,
        "json": _json,
        "ms": _ms,
        "python": repr,
        "rate": _rate,
        "size": _size,
    }
    made.globals |= {
        "assets": ASSETS,
        "languages": {one: NAMES[one] for one in LANGUAGES},
        "without": _without,
    }
    return made


TEMPLATES: Final = _environment()


def html(template: str, texts: Texts, told: Mapping[str, Any]) -> str:
    return TEMPLATES.get_template(template).render(t=texts, **told)


def draw(
    template: str, texts: Texts, told: Mapping[str, Any], *, status: int = 200
) -> Response[bytes]:
    """A page."""
    return Response(
        html(template, texts, told).encode(),
        status_code=status,
        media_type="text/html; charset=utf-8",
        headers=dict(HEADERS),
    )


def moment_of(local: str) -> str:
    """What a `datetime-local` field holds, as the API reads it: Jakarta's time.

    What is no such thing stays as it is, for the API to refuse.
    """
    try:
        moment = datetime.fromisoformat(local)
    except ValueError:
        return local
    return local if moment.tzinfo else moment.replace(tzinfo=WIB).isoformat()


def local_of(instant: str) -> str:
    """The other way round: what a `datetime-local` field is to hold at first."""
    return datetime.fromisoformat(instant).astimezone(WIB).strftime("%Y-%m-%dT%H:%M")
