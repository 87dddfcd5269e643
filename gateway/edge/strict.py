"""Reads untrusted text strictly: every fault at once, and nothing sent is repeated.

Each `read_…` gives the value, or None after adding what is wrong to `faults`.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime
from typing import Final, Never
from unicodedata import category

from gateway.clock import from_datetime
from gateway.problems import Fault, InvalidRequest
from gateway.registry.resident import is_nik
from gateway.vocabulary import RESIDENT_FIELDS

LONGEST_TEXT: Final = 64
LONGEST_CLAIM: Final = 200
_SIXTEEN_DIGITS: Final = re.compile(r"\d{16}")
_KEY: Final = re.compile(r"gd[ks]_(?:live|test)_[0-9A-Za-z]{8}")
_NAMEABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_INSTANT: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:[0-5]\d)"
)
_ISO_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_BARE_KEY: Final = re.compile(r"[!#-~][!-~]{0,63}")
_QUOTED_KEY: Final = re.compile(r'"((?:[!#-\[\]-~]|\\["\\]){1,64})"')
_FIELD_NAMES: Final = frozenset(RESIDENT_FIELDS)


class _Members(dict[str, object]):
    """An object of the body; `twice` names the members that came more than once."""

    twice: tuple[str, ...] = ()


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = _Members(pairs)
    if len(members) != len(pairs):
        times = Counter(name for name, _ in pairs)
        members.twice = tuple(name for name in members if times[name] > 1)
    return members


def _no_constant(_: str) -> Never:
    raise ValueError("JSON has no NaN and no Infinity")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_members, parse_constant=_no_constant
)


def parse_object(body: bytes) -> dict[str, object]:
    """The JSON object in a body.

    Raises:
        InvalidRequest: if it is not UTF-8, not JSON (RFC 8259) or not an object.
    """
    try:
        parsed = _DECODER.decode(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise InvalidRequest([Fault("", "want one JSON object in UTF-8")]) from None
    if not isinstance(parsed, dict):
        raise InvalidRequest([Fault("", "want one JSON object")])
    return parsed


def pointer(parent: str, name: str) -> str:
    """An RFC 6901 pointer, or the parent's where the name could itself tell something."""
    return f"{parent}/{name}" if _may_be_named(name) else parent


def _may_be_named(name: str) -> bool:
    return bool(_NAMEABLE.fullmatch(name)) and not (
        _SIXTEEN_DIGITS.search(name) or _KEY.search(name)
    )


def check_members(
    members: Mapping[str, object],
    known: AbstractSet[str],
    faults: list[Fault],
    parent: str = "",
) -> None:
    """Every member known, and each once."""
    if not members.keys() <= known:
        faults.extend(
            Fault(pointer(parent, name), "no such member")
            for name in sorted(members.keys() - known)
        )
    check_once(members, faults, parent)


def check_once(value: object, faults: list[Fault], at: str) -> None:
    """Every member of an object within the body once; what else it is, others check."""
    if isinstance(value, _Members) and value.twice:
        faults.extend(
            Fault(pointer(at, name), "given more than once") for name in value.twice
        )


def read_nik(value: object, faults: list[Fault], at: str = "/nik") -> str | None:
    if isinstance(value, str) and is_nik(value):
        return value
    faults.append(Fault(at, "want a string of 16 digits"))
    return None


def read_purpose(
    value: object, faults: list[Fault], at: str = "/purpose"
) -> str | None:
    """What an institution calls its purpose: whether there is such a one is for grants."""
    return read_text(value, faults, at)


def read_text(
    value: object,
    faults: list[Fault],
    at: str,
    *,
    shortest: int = 1,
    longest: int = LONGEST_TEXT,
) -> str | None:
    """Free text that goes into the log: printable, without a NIK's digits or a key.

    Any space of Unicode (category Zs) may stand in it, as word processors write them.
    """
    if not isinstance(value, str) or not shortest <= len(value) <= longest:
        faults.append(Fault(at, f"want a text of {shortest} to {longest} characters"))
    elif not _may_be_logged(value):
        faults.append(Fault(at, "want printable characters only"))
    elif _SIXTEEN_DIGITS.search(_joined(value)):
        faults.append(Fault(at, "must not hold 16 digits in a row"))
    elif _KEY.search(_joined(value)):
        faults.append(Fault(at, "must not hold a key"))
    else:
        return value
    return None


def _may_be_logged(text: str) -> bool:
    """Printable, or a space; no line separators, and nothing invisible or reordering."""
    # To Python U+0020 is the only space that is printable.
    return text.isprintable() or all(
        one.isprintable() or category(one) == "Zs" for one in text
    )


def _joined(text: str) -> str:
    """Without spaces other than U+0020, of which some are too thin to be seen."""
    return text if text.isprintable() else "".join(filter(str.isprintable, text))


def read_claims(
    value: object, faults: list[Fault], at: str = "/claims"
) -> dict[str, str]:
    """Field to claim; those that are well formed, in the order they were given."""
    if not isinstance(value, dict) or not value:
        faults.append(Fault(at, "want an object of at least one claim"))
        return {}
    check_members(value, _FIELD_NAMES, faults, at)
    return {
        name: claim
        for name, claim in value.items()
        if name in _FIELD_NAMES and _is_claim(at, name, claim, faults)
    }


def _is_claim(at: str, name: str, claim: object, faults: list[Fault]) -> bool:
    if not isinstance(claim, str) or not 1 <= len(claim) <= LONGEST_CLAIM:
        wanted = f"want a text of 1 to {LONGEST_CLAIM} characters"
    elif not _may_be_claimed(claim):
        wanted = "want printable characters only"
    elif name == "birth_date" and not _is_date(claim):
        wanted = "want a date, YYYY-MM-DD"
    else:
        return True
    faults.append(Fault(f"{at}/{name}", wanted))
    return False


def _may_be_claimed(text: str) -> bool:
    """Printable, or what comparing leaves out: white space and format characters.

    No claim is kept, so these deceive nobody.
    """
    return text.isprintable() or all(
        one.isprintable() or one.isspace() or category(one) == "Cf" for one in text
    )


def _is_date(text: str) -> bool:
    try:
        return bool(_ISO_DATE.fullmatch(text) and date.fromisoformat(text))
    except ValueError:
        return False


def read_fields(
    value: object, faults: list[Fault], at: str = "/fields"
) -> tuple[str, ...]:
    """The fields asked for, without those that are none."""
    if not isinstance(value, list) or not value:
        faults.append(Fault(at, "want a list of at least one field"))
        return ()
    fields: list[str] = []
    for place, name in enumerate(value):
        if not isinstance(name, str) or name not in _FIELD_NAMES:
            faults.append(Fault(f"{at}/{place}", "no such field"))
        elif name in fields:
            faults.append(Fault(f"{at}/{place}", "given more than once"))
        else:
            fields.append(name)
    return tuple(fields)


def read_instant(value: object, faults: list[Fault], at: str) -> int | None:
    """RFC 3339 with any offset, as microseconds since 1970."""
    try:
        if isinstance(value, str) and _INSTANT.fullmatch(value):
            moment = datetime.fromisoformat(value.upper())
            return from_datetime(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        # A thirteenth month, say: of the form, but no instant.
        pass
    faults.append(Fault(at, "want a time such as 2026-11-24T13:00:00Z"))
    return None


def read_number(
    value: object, faults: list[Fault], at: str, *, least: int, most: int
) -> int | None:
    """A whole number from a query."""
    digits = isinstance(value, str) and value.isascii() and value.isdigit()
    if (
        digits
        and len(str(value)) <= len(str(most))
        and least <= int(str(value)) <= most
    ):
        return int(str(value))
    faults.append(Fault(at, f"want a number from {least} to {most}"))
    return None


def read_id(value: object, faults: list[Fault], at: str) -> int:
    """A number in a body that names something; 0, which names nothing, if it is none."""
    # A bool is an int to Python, and true is no id.
    if type(value) is int:
        return value
    faults.append(Fault(at, "want a number"))
    return 0


def read_idempotency_key(values: list[str], faults: list[Fault]) -> str | None:
    """The key of the header's values, if it came: it may stand bare or in quotes.

    In quotes it is a string of RFC 9651 §3.3.3, as draft-ietf-httpapi-idempotency-key-header
    wants it, and the same key as without them.
    """
    if not values:
        return None
    text = values[0].strip(" \t") if len(values) == 1 else ""
    if _BARE_KEY.fullmatch(text):
        return text
    if quoted := _QUOTED_KEY.fullmatch(text):
        return re.sub(r"\\(.)", r"\1", quoted[1])
    wanted = "want one key of 1 to 64 visible ASCII characters"
    faults.append(Fault("/headers/idempotency-key", wanted))
    return None


def query_members(
    pairs: Iterable[tuple[str, str]], known: Iterable[str], faults: list[Fault]
) -> dict[str, str]:
    """The parameters of a query; unknown and repeated ones are faults."""
    given: dict[str, str] = {}
    known = frozenset(known)
    for name, value in pairs:
        if name not in known:
            at = f"?{name}" if _may_be_named(name) else "?"
            faults.append(Fault(at, "no such parameter"))
        elif name in given:
            faults.append(Fault(f"?{name}", "given more than once"))
        else:
            given[name] = value
    return given
