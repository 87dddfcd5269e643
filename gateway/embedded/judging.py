"""Holds a ledger of clients against the log: the invariants I1 to I6 of the design.

    I1  an answer with data, or a refusal with an Access-Id, has its entry
    I2  an entry that no client has an answer to is of a call in flight at a fault: entries
        without an answer are then no more than there were such calls
    I3  no entry is there twice
    I4  the log verifies after every recovery, and in the end every entry is sealed
    I5  what is charged are the billable entries
    I6  no window admits more than its limit (and burst)

Pure but for `lines`, which reads the export that was verified.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.clock import from_datetime
from gateway.embedded.asking import OK, UNAVAILABLE, Call, Ledger, Partner
from gateway.quota.limit import day_end, interval, month_begin
from gateway.quota.reconciliation import Difference
from gateway.vocabulary import CHARGED_OUTCOMES, Limits

Entry = Mapping[str, Any]

BILLABLE: Final = frozenset(outcome.word for outcome in CHARGED_OUTCOMES)
EXAMPLES: Final = 5


@dataclass(slots=True)
class Finding:
    """One invariant: what it says, what was looked at, and what breaks it."""

    name: str
    says: str
    looked_at: int = 0
    broken: int = 0
    examples: list[str] = field(default_factory=list)

    def breaks(self, example: str) -> None:
        self.broken += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)


@dataclass(frozen=True, slots=True)
class Span:
    """From when something was made to fail until it was whole again (monotonic)."""

    began: float
    ended: float


def lines(file: Path) -> Iterator[Entry]:
    with file.open("rb") as opened:
        for line in opened:
            yield msgspec.json.decode(line)


def answered(ledger: Ledger, entries: Sequence[Entry]) -> Finding:
    """I1."""
    found = Finding("I1", "an answer, and a refusal with an Access-Id, has its entry")
    by_id = {entry["access_id"]: entry for entry in entries}
    for reference, call in ledger.calls.items():
        if call.access_id is None:
            if call.status == OK:
                found.breaks(f"{reference}: data without an Access-Id")
            continue
        found.looked_at += 1
        entry = by_id.get(call.access_id)
        if entry is None:
            found.breaks(f"{call.access_id}: no entry")
        elif not _says(entry, call, reference):
            found.breaks(f"{call.access_id}: another entry than was told")
    return found


def _says(entry: Entry, call: Call, reference: str) -> bool:
    if call.status == UNAVAILABLE:
        # While the directory is not known nobody is identified.
        return bool(entry["outcome"] == call.outcome)
    told = (call.institution, call.outcome, reference)
    return told == (entry["institution"], entry["outcome"], entry["reference"])


def unanswered(
    ledger: Ledger, entries: Iterable[Entry], faults: Sequence[Span]
) -> Finding:
    """I2."""
    found = Finding("I2", "an entry without an answer was in flight at a fault")
    told = {call.access_id for call in ledger.calls.values()}
    for entry in entries:
        if entry["access_id"] in told or entry["reference"] is None:
            continue
        found.looked_at += 1
        call = ledger.calls.get(entry["reference"])
        if call is None or not call.fate_unknown or not in_flight(call, faults):
            heard = _heard(call)
            found.breaks(f"{entry['access_id']}: nobody was waiting at a fault{heard}")
    return found


def _heard(call: Call | None) -> str:
    if call is None:
        return ", nor ever"
    return f"; its caller heard {call.status or 'nothing'} in {call.until - call.sent:.1f} s"


def in_flight(call: Call, faults: Sequence[Span]) -> bool:
    return any(call.sent <= one.ended and call.until >= one.began for one in faults)


def once(entries: Sequence[Entry]) -> Finding:
    """I3."""
    found = Finding("I3", "no entry is there twice", looked_at=len(entries))
    for member in ("access_id", "reference"):
        times = Counter(entry[member] for entry in entries if entry[member])
        for value in (value for value, count in times.items() if count > 1):
            found.breaks(f"{value}: twice")
    return found


def charged(
    ledger: Ledger, entries: Sequence[Entry], differences: Sequence[Difference]
) -> Finding:
    """I5. A counter may hold units of calls whose fate only the log knows, and no more."""
    found = Finding("I5", "what is charged are the billable entries")
    for entry in entries:
        found.looked_at += 1
        if entry["charged"] != (entry["outcome"] in BILLABLE):
            found.breaks(f"{entry['access_id']}: charged {entry['charged']}")
    unknown = Counter(
        call.institution for call in ledger.calls.values() if call.fate_unknown
    )
    for one in differences:
        day = one.day_counted - one.day_charged
        month = one.month_counted - one.month_charged
        if not 0 <= min(day, month) <= max(day, month) <= unknown[one.institution]:
            found.breaks(f"institution {one.institution}: counted and charged {one}")
    return found


def within_limits(partners: Sequence[Partner], entries: Iterable[Entry]) -> Finding:
    """I6."""
    found = Finding("I6", "no window admits more than its limit (and burst)")
    instants = defaultdict[int, list[int]](list)
    for entry in entries:
        if entry["charged"]:
            instants[entry["institution"]].append(_instant(entry))
    for partner in partners:
        at = sorted(instants[partner.id])
        found.looked_at += len(at)
        for window, most in (
            (day_end, partner.limits.day),
            (month_begin, partner.limits.month),
        ):
            for used in Counter(map(window, at)).values():
                if used > most:
                    found.breaks(f"institution {partner.id}: {used} of {most}")
        if not keeps_to_rate(at, partner.limits):
            found.breaks(f"institution {partner.id}: beyond its rate")
    return found


def _instant(entry: Entry) -> int:
    return from_datetime(datetime.fromisoformat(entry["at"]))


def keeps_to_rate(instants: Iterable[int], limits: Limits) -> bool:
    """The virtual scheduling of ITU-T I.371 over what was charged, oldest first."""
    step, tat = interval(limits.rate), 0
    for at in instants:
        tat = max(tat, at) + step
        if tat - at > limits.burst * step:
            return False
    return True


def rightly_told(ledger: Ledger, partners: Sequence[Partner]) -> Finding:
    """Not of the six: nobody is told 500, or 429 where no limit is near."""
    found = Finding("told", "nobody is told 500, or 429 below a limit")
    right = {partner.id: partner.statuses for partner in partners}
    for (institution, status), times in ledger.told.items():
        found.looked_at += times
        if status not in right[institution]:
            found.breaks(f"institution {institution}: {times} times {status}")
    return found
