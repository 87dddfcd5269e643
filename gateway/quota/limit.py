"""What a limit is: a rate with a burst, a day's quota and a month's, all or nothing.

The rate is GCRA (the virtual scheduling of ITU-T I.371): `tat`, the theoretical
arrival time, runs ahead of now by the time the units spent take to come back. Day and
month are calendar windows of Asia/Jakarta, each counting up to its quota. Instants and
spans are integer microseconds, so that doubles in Lua and integers here agree exactly.

`admit.lua` does the same inside Redis; a state-machine test runs the two side by side.
"""

from typing import Final, NamedTuple

from gateway.clock import JAKARTA_OFFSET, SECOND, from_datetime, to_datetime
from gateway.quota.harvest import Evidence
from gateway.vocabulary import Limits

MINUTE: Final = 60 * SECOND
DAY: Final = 86_400 * SECOND
REFUSALS_A_MINUTE: Final = 120
# Shares of a day's or month's quota, in percent, whose use is told when it is reached.
THRESHOLDS: Final = (80, 95, 100)
POLICIES: Final = ("rate", "day", "month", "refusals")
RATE, DAILY, MONTHLY, REFUSED = (1 << place for place in range(len(POLICIES)))
# What limits in shadow may refuse by.
SHADOWED: Final = POLICIES[:3]
# What a script answers as a sum of those bits, as words.
VIOLATIONS: Final = tuple(
    tuple(policy for place, policy in enumerate(POLICIES) if bits >> place & 1)
    for bits in range(1 << len(POLICIES))
)


class State(NamedTuple):
    """One institution's counters. A window counts until the instant it `ends`."""

    tat: int
    day_used: int
    day_ends: int
    month_used: int
    month_ends: int


class Refusals(NamedTuple):
    """What one key `collected` of refusals that name a subject in the minute to `ends`."""

    collected: int
    ends: int


IDLE: Final = State(0, 0, 0, 0, 0)
UNREFUSED: Final = Refusals(0, 0)


class Standing(NamedTuple):
    """Where one policy stands: `quota` units every `window_s` seconds.

    `burst` is the rate's alone, of which `used` have not come back yet. At `resets_at`
    the policy is restored in full, which is `resets_in` seconds (rounded up) after the
    decision.
    """

    policy: str
    quota: int
    window_s: int
    burst: int | None
    used: int
    remaining: int
    resets_at: int
    resets_in: int


class Crossing(NamedTuple):
    """An admission by which `used` reached `percent` of the quota of one window."""

    policy: str
    percent: int
    used: int
    quota: int
    resets_at: int


class Decision(NamedTuple):
    """What was decided `at` the server's instant, and the state it left behind.

    Everything said about limits derives from it. The costs are what it was asked for,
    kept so that they can be given back. `generation` names the counters that it was made
    on: what was spent from others is not in these. `shadow` is what limits in shadow
    would have decided of the same ask; nothing that an institution is told has it.
    `evidence` is what is known then of harvesting, where it was watched for.
    """

    at: int
    limits: Limits
    state: State
    violated: tuple[str, ...]
    rate_cost: int
    quota_cost: int
    generation: str = ""
    shadow: "Decision | None" = None
    evidence: Evidence | None = None

    @property
    def admitted(self) -> bool:
        return not self.violated

    @property
    def retry_after(self) -> int:
        """Seconds, rounded up, after which asking once is admitted; 0 when admitted.

        True if nothing else changes meanwhile. A cost that can never fit its policy is
        refused again then: it is told when that policy is restored in full, 1 at least.
        """
        if not self.violated:
            return 0
        latest = max(self._free_again(policy) for policy in self.violated)
        return max(1, _seconds(latest - self.at))

    @property
    def returnable(self) -> tuple[int, int]:
        """What giving it back returns: microseconds of rate and units of quota.

        Raises:
            ValueError: if it refused: it spent nothing, and this would mint units.
        """
        if self.violated:
            msg = "only an admitted decision can be given back"
            raise ValueError(msg)
        return self.rate_cost * interval(self.limits.rate), self.quota_cost

    def _free_again(self, policy: str) -> int:
        if policy == "day":
            return self.state.day_ends
        if policy == "month":
            return self.state.month_ends
        if policy == "refusals":
            return minute_end(self.at)
        fitting = min(self.rate_cost, self.limits.burst)
        debt = (fitting - self.limits.burst) * interval(self.limits.rate)
        return max(self.state.tat, self.at) + debt

    @property
    def standings(self) -> tuple[Standing, Standing, Standing]:
        """Rate, day and month, after this decision."""
        state, limits = self.state, self.limits
        full_at = max(state.tat, self.at)
        owed = _rounded_up(full_at - self.at, interval(limits.rate))
        return (
            self._standing("rate", 1, limits.rate, owed, full_at),
            self._standing("day", 86_400, limits.day, state.day_used, state.day_ends),
            self._standing(
                "month", 2_592_000, limits.month, state.month_used, state.month_ends
            ),
        )

    def _standing(
        self, policy: str, window_s: int, quota: int, used: int, resets_at: int
    ) -> Standing:
        burst = self.limits.burst if policy == "rate" else None
        allowed = quota if burst is None else burst
        # More is used than allowed where a limit was lowered since.
        remaining, resets_in = max(0, allowed - used), _seconds(resets_at - self.at)
        return Standing(
            policy, quota, window_s, burst, used, remaining, resets_at, resets_in
        )


def _rounded_up(amount: int, unit: int) -> int:
    return -(-amount // unit)


def _seconds(span: int) -> int:
    return _rounded_up(span, SECOND)


def interval(rate: int) -> int:
    """Microseconds in which one unit of `rate` (1 to 1,000,000 a second) comes back."""
    return _rounded_up(SECOND, rate)


def minute_end(now: int) -> int:
    return now - now % MINUTE + MINUTE


def day_end(now: int) -> int:
    """The next 00:00 in Jakarta, which keeps UTC+7 all year."""
    return now - (now + JAKARTA_OFFSET) % DAY + DAY


def month_begin(now: int) -> int:
    """The last 00:00 in Jakarta that began a month."""
    here = to_datetime(now + JAKARTA_OFFSET)
    begins = here.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return from_datetime(begins) - JAKARTA_OFFSET


def month_end(now: int) -> int:
    """The next 00:00 in Jakarta that begins a month."""
    # 32 days from the first lie in the next month, whatever its length.
    return month_begin(month_begin(now) + 32 * DAY)


def arrival(tat: int, now: int, owed: int) -> int:
    """The theoretical arrival time once `owed` more microseconds are to come back."""
    return max(tat, now) + owed


def turned(state: State, now: int) -> State:
    """The state with the windows that have ended fresh.

    A server clock set back leaves them as they are: a later window is neither lost nor
    counted twice.
    """
    if now >= state.day_ends:
        state = state._replace(day_used=0, day_ends=day_end(now))
    if now >= state.month_ends:
        state = state._replace(month_used=0, month_ends=month_end(now))
    return state


def admit(
    state: State,
    limits: Limits,
    now: int,
    *,
    rate_cost: int = 1,
    quota_cost: int = 1,
    refusals: Refusals = UNREFUSED,
) -> Decision:
    """Decides over every policy at once and spends from all of them or from none.

    A window of which nothing is asked (cost 0) cannot refuse. Limits may differ from
    those of the call before: no more than a whole burst is ever owed, so a rate
    raised, or a clock set back, is felt at once; a rate lowered starts from what is
    left of the time owed.
    """
    step = interval(limits.rate)
    capacity = limits.burst * step
    state = turned(state, now)
    if state.tat > now + capacity:
        state = state._replace(tat=now + capacity)
    tat = arrival(state.tat, now, rate_cost * step)
    day_used = state.day_used + quota_cost
    month_used = state.month_used + quota_cost
    this_minute = refusals.ends == minute_end(now)
    bits = (
        (RATE if tat - now > capacity else 0)
        | (DAILY if quota_cost and day_used > limits.day else 0)
        | (MONTHLY if quota_cost and month_used > limits.month else 0)
        | (REFUSED if this_minute and refusals.collected > REFUSALS_A_MINUTE else 0)
    )
    if not bits and (rate_cost or quota_cost):
        state = State(tat, day_used, state.day_ends, month_used, state.month_ends)
    return Decision(now, limits, state, VIOLATIONS[bits], rate_cost, quota_cost)


def crossed(decision: Decision) -> tuple[Crossing, ...]:
    """The thresholds of day and month that this admission reached, lowest first.

    The state says what is used after it, so what was used before it needs no memory:
    of all calls of a window exactly one takes its use over a threshold, whichever worker
    decides it. A unit that was given back and is spent again takes it over again; a
    limit lowered under what is used passes its thresholds by no admission.
    """
    units, state, limits = decision.quota_cost, decision.state, decision.limits
    near = THRESHOLDS[0]
    if (
        state.day_used * 100 < near * limits.day
        and state.month_used * 100 < near * limits.month
    ) or decision.violated:
        return ()
    return tuple(
        Crossing(policy, percent, used, quota, ends)
        for policy, used, quota, ends in (
            ("day", state.day_used, limits.day, state.day_ends),
            ("month", state.month_used, limits.month, state.month_ends),
        )
        for percent in THRESHOLDS
        if (used - units) * 100 < percent * quota <= used * 100
    )


def give_back(state: State, decision: Decision, now: int) -> Decision:
    """The standing once the units `decision` spent are returned.

    A window gets its units only while it is still the one charged; the rate gets back
    no more than is still owed. The answer spent nothing, so it gives back nothing.

    Raises:
        ValueError: if `decision` refused.
    """
    returned, units = decision.returnable
    state = turned(state, now)
    tat = max(state.tat - returned, min(state.tat, now))
    same_day = state.day_ends == decision.state.day_ends
    same_month = state.month_ends == decision.state.month_ends
    state = state._replace(
        tat=tat,
        day_used=max(0, state.day_used - units * same_day),
        month_used=max(0, state.month_used - units * same_month),
    )
    return Decision(now, decision.limits, state, (), 0, 0)


def count_refusal(refusals: Refusals, now: int) -> Refusals:
    """One more in the minute of `now`; the count of any other minute is forgotten."""
    ends = minute_end(now)
    return Refusals(refusals.collected + 1 if refusals.ends == ends else 1, ends)
