"""Between an entry and its row in an archived day's file (archive.sql), both ways."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar
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

T = TypeVar("T")
W = TypeVar("W", bound=Word)

# As archive.sql gives them.
COLUMNS: Final = (
    "leaf_index",
    "batch",
    "position",
    "at",
    "actor",
    "institution",
    "key",
    "operation",
    "purpose",
    "fields",
    "subject_head",
    "subject_tail",
    "subject_key",
    "outcome",
    "reason",
    "reference",
    "operator",
    "address",
    "count",
    "replay_of",
)


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
        "address": entry.address,
        "count": entry.count,
        "replay_of": None if entry.replay_of is None else str(entry.replay_of),
    }
    return msgspec.json.encode(row) + b"\n"


def read_row(row: bytes) -> Archived:
    """From a JSON array of `COLUMNS`.

    Raises:
        NotAsSealed: it is not a row that `write_row` wrote.
    """
    try:
        one = dict(zip(COLUMNS, msgspec.json.decode(row), strict=True))
        place = Place(one["batch"], one["position"])
        return Archived(one["leaf_index"], place, _entry(one))
    except (ValueError, TypeError, LookupError):
        raise NotAsSealed("An archived file holds what no entry is.") from None


def _entry(row: Mapping[str, Any]) -> Entry:
    subject = (row["subject_head"], row["subject_tail"], row["subject_key"])
    return Entry(
        at=row["at"],
        actor=_word(Actor, row["actor"]),
        outcome=_word(Outcome, row["outcome"]),
        address=_if_there(parse_address, row["address"]),
        operation=_if_there(partial(_word, Operation), row["operation"]),
        institution=row["institution"],
        # Lines name keys and purposes as outsiders do: their numbers are not archived.
        key=_if_there(partial(KeyName, 0), row["key"]),
        purpose=_if_there(partial(PurposeName, 0), row["purpose"]),
        fields=_if_there(_bits, row["fields"]),
        subject=None if subject[0] is None else Subject(*subject),
        reason=_if_there(partial(_word, Reason), row["reason"]),
        reference=row["reference"],
        operator=row["operator"],
        count=row["count"],
        replay_of=_if_there(UUID, row["replay_of"]),
    )


def _if_there(read: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else read(value)


def _bits(names: list[str]) -> int:
    return field_bits(tuple(names))


def _word(kind: type[W], word: str) -> W:
    member = kind.worded(word)
    if member is None:
        raise ValueError("a word of another vocabulary")
    return member


def _field_names(bits: int | None) -> list[str] | None:
    if bits is None:
        return None
    return [name for name in RESIDENT_FIELDS if bits & FIELD_BIT[name]]
