"""What limits would have done to an institution's calls: read from the log, and replayed.

The arithmetic is gateway/quota/rehearsal.py's. A worker rehearses a bounded number of
calls, in small steps, so that those which it answers meanwhile are not held up.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta, timezone
from typing import Final

from gateway.audit.admissions import Admissions, Ask
from gateway.clock import JAKARTA_OFFSET, to_datetime, to_text
from gateway.partners import listing, terms
from gateway.partners.documents import Document
from gateway.postgres import Pool, Reader
from gateway.problems import Fault, InvalidRequest
from gateway.quota.limit import DAY, day_end, month_begin
from gateway.quota.rehearsal import Day, Peak, Rehearsal
from gateway.vocabulary import Limits

# What a worker takes on, and how much of it before it looks at something else.
MOST_CALLS: Final = 500_000
ROWS_AT_ONCE: Final = 2_000
CALLS_AT_ONCE: Final = 250
TOO_MANY: Final = f"more than {MOST_CALLS:,} calls came since then; begin later"
NOTHING: Final = "the log holds no entries of that time"
_JAKARTA: Final = timezone(timedelta(microseconds=JAKARTA_OFFSET))

# Is told how far it has come, and how far there is to go, in microseconds of the log.
Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What to rehearse; `given` are the limits that differ from the agreement's."""

    institution: int
    given: Mapping[str, object]
    since: int
    until: int | None


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A rehearsal that is over, and what of the log it was of, end exclusive."""

    institution: int
    span: tuple[int, int]
    rehearsal: Rehearsal

    @property
    def document(self) -> Document:
        """As JSON has it, for programs and pages. Instants are in UTC, days Jakarta's."""
        rehearsal, (starts, ends) = self.rehearsal, self.span
        days = rehearsal.days
        return {
            "institution": self.institution,
            "from": to_text(starts),
            "to": to_text(ends),
            "limits": rehearsal.limits._asdict(),
            "calls": sum(day.calls for day in days),
            "admitted": sum(day.admitted for day in days),
            "refused": sum(day.refused for day in days),
            "refused_by": dict(rehearsal.refused_by),
            "first_refusal": _instant(rehearsal.first_refusal),
            "last_refusal": _instant(rehearsal.last_refusal),
            "busiest_second": _peak(rehearsal.busiest_second),
            "busiest_minute": _peak(rehearsal.busiest_minute),
            "enough": rehearsal.enough._asdict(),
            "days": self.days,
        }

    @property
    def days(self) -> list[Document]:
        return list(map(_day, self.rehearsal.days))


async def rehearse(
    connection: Reader, asked: Asked, progress: Told
) -> Rehearsed | None:
    """All of it, at full speed. None if the log holds nothing of that time.

    Raises:
        InvalidRequest: bad limits, or some left out where there is no agreement.
        NotFound: there is no such institution.
    """
    admissions = Admissions(connection, asked.institution)
    begun = await _begin(connection, admissions, asked)
    if begun is None:
        return None
    starts, ends = begun.span
    async for asks in admissions.between(starts, ends):
        begun.rehearsal.replay(asks)
        if asks:
            progress(asks[-1][0] - starts, ends - starts)
    return begun


class Rehearsals:
    """Those of one worker, one after another, read by the auditor's role."""

    def __init__(self, auditor: Pool) -> None:
        self._auditor = auditor
        self._turn = asyncio.Lock()

    async def rehearse(self, asked: Asked) -> Rehearsed:
        """No more than `MOST_CALLS`, in small steps.

        Raises:
            InvalidRequest: bad limits; more calls than that; no entries of that time.
            NotFound: there is no such institution.
            gateway.postgres.SERVER_GONE: the log is away.
        """
        async with self._turn, self._auditor.acquire() as connection:
            read = Admissions(connection, asked.institution, at_once=ROWS_AT_ONCE)
            begun = await _begin(connection, read, asked)
            if begun is None:
                raise InvalidRequest([Fault("/from", NOTHING)])
            calls = 0
            async for asks in read.between(*begun.span):
                calls += sum(times for _, _, times in asks)
                if calls > MOST_CALLS:
                    raise InvalidRequest([Fault("/from", TOO_MANY)])
                for step in _steps(asks):
                    begun.rehearsal.replay(step)
                    await asyncio.sleep(0)
        return begun


def _steps(asks: list[Ask]) -> Iterator[list[Ask]]:
    """The same asks in their order, about `CALLS_AT_ONCE` calls at a time."""
    step: list[Ask] = []
    calls = 0
    for at, units, times in asks:
        left = times
        while left:
            some = min(left, CALLS_AT_ONCE - calls)
            step.append((at, units, some))
            left, calls = left - some, calls + some
            if calls == CALLS_AT_ONCE:
                yield step
                step, calls = [], 0
    if step:
        yield step


async def _begin(
    connection: Reader, admissions: Admissions, asked: Asked
) -> Rehearsed | None:
    """Before its first call, with what the day and the month had already used."""
    limits = await _limits(connection, asked)
    span = await admissions.extent(asked.since, asked.until)
    if span is None:
        return None
    since = span[0]
    day_began = day_end(since) - DAY
    earlier = await admissions.charged(month_begin(since), day_began)
    today = await admissions.charged(day_began, since)
    rehearsal = Rehearsal(limits, since, day_used=today, month_used=earlier + today)
    return Rehearsed(asked.institution, span, rehearsal)


async def _limits(connection: Reader, asked: Asked) -> Limits:
    current = await listing.limits_of(connection, asked.institution)
    faults: list[Fault] = []
    if current is None and len(asked.given) < len(Limits._fields):
        faults.append(Fault("/limits", "there is no agreement: give all four"))
        raise InvalidRequest(faults)
    limits = terms.read_limits(asked.given, faults, current=current)
    if faults:
        raise InvalidRequest(faults)
    return limits


def _instant(at: int | None) -> str | None:
    return None if at is None else to_text(at)


def _peak(peak: Peak) -> Document | None:
    return {"from": to_text(peak.since), "calls": peak.calls} if peak.calls else None


def _day(day: Day) -> Document:
    date = to_datetime(day.ends - 1).astimezone(_JAKARTA).date().isoformat()
    return {
        "day": date,
        "calls": day.calls,
        "admitted": day.admitted,
        "refused": day.refused,
        "units": day.units,
    }
