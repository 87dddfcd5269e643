"""What the admin's forms share: how one is drawn at first, and again when it is refused."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from litestar import Response

from gateway.console.visit import Refused, Visit, go
from gateway.console.within import Answer
from gateway.vocabulary import Reason

AFRESH: Final[Mapping[str, Any]] = {
    "faults": {},
    "why": "",
    "overtaken": False,
    "kept": {},
}
# No form is of use to who may not, nor of what is not there.
_HOPELESS: Final = {Reason.UNAUTHENTICATED, Reason.FORBIDDEN, Reason.NOT_FOUND}
_LONGEST_NUMBER: Final = 18


def again(visit: Visit, answer: Answer) -> dict[str, Any]:
    """What a form needs to be drawn again: what is wrong, and all that was typed.

    Raises:
        Refused: to draw it again would help nobody.
    """
    if answer.reason in _HOPELESS:
        raise Refused(answer)
    return {
        "status": answer.status,
        "faults": answer.faults,
        "why": "" if answer.faults else visit.why(answer),
        "overtaken": False,
        "kept": typed(visit),
    }


def overtaken(visit: Visit) -> dict[str, Any]:
    """The same where somebody else has changed the thing since the form was drawn."""
    return {**AFRESH, "status": 409, "overtaken": True, "kept": typed(visit)}


def typed(visit: Visit) -> dict[str, str]:
    return {name: visit.text(name) for name in visit.form}


def done(address: str, answer: Answer) -> Response[bytes]:
    """Sends the browser on to the page of what was changed, which tells of the change."""
    return go(f"{address}?{urlencode({'done': answer.headers['Access-Id']})}")


def number(text: str) -> int | str:
    """A whole number as people type it; any other text as it is, for the API to refuse."""
    digits = text.replace(" ", "").replace("\N{NO-BREAK SPACE}", "")
    if digits.isascii() and digits.isdigit() and len(digits) <= _LONGEST_NUMBER:
        return int(digits)
    return text
