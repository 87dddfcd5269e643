"""Between an entry and its row in an archived day's file (archive.sql), both ways."""

from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import msgspec

from gateway.audit.entry import (
    Entry,
    KeyName,
    Place,
    PurposeName,
    access_id,
    field_bits,
    line,
    parse_address,
)
from gateway.audit.subject import Subject
from gateway.audit.tree import NotAsSealed
from gateway.vocabulary import (
    FIELD_BIT,
    RESIDENT_FIELDS,
    Actor,
    Operation,
    Outcome,
    Reason,
    Word,
)

W = TypeVar("W", bound=Word)


class Archived(NamedTuple):
    """An entry of an archived day, and which leaf of the log it is said to be."""

    leaf_index: int
    place: Place
    entry: Entry

    @property
    def line(self) -> bytes:
        return line(self.entry, self.place)

    @property
    def name(self) -> str:
        return access_id(self.place)


def write_row(archived: Archived) -> bytes:
    """A line of JSON, as the statement `write` reads it."""
    entry, subject = archived.entry, archived.entry.subject
    row = {
        "leaf_index": archived.leaf_index,
        "batch": archived.place.batch,
        "position": archived.place.position,
        "at": entry.at,
        "actor": entry.actor.word,
        "institution": entry.institution,
        "key": entry.key and entry.key.id,
        "operation": entry.operation and entry.operation.word,
        "purpose": entry.purpose and entry.purpose.name,
        "fields": _field_names(entry.fields),
        "subject_head": subject and subject.head,
        "subject_tail": subject and subject.tail,
        "subject_key": subject and subject.key,
        "outcome": entry.outcome.word,
        "reason": entry.reason and entry.reason.word,
        "reference": entry.reference,
        "operator": entry.operator,
        "address": None if entry.address is None else str(entry.address),
        "count": entry.count,
        "replay_of": None if entry.replay_of is None else str(entry.replay_of),
    }
    return msgspec.json.encode(row) + b"\n"


def read_row(row: bytes) -> Archived:
    """From a JSON array of the columns, in the same order.

    Raises:
        NotAsSealed: it is not a row that `write_row` wrote.
    """
    try:
        one: list[Any] = msgspec.json.decode(row)
        leaf_index, batch, position = one[:3]
        return Archived(leaf_index, Place(batch, position), _entry(*one[3:]))
    except (ValueError, TypeError, LookupError):
        raise NotAsSealed("An archived file holds what no entry is.") from None


def _entry(
    at: int,
    actor: str,
    institution: int | None,
    key: str | None,
    operation: str | None,
    purpose: str | None,
    fields: list[str] | None,
    head: int | None,
    tail: int,
    subject_key: int,
    outcome: str,
    reason: str | None,
    reference: str | None,
    operator: str | None,
    address: str | None,
    count: int,
    replay_of: str | None,
) -> Entry:
    return Entry(
        at=at,
        actor=_word(Actor, actor),
        outcome=_word(Outcome, outcome),
        address=None if address is None else parse_address(address),
        operation=None if operation is None else _word(Operation, operation),
        institution=institution,
        # Lines name keys and purposes as outsiders do: their numbers are not archived.
        key=None if key is None else KeyName(0, key),
        purpose=None if purpose is None else PurposeName(0, purpose),
        fields=None if fields is None else field_bits(tuple(fields)),
        subject=None if head is None else Subject(head, tail, subject_key),
        reason=None if reason is None else _word(Reason, reason),
        reference=reference,
        operator=operator,
        count=count,
        replay_of=None if replay_of is None else UUID(replay_of),
    )


def _word(kind: type[W], word: str) -> W:
    member = kind.worded(word)
    if member is None:
        raise ValueError("a word of another vocabulary")
    return member


def _field_names(bits: int | None) -> list[str] | None:
    if bits is None:
        return None
    return [name for name in RESIDENT_FIELDS if bits & FIELD_BIT[name]]
