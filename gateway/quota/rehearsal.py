"""What other limits would have done to calls that were made: pure.

Calls are replayed in the order of their instants through `admit`, which is the model
of the script that decides: there is no second opinion on what a limit is. Nothing is
kept but the state of the limits and a row a day.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from gateway.clock import SECOND
from gateway.quota.limit import (
    MINUTE,
    State,
    admit,
    arrival,
    day_end,
    interval,
    month_end,
)
from gateway.vocabulary import Limits

# An instant, the units of quota a call asks for (0 or 1), and how many calls alike.
Ask = tuple[int, int, int]


@dataclass(slots=True)
class Day:
    """A day of Asia/Jakarta, which `ends` then.

    `units` of quota were asked for; `results` counts its calls by the policies that
    would have refused them, () if none.
    """

    ends: int
    units: int = 0
    results: Counter[tuple[str, ...]] = field(default_factory=Counter)

    @property
    def calls(self) -> int:
        return self.results.total()

    @property
    def admitted(self) -> int:
        return self.results[()]

    @property
    def refused(self) -> int:
        return self.calls - self.admitted


class Peak:
    """The span of one length with the most `calls`, the first of several: `since` when."""

    def __init__(self, length: int) -> None:
        self.since = 0
        self.calls = 0
        self._length = length
        self._began = self._counted = 0

    def add(self, at: int, times: int) -> None:
        if at - self._began >= self._length:
            self._began, self._counted = at - at % self._length, 0
        self._counted += times
        if self._counted > self.calls:
            self.since, self.calls = self._began, self._counted


class Rehearsal:
    """Limits on trial, from `since` on.

    They begin with what was used before in the day and the month of `since`, and a
    rate of which nothing is owed.
    """

    def __init__(
        self, limits: Limits, since: int, *, day_used: int = 0, month_used: int = 0
    ) -> None:
        self.limits: Final = limits
        self.first_refusal: int | None = None
        self.last_refusal: int | None = None
        self.busiest_second = Peak(SECOND)
        self.busiest_minute = Peak(MINUTE)
        self._before = self._state = State(
            0, day_used, day_end(since), month_used, month_end(since)
        )
        self._days = [Day(self._before.day_ends)]
        # As `tat` would be if nobody were ever refused, and the furthest it ran ahead.
        self._tat = self._backlog = 0
        self._interval = interval(limits.rate)

    def replay(self, asks: Iterable[Ask]) -> None:
        """Asks for all of these, which are in the order of their instants."""
        for at, units, times in asks:
            self.busiest_second.add(at, times)
            self.busiest_minute.add(at, times)
            for _ in range(times):
                self._ask(at, units)

    def _ask(self, at: int, units: int) -> None:
        decision = admit(self._state, self.limits, at, quota_cost=units)
        self._state = state = decision.state
        self._tat = tat = arrival(self._tat, at, self._interval)
        self._backlog = max(self._backlog, tat - at)
        day = self._days[-1]
        if day.ends != state.day_ends:
            day = Day(state.day_ends)
            self._days.append(day)
        day.units += units
        day.results[decision.violated] += 1
        if decision.violated:
            self.last_refusal = at
            if self.first_refusal is None:
                self.first_refusal = at

    @property
    def days(self) -> list[Day]:
        """Those on which there were calls, in their order."""
        return [day for day in self._days if day.calls]

    @property
    def refused_by(self) -> Counter[str]:
        """Calls that each policy would have refused: of several, under each."""
        refused = Counter(rate=0, day=0, month=0)
        for day in self._days:
            for violated, calls in day.results.items():
                refused.update(dict.fromkeys(violated, calls))
        return refused

    @property
    def enough(self) -> Limits:
        """At this rate, the least burst, day and month that would have refused nobody.

        Exact: one less of any, and it refuses. 1 where nothing was asked for, since
        no limit is less.
        """
        before = self._before
        days, months = Counter[int](), Counter[int]()
        for day in self._days:
            days[day.ends] += day.units
            months[month_end(day.ends - 1)] += day.units
        return Limits(
            self.limits.rate,
            max(1, -(-self._backlog // self._interval)),
            _most(days, before.day_ends, before.day_used),
            _most(months, before.month_ends, before.month_used),
        )


def _most(asked: Counter[int], first: int, used: int) -> int:
    """The most that a window came to in which anything was asked; `used` is the first's."""
    return max(
        (n + used * (ends == first) for ends, n in asked.items() if n), default=1
    )
