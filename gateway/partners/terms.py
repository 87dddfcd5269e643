"""What an admin may write, checked all at once: pure.

Every function takes decoded JSON as it came, adds what is wrong with it to `faults`,
and returns what it could read. Whoever calls refuses the whole if there are faults,
so nothing read in part is ever used. What is refused here, the schema refuses too;
here it is said in words and with a pointer.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, NamedTuple

from gateway.clock import from_datetime
from gateway.partners.agreement import OPERATION_BIT, STATUSES, Status
from gateway.partners.keys import ID_LENGTH
from gateway.problems import Fault, NotFound
from gateway.vocabulary import FIELD_BIT, STAFF_ROLES, Actor, Limits

Network = IPv4Network | IPv6Network

MOST: Final = Limits(rate=10**6, burst=10**7, day=10**12, month=10**12)
LONGEST_NAME: Final = 200
LONGEST_SUBJECT: Final = 255
HIGHEST_ID: Final = 2**31 - 1
# In place of an instant that could not be read, so that the rest is still checked.
EARLIEST: Final = from_datetime(datetime.min.replace(tzinfo=UTC))
LATEST: Final = from_datetime(datetime.max.replace(tzinfo=UTC))
DEFAULT_NAME_SIMILARITY: Final = 0.9
LOWEST_NAME_SIMILARITY: Final = 0.5

_GRANT_MEMBERS: Final = frozenset(
    {"purpose", "operations", "fields", "name_similarity"}
)
_WRITTEN_ID: Final = re.compile(r"[1-9][0-9]{0,9}")
# A name is kept and shown like any other free text.
_NIK_OR_KEY: Final = re.compile(r"\d{16}|gd[ks]_(?:live|test)_[0-9A-Za-z]{8}")
_FINGERPRINT: Final = re.compile(r"[0-9A-Fa-f]{64}")
_WHOLE_NIK_OR_KEY: Final = re.compile(
    r"(?<!\d)\d{16}(?!\d)|gd[ks]_(?:live|test)_[0-9A-Za-z]{8}"
)
_ROLES: Final = {role.word: role for role in STAFF_ROLES}


class GrantTerms(NamedTuple):
    """A grant as it is stored: a purpose's number, two sets of bits, and a share."""

    purpose: int
    operations: int
    fields: int
    name_similarity: float


def read_name(value: object, faults: list[Fault], at: str = "/name") -> str:
    name = value.strip() if isinstance(value, str) else ""
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        detail = f"must be 1 to {LONGEST_NAME} printable characters"
        faults.append(Fault(at, detail))
    elif _NIK_OR_KEY.search(name):
        detail = "must hold neither 16 digits in a row nor a key"
        faults.append(Fault(at, detail))
    return name


def read_fingerprint(value: object, faults: list[Fault]) -> bytes:
    """Read the SHA-256 of a certificate in hexadecimal, as openssl or sha256sum print it."""
    text = value.replace(":", "") if isinstance(value, str) else ""
    if not _FINGERPRINT.fullmatch(text):
        detail = "must be the SHA-256 of a certificate: 64 hexadecimal digits"
        faults.append(Fault("/fingerprint", detail))
        return b""
    return bytes.fromhex(text)


def read_subject(value: object, faults: list[Fault]) -> str:
    """Whom a provider's tokens are about. Other digits than a NIK's, such as a NIP's, may be."""
    subject = value.strip() if isinstance(value, str) else ""
    if not 0 < len(subject) <= LONGEST_SUBJECT or not subject.isprintable():
        detail = f"must be 1 to {LONGEST_SUBJECT} printable characters"
        faults.append(Fault("/subject", detail))
    elif _WHOLE_NIK_OR_KEY.search(subject):
        faults.append(Fault("/subject", "must hold neither a NIK nor a key"))
    return subject


def read_role(value: object, faults: list[Fault]) -> Actor:
    role = _ROLES.get(value) if isinstance(value, str) else None
    if role is None:
        faults.append(Fault("/role", _one_of(_ROLES)))
        return Actor.UNIDENTIFIED
    return role


def read_status(value: object, faults: list[Fault]) -> Status:
    for status in STATUSES:
        if value == status:
            return status
    faults.append(Fault("/status", _one_of(dict.fromkeys(STATUSES))))
    return "suspended"


def read_same_institution(value: object, holder: int, faults: list[Fault]) -> None:
    """Check that an agreement is not to become another's: what it was is in the log."""
    if value is not None and (type(value) is not int or value != holder):
        faults.append(Fault("/institution", "must be the one whose agreement it is"))


def read_span(from_at: int, to_at: int, faults: list[Fault]) -> None:
    """Check that an agreement ends after it begins (instants in microseconds)."""
    if from_at >= to_at:
        faults.append(Fault("/to", "must be later than from"))


def read_limits(
    value: object,
    faults: list[Fault],
    *,
    current: Limits | None = None,
    at: str = "/limits",
) -> Limits:
    """Read `{"rate", "burst", "day", "month"}`: whole numbers from 1 to `MOST`.

    A limit left out stays what it is in `current`; without that it is a fault.
    """
    if not isinstance(value, Mapping):
        faults.append(Fault(at, f"must have {', '.join(Limits._fields)}"))
        return MOST
    if not value.keys() <= set(Limits._fields):
        faults.append(Fault(at, f"has only {', '.join(Limits._fields)}"))
    before = current._asdict() if current is not None else {}
    limits = {name: value.get(name, before.get(name)) for name in Limits._fields}
    for name, most in MOST._asdict().items():
        # A bool is an int to Python, and true is no limit.
        if type(limits[name]) is not int or not 1 <= limits[name] <= most:
            detail = f"must be a whole number from 1 to {most}"
            faults.append(Fault(f"{at}/{name}", detail))
    return Limits(**limits)


def read_grants(
    value: object, purposes: Mapping[str, int], faults: list[Fault]
) -> list[GrantTerms]:
    """Read `[{"purpose", "operations", "fields", "name_similarity"?}]`, at least one.

    Args:
        value: what was sent.
        purposes: each purpose's number by its name.
        faults: what is wrong is added here.
    """
    if not isinstance(value, list) or not value:
        faults.append(Fault("/grants", "must be a list of at least one grant"))
        return []
    granted: list[GrantTerms] = []
    for place, item in enumerate(value):
        pointer = f"/grants/{place}"
        terms = _read_grant(item, pointer, purposes, faults)
        if terms.purpose and terms.purpose in {other.purpose for other in granted}:
            faults.append(Fault(f"{pointer}/purpose", "must not be granted twice"))
        granted.append(terms)
    return granted


def _read_grant(
    value: object, pointer: str, purposes: Mapping[str, int], faults: list[Fault]
) -> GrantTerms:
    if not isinstance(value, Mapping):
        faults.append(Fault(pointer, "must have purpose, operations and fields"))
        return GrantTerms(0, 0, 0, DEFAULT_NAME_SIMILARITY)
    if not value.keys() <= _GRANT_MEMBERS:
        # The member is not named: what was sent is never repeated.
        detail = "has only purpose, operations, fields and name_similarity"
        faults.append(Fault(pointer, detail))
    return GrantTerms(
        _read_word(value.get("purpose"), f"{pointer}/purpose", purposes, faults),
        _read_words(
            value.get("operations"), f"{pointer}/operations", OPERATION_BIT, faults
        ),
        _read_words(value.get("fields"), f"{pointer}/fields", FIELD_BIT, faults),
        _read_similarity(
            value.get("name_similarity", DEFAULT_NAME_SIMILARITY),
            f"{pointer}/name_similarity",
            faults,
        ),
    )


def _read_words(
    value: object, pointer: str, bits: Mapping[str, int], faults: list[Fault]
) -> int:
    if not isinstance(value, list) or not value:
        faults.append(Fault(pointer, f"must be a list of at least one of {_all(bits)}"))
        return 0
    together = 0
    for place, item in enumerate(value):
        together |= _read_word(item, f"{pointer}/{place}", bits, faults)
    return together


def _read_word(
    value: object, pointer: str, numbers: Mapping[str, int], faults: list[Fault]
) -> int:
    number = numbers.get(value) if isinstance(value, str) else None
    if number is None:
        faults.append(Fault(pointer, _one_of(numbers)))
        return 0
    return number


def _read_similarity(value: object, pointer: str, faults: list[Fault]) -> float:
    share = value if isinstance(value, int | float) else 0.0
    if isinstance(value, bool) or not LOWEST_NAME_SIMILARITY <= share <= 1:
        detail = f"must be a number from {LOWEST_NAME_SIMILARITY} to 1"
        faults.append(Fault(pointer, detail))
    return share


def read_networks(value: object, faults: list[Fault]) -> list[Network]:
    """Read an allow list of CIDR networks; none at all, or null, means anywhere."""
    if value is None:
        return []
    if not isinstance(value, list):
        faults.append(Fault("/cidrs", "must be a list of CIDR networks"))
        return []
    networks = [_read_network(item) for item in value]
    faults.extend(
        Fault(f"/cidrs/{place}", "must be a CIDR network, without host bits set")
        for place, network in enumerate(networks)
        if network is None
    )
    return [network for network in networks if network is not None]


def _read_network(value: object) -> Network | None:
    # A scope names an interface of some machine, and would not be kept.
    if not isinstance(value, str) or "%" in value:
        return None
    try:
        network = ip_network(value)
    except ValueError:
        return None
    # Callers' addresses come unwrapped, so a mapped network would admit nobody.
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped:
        return None
    return network


def require_id(number: int) -> int:
    """Return the id of a row, if any row can have it.

    Raises:
        NotFound: it cannot; the database would call it a fault of ours.
    """
    if not 0 < number <= HIGHEST_ID:
        raise NotFound
    return number


def require_written_id(text: str) -> int:
    """Return the id that a text writes, as `require_id` does; it has one spelling.

    Raises:
        NotFound: it writes none that any row can have.
    """
    if not _WRITTEN_ID.fullmatch(text):
        raise NotFound
    return require_id(int(text))


def require_key_id(key_id: str) -> str:
    """Return the id of a key, if any key can have it.

    Raises:
        NotFound: it cannot.
    """
    if not (len(key_id) == ID_LENGTH and key_id.isascii() and key_id.isalnum()):
        raise NotFound
    return key_id


def _one_of(words: Mapping[str, object]) -> str:
    return f"must be one of {_all(words)}"


def _all(words: Mapping[str, object]) -> str:
    return ", ".join(words)
