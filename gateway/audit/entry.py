"""An entry of the audit log: its line, its row and its name.

The line's bytes are the leaf of the log (CONTRACT §4): they are what is hashed,
exported and proven, so nothing here may ever change what an old row yields.
"""

import re
import secrets
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from json.encoder import encode_basestring as quoted
from typing import NamedTuple, NewType
from uuid import UUID

from gateway.audit.idempotency import Attempt
from gateway.audit.subject import Subject
from gateway.clock import SECOND, to_text
from gateway.vocabulary import (
    CHARGED_OUTCOMES,
    FIELD_BIT,
    RESIDENT_FIELDS,
    Actor,
    Operation,
    Outcome,
    Reason,
)

# As lines write it: canonical, by RFC 5952, as `parse_address` makes it.
Address = NewType("Address", str)

# A batch number: milliseconds of the server's clock, the worker, the worker's counter.
WORKER_BITS = 11
COUNTER_BITS = 10
BATCH_TIME_SHIFT = WORKER_BITS + COUNTER_BITS
MOST_ENTRIES_A_BATCH = 2**15 - 1


class KeyName(NamedTuple):
    """A key as rows name it (number) and as lines name it (eight characters)."""

    number: int
    id: str


class PurposeName(NamedTuple):
    number: int
    name: str


class Place(NamedTuple):
    """Where an entry stands: its batch, and its position therein."""

    batch: int
    position: int


@dataclass(slots=True, kw_only=True)
class Entry:
    """One access. `at` is the server's instant of admission, in microseconds.

    `attempt` stands in neither line nor row: it is what is remembered beside them.
    """

    at: int
    actor: Actor
    outcome: Outcome
    address: Address | None
    operation: Operation | None = None
    institution: int | None = None
    key: KeyName | None = None
    purpose: PurposeName | None = None
    fields: int | None = None
    subject: Subject | None = None
    reason: Reason | None = None
    reference: str | None = None
    operator: str | None = None
    count: int = 1
    replay_of: UUID | None = None
    attempt: Attempt | None = None

    @property
    def charged(self) -> int:
        """Units of quota kept: one for an answer about a resident, none for a replay."""
        return int(self.outcome in CHARGED_OUTCOMES and self.replay_of is None)


def batch_number(at: int, worker: int, counter: int) -> int:
    """The batch whose newest entry was admitted at `at` (microseconds)."""
    return (at // 1000) << BATCH_TIME_SHIFT | worker << COUNTER_BITS | counter


def batch_instant(batch: int) -> int:
    """The microsecond at which the batch's millisecond begins."""
    return (batch >> BATCH_TIME_SHIFT) * 1000


def access_id(place: Place) -> str:
    """The UUIDv7 (RFC 9562 §5.7) that names the entry at `place`.

    Its 48 bits of time are the batch's; of its 74 free bits the first 21 carry the rest
    of the batch number, the next 16 the position, and the last 37 are zero. So an
    entry is found by its name without a column or an index for it.
    """
    named, low = _halves(place.batch)
    text = f"{low | place.position << 37:016x}"
    return f"{named}-{text[:4]}-{text[4:]}"


@lru_cache(maxsize=1024)
def _halves(batch: int) -> tuple[str, int]:
    """Of an access_id, what all entries of a batch share: 64 bits as text, and 64."""
    rest = batch & (1 << BATCH_TIME_SHIFT) - 1
    text = f"{(batch >> BATCH_TIME_SHIFT) << 16 | 0x7000 | rest >> 9:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:]}", 0b10 << 62 | (rest & 0x1FF) << 53


def batch_name(at: int) -> str:
    """A UUIDv7 that names an answered batch, and no entry: the last bit of theirs is 0."""
    random = secrets.randbits(74) | 1
    bits = (at // 1000) << 80 | 0x7 << 76 | (random >> 62) << 64
    return str(UUID(int=bits | 0b10 << 62 | random & (1 << 62) - 1))


_NAME = slice(len('{"v":1,"access_id":"'), len('{"v":1,"access_id":"') + 36)
_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def place_of(name: str) -> Place | None:
    """The place an access_id names; None for anything this log cannot have given."""
    if not _CANONICAL_UUID.fullmatch(name):
        return None
    bits = int(name.replace("-", ""), 16)
    high, low = bits >> 64, bits & (1 << 64) - 1
    rest = (high & 0xFFF) << 9 | low >> 53 & 0x1FF
    place = Place(high >> 16 << BATCH_TIME_SHIFT | rest, low >> 37 & 0xFFFF)
    in_range = place.batch < 2**63 and place.position <= MOST_ENTRIES_A_BATCH
    return place if in_range and access_id(place) == name else None


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address:
    """The address a connection came from.

    IPv4-mapped IPv6 is unwrapped; a scope, which names an interface of ours, left out.

    Raises:
        ValueError: it is none.
    """
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or IPv6Address(int(address))
    return Address(str(address))


@lru_cache(maxsize=4096)
def parsed(address: Address) -> IPv4Address | IPv6Address:
    """As networks compare it."""
    return ip_address(address)


@lru_cache(maxsize=4096)
def field_bits(fields: tuple[str, ...]) -> int:
    return sum(FIELD_BIT[field] for field in fields)


@lru_cache(maxsize=4096)
def _fields_member(bits: int | None) -> str:
    if bits is None:
        return "null"
    names = [f'"{name}"' for name in RESIDENT_FIELDS if bits & FIELD_BIT[name]]
    return f"[{','.join(names)}]"


@lru_cache(maxsize=128)
def _second(second: int) -> str:
    return to_text(second * SECOND)[:19]


def _text(value: str | None) -> str:
    return "null" if value is None else quoted(value)


def _word(value: Operation | Reason | None) -> str:
    return "null" if value is None else f'"{value.word}"'


def line(entry: Entry, place: Place) -> bytes:
    """The entry as CONTRACT §4 writes it: UTF-8, members in order, no line feed.

    Strings are escaped as RFC 8785 §3.2.2.2 says.
    """
    second, micro = divmod(entry.at, SECOND)
    subject, replay = entry.subject, entry.replay_of
    return (
        f'{{"v":1,"access_id":"{access_id(place)}",'
        f'"at":"{_second(second)}.{micro:06d}Z",'
        f'"actor":"{entry.actor.word}",'
        f'"institution":{"null" if entry.institution is None else entry.institution},'
        f'"key":{_text(entry.key and entry.key.id)},'
        f'"operation":{_word(entry.operation)},'
        f'"purpose":{_text(entry.purpose and entry.purpose.name)},'
        f'"fields":{_fields_member(entry.fields)},'
        f'"subject":{_text(subject and subject.text)},'
        f'"subject_key":{"null" if subject is None else subject.key},'
        f'"outcome":"{entry.outcome.word}",'
        f'"reason":{_word(entry.reason)},'
        f'"reference":{_text(entry.reference)},'
        f'"operator":{_text(entry.operator)},'
        f'"address":{_text(entry.address)},'
        f'"charged":{entry.charged},'
        f'"count":{entry.count},'
        f'"replay_of":{_text(None if replay is None else str(replay))}}}'
    ).encode()


def named_in(line: bytes) -> str:
    """The access_id in a line: where it stands is fixed by CONTRACT §4."""
    return line[_NAME].decode("ascii")


def leaf_hash(line: bytes) -> bytes:
    """RFC 9162 §2.1.1: SHA-256 of 0x00 and the line."""
    return sha256(b"\x00" + line).digest()
