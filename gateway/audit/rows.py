"""Between an entry and the row that holds it.

A row has no nulls, whose bit map would cost it eight bytes: what does not apply is 0
or '', and what needs another sign has it here. Numbers below 128 are of the type
"char", one byte, which asyncpg takes and gives as bytes.
"""

from functools import lru_cache
from typing import Final, TypeVar
from uuid import UUID

import asyncpg

from gateway.audit.entry import (
    Address,
    Entry,
    KeyName,
    PurposeName,
    parse_address,
)
from gateway.audit.subject import Subject
from gateway.clock import from_datetime, to_datetime
from gateway.vocabulary import Actor, Operation, Outcome, Reason, Word

# The unspecified address, which no connection comes from.
_ON_NO_NETWORK: Final = "::"
_NO_FIELDS_READ: Final = -1
_NOBODY: Final = Subject(0, 0, 0)
_CHARS: Final = [bytes([number]) for number in range(128)]
W = TypeVar("W", bound=Word)


def _by_char(words: type[W]) -> dict[bytes, W]:
    return {_CHARS[word]: word for word in words}


_ACTORS: Final = _by_char(Actor)
_OUTCOMES: Final = _by_char(Outcome)
_OPERATIONS: Final[dict[bytes, Operation | None]] = {
    _CHARS[0]: None,
    **_by_char(Operation),
}
_REASONS: Final[dict[bytes, Reason | None]] = {_CHARS[0]: None, **_by_char(Reason)}


def write_entry(entry: Entry) -> tuple[object, ...]:
    """The row's columns from `at` on, in the order of the type entry_row."""
    # Where no subject is named its second half says how many accesses these were.
    subject = entry.subject or _NOBODY._replace(tail=entry.count)
    if entry.subject and entry.count > 1:
        msg = "an entry that stands for several accesses names no subject"
        raise ValueError(msg)
    return (
        to_datetime(entry.at),
        _CHARS[entry.actor],
        _CHARS[entry.outcome],
        entry.address or _ON_NO_NETWORK,
        _CHARS[entry.operation or 0],
        entry.institution or 0,
        entry.key.number if entry.key else 0,
        entry.purpose.number if entry.purpose else 0,
        _NO_FIELDS_READ if entry.fields is None else entry.fields,
        subject.head,
        subject.tail,
        subject.key,
        _CHARS[entry.reason or 0],
        entry.reference or "",
        entry.operator or "",
        entry.replay_of.bytes if entry.replay_of else b"",
    )


def read_entry(row: asyncpg.Record) -> Entry:
    """The entry a row holds; its line is the one that was hashed when it was written."""
    key, purpose, fields = row["key"], row["purpose"], row["fields"]
    subject = Subject(row["subject_head"], row["subject_tail"], row["subject_key"])
    return Entry(
        at=from_datetime(row["at"]),
        actor=_ACTORS[row["actor"]],
        outcome=_OUTCOMES[row["outcome"]],
        address=_address(row["address"]),
        operation=_OPERATIONS[row["operation"]],
        institution=row["institution"] or None,
        key=KeyName(key, row["key_id"]) if key else None,
        purpose=PurposeName(purpose, row["purpose_name"]) if purpose else None,
        fields=None if fields == _NO_FIELDS_READ else fields,
        subject=subject if subject.key else None,
        reason=_REASONS[row["reason"]],
        reference=row["reference"] or None,
        operator=row["operator"] or None,
        count=1 if subject.key else subject.tail,
        replay_of=UUID(bytes=row["replay_of"]) if row["replay_of"] else None,
    )


@lru_cache(maxsize=4096)
def _address(stored: str) -> Address | None:
    """PostgreSQL writes some IPv6 addresses otherwise than RFC 5952 has it.

    With a mask it is not what we wrote, and is left as it is: the line tells.
    """
    if stored == _ON_NO_NETWORK:
        return None
    return Address(stored) if "/" in stored else parse_address(stored)
