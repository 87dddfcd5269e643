"""Whether what a caller claims about a resident is so: yes or no for each claim.

Names are compared by similarity once case, accents, punctuation, spacing and titles
are out of the way; everything else must be equal once its spelling is normalised.
Nothing here is cached: what was compared is gone when the answer is.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Final

from rapidfuzz.distance import Indel

from gateway.registry.resident import Resident
from gateway.registry.titles import without_titles
from gateway.vocabulary import NAME_FIELDS

_NO_APOSTROPHES: Final = str.maketrans("", "", "'`´‘’ʻʼʿʾ′")  # noqa: RUF001 - these marks are the subject
_NO_STROKES: Final = str.maketrans(
    {"Æ": "AE", "Ð": "D", "Đ": "D", "Ł": "L", "Ø": "O", "Œ": "OE", "Þ": "TH"}
)
_NOT_IN_A_NAME: Final = re.compile(r"(?:(?![.,])[\W_])+")
# For ASCII, all of it in one pass: capitals, apostrophes gone, full stops and commas
# kept for telling titles, the rest to spaces.
_ASCII_TO_PLAIN: Final = str.maketrans(
    {
        letter: letter.upper() if letter.isalnum() or letter in ".," else " "
        for letter in map(chr, range(128))
    }
    | dict.fromkeys("'`", "")
)
_STOPS_TO_SPACES: Final = str.maketrans(".,", "  ")


def matches(
    resident: Resident, claims: Mapping[str, str], similarity_floor: float
) -> dict[str, bool]:
    """Answer each claim, in the order the claims were given.

    Args:
        resident: the subject, as the registry has them.
        claims: field of the contract -> what the caller says it is.
        similarity_floor: 0 to 1; a name is so at or above this normalised Indel
            similarity, 1 - (insertions + deletions) / (sum of the lengths).

    Returns:
        field -> True or False. A field the registry holds nothing for, and a claim
        that normalises to nothing, are False whatever the floor.
    """
    return {
        field: _is_so(field, resident[field], claim, similarity_floor)
        for field, claim in claims.items()
    }


def normalised_name(name: str) -> str:
    """Return the name's words in capitals: no accents, no punctuation, no titles."""
    return " ".join(without_titles(_plain(name)))


def _is_so(field: str, held: str | None, claim: str, similarity_floor: float) -> bool:
    if held is None:
        return False
    if field in NAME_FIELDS:
        left, right = normalised_name(held), normalised_name(claim)
        if not (left and right):
            return False
        return Indel.normalized_similarity(left, right) >= similarity_floor
    normalise = _NORMALISERS.get(field, _spelling)
    said = normalise(_visible(claim))
    return said != "" and normalise(_visible(held)) == said


def _plain(text: str) -> str:
    if text.isascii():
        return text.translate(_ASCII_TO_PLAIN)
    letters = _without_marks(text.translate(_NO_APOSTROPHES)).upper()
    return _NOT_IN_A_NAME.sub(" ", letters.translate(_NO_STROKES))


def _without_marks(text: str) -> str:
    # NFKD is NFKC taken apart, so that accents can be left out. Format characters
    # (category Cf: zero-width joiners and the like) are invisible and go with them.
    return "".join(
        letter
        for letter in unicodedata.normalize("NFKD", text)
        if unicodedata.category(letter) not in {"Mn", "Mc", "Me", "Cf"}
    )


def _visible(text: str) -> str:
    """Without format characters, which come along when a text is copied."""
    if text.isascii():
        return text
    return "".join(one for one in text if unicodedata.category(one) != "Cf")


def _spelling(text: str) -> str:
    """Case and spacing alone: the sign of a blood type must count."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.upper().split())


def _address(text: str) -> str:
    return " ".join(_plain(text).translate(_STOPS_TO_SPACES).split())


def _unspaced(text: str) -> str:
    return "".join(text.split())


def _neighbourhood(text: str) -> str:
    """RT and RW are numbers: 001, 01 and 1 are one place, 000 is none but equals 0."""
    number = text.strip()
    return number.lstrip("0") or number[-1:]


def _verbatim(text: str) -> str:
    return text


_NORMALISERS: Final[dict[str, Callable[[str], str]]] = {
    "nik": _unspaced,
    "kk": _unspaced,
    "birth_date": _verbatim,
    "address": _address,
    "rt": _neighbourhood,
    "rw": _neighbourhood,
}
