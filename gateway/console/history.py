"""What an admin changed, told by what differs from before. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

INSTANTS: Final = frozenset(
    {
        *("from", "to", "not_after"),
        *("created_at", "revoked_at", "unbound_at", "last_used_at"),
    }
)

_TOLD: Final = (
    *("access_id", "at", "operation", "reference", "key", "operator"),
    "approved_by",
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One member of a thing: what it was, and what it became; None where there is none."""

    name: str
    before: str | None
    after: str | None

    @property
    def is_instant(self) -> bool:
        return self.name in INSTANTS


@dataclass(frozen=True, slots=True)
class Told:
    """One change, by the name of its entry, with all that became different by it.

    `key` is the token that it was made with, `operator` who made it on the command line,
    `approved_by` the admin who approved it, where a second one was needed.
    """

    access_id: str
    at: str
    operation: str
    reference: str | None
    key: str | None
    operator: str | None
    approved_by: str | None
    differences: tuple[Difference, ...]


def told(thing: Mapping[str, Any]) -> list[Told]:
    """The changes of one thing as the API tells it, newest first, in its members' order.

    Of the oldest nothing differs unless it made the thing: what was before is not told.
    """
    changes: Sequence[Mapping[str, Any]] = thing["changes"]
    now = {name: what for name, what in thing.items() if name != "changes"}
    order = list(dict(_members(now)))
    found = []
    for place, change in enumerate(changes):
        became = dict(_members(change["became"]))
        if place + 1 < len(changes):
            before = dict(_members(changes[place + 1]["became"]))
        else:
            made = change["operation"].endswith((".create", ".bind"))
            before = {} if made else became
        found.append(
            Told(
                **{name: change[name] for name in _TOLD},
                differences=tuple(_differences(order, before, became)),
            )
        )
    return found


def compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """What of a thing would become different, in its members' order."""
    was, becomes = dict(_members(before)), dict(_members(after))
    return list(_differences(list(becomes), was, becomes))


def _differences(
    order: Sequence[str], before: Mapping[str, str], after: Mapping[str, str]
) -> Iterator[Difference]:
    # What it has no longer comes last.
    for name in dict.fromkeys((*order, *after, *before)):
        was, became = before.get(name), after.get(name)
        if was != became:
            yield Difference(name, was, became)


def _members(
    document: Mapping[str, Any], within: str = ""
) -> Iterator[tuple[str, str]]:
    """Every member that is there, by its name; grants by the purpose of each."""
    for name, value in document.items():
        if name == "grants":
            for grant in value:
                rest = {one: what for one, what in grant.items() if one != "purpose"}
                yield from _members(rest, f"{grant['purpose']}: ")
        elif isinstance(value, Mapping):
            yield from _members(value, f"{name}.")
        elif name != "id" and value not in (None, []):
            yield f"{within}{name}", _text(value)


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
