"""Floods of refusals that disclose and ask nothing new, entered with a count.

The one exception to an entry for each access (CONTRACT §4). Alike are refusals of
the same key, or the same address (IPv6 by /64) where no key is known, for the same
reason in the same minute. An answer of a flood has no Access-Id and waits for nothing: so
of keys whose secret was not given the address alone says when that begins, or a known id
could be told from others. Pure: the journal owns the clock and the writing.
"""

from dataclasses import replace
from ipaddress import IPv6Network

from gateway.audit.entry import Entry
from gateway.clock import SECOND
from gateway.vocabulary import Actor, Reason

MINUTE = 60 * SECOND
SINGLY = 10
FLOODING = frozenset(
    {Reason.UNAUTHENTICATED, Reason.INVALID_REQUEST, Reason.QUOTA_EXCEEDED}
)
# A bound on memory: beyond it a new kind is entered singly, which costs only speed.
MOST_KINDS = 20_000

Kind = tuple[object, Reason | None, int]


def _kind(entry: Entry, *, proved: bool = True) -> Kind:
    return _whose(entry, proved=proved), entry.reason, entry.at // MINUTE


def _whose(entry: Entry, *, proved: bool) -> object:
    if entry.key is not None and proved:
        return entry.key.number
    address = entry.address
    if address is not None and ":" in address:
        return IPv6Network((address, 64), strict=False)
    return address


def _joined(one: Entry, other: Entry) -> Entry:
    """What two alike refusals have in common, counted together."""
    # Of one key some may be refused for its secret and others for what came with it.
    same = one.institution == other.institution
    return replace(
        one,
        actor=one.actor if same else Actor.UNIDENTIFIED,
        institution=one.institution if same else None,
        at=max(one.at, other.at),
        count=one.count + other.count,
        operation=one.operation if one.operation == other.operation else None,
        purpose=one.purpose if one.purpose == other.purpose else None,
        address=one.address if one.address == other.address else None,
        fields=None,
        subject=None,
        reference=None,
        operator=None,
    )


class Floods:
    """One worker's floods. What it holds is lost if the worker is killed."""

    def __init__(self) -> None:
        self._minute = 0
        self._seen: dict[Kind, int] = {}
        self._joined: dict[Kind, Entry] = {}

    def absorb(self, entry: Entry, *, proved: bool = True) -> bool:
        """Takes the entry in if it is one of a flood; else it is entered singly."""
        if entry.reason not in FLOODING:
            return False
        minute = entry.at // MINUTE
        if minute != self._minute:
            self._minute, self._seen = minute, {}
        alike = _kind(entry, proved=proved)
        seen = self._seen.get(alike, 0)
        if seen < SINGLY:
            if seen or len(self._seen) < MOST_KINDS:
                self._seen[alike] = seen + 1
            return False
        kind = _kind(entry)
        held = self._joined.get(kind)
        self._joined[kind] = (
            _joined(held, entry)
            if held
            else replace(
                entry, fields=None, subject=None, reference=None, operator=None
            )
        )
        return True

    def drain(self) -> list[Entry]:
        """What was taken in since the last drain, one entry a kind."""
        drained, self._joined = list(self._joined.values()), {}
        return drained

    def restore(self, entries: list[Entry]) -> None:
        """Puts back what could not be written, to be written with the next."""
        for entry in entries:
            kind = _kind(entry)
            held = self._joined.get(kind)
            self._joined[kind] = _joined(held, entry) if held else entry
