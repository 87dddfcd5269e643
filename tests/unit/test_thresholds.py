"""Thresholds of a quota: each is reached by exactly one admission of a window."""

from collections import Counter
from collections.abc import Iterable

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from gateway.clock import SECOND, to_text
from gateway.quota import notices
from gateway.quota.limit import (
    DAY,
    IDLE,
    MINUTE,
    POLICIES,
    THRESHOLDS,
    Crossing,
    Decision,
    State,
    admit,
    crossed,
    day_end,
    give_back,
    month_end,
)
from gateway.vocabulary import Limits
from tests.unit.test_limit import NOON, near_edges

MUCH = 10**12
ROOMY = Limits(rate=1_000_000, burst=10_000_000, day=100, month=MUCH)


def spend(
    costs: Iterable[int],
    limits: Limits = ROOMY,
    state: State = IDLE,
    now: int = NOON,
) -> list[Decision]:
    """Asks for these units of quota, one call after the other."""
    decisions = []
    for cost in costs:
        decision = admit(state, limits, now, quota_cost=cost)
        state = decision.state
        decisions.append(decision)
    return decisions


def told(decisions: Iterable[Decision]) -> list[tuple[str, int, int]]:
    """Policy, percent and use of each threshold, in the order of the calls."""
    return [
        (one.policy, one.percent, one.used)
        for decision in decisions
        for one in crossed(decision)
    ]


def test_the_call_that_reaches_a_share_of_the_quota_is_the_one_that_tells() -> None:
    assert told(spend([1] * 105)) == [
        ("day", 80, 80),
        ("day", 95, 95),
        ("day", 100, 100),
    ]


def test_a_crossing_says_what_is_used_of_what_and_when_it_turns() -> None:
    *_, last = spend([1] * 80, ROOMY._replace(month=80))
    assert crossed(last) == (
        Crossing("day", 80, 80, 100, day_end(NOON)),
        Crossing("month", 100, 80, 80, month_end(NOON)),
    )


def test_a_share_that_falls_between_two_units_is_reached_by_the_upper_one() -> None:
    assert told(spend([1] * 7, ROOMY._replace(day=7))) == [
        ("day", 80, 6),  # of 5.6
        ("day", 95, 7),  # of 6.65
        ("day", 100, 7),
    ]


@pytest.mark.parametrize("quota", [1, 2, 3, 4])
def test_shares_of_a_tiny_quota_that_fall_on_one_unit_are_told_together(
    quota: int,
) -> None:
    *before, last = spend([1] * quota, ROOMY._replace(day=quota))
    assert told(before) == []
    assert [one.percent for one in crossed(last)] == list(THRESHOLDS)


def test_a_cost_that_jumps_over_several_shares_reaches_each() -> None:
    assert told(spend([79, 17])) == [("day", 80, 96), ("day", 95, 96)]
    assert told(spend([100])) == [("day", 80, 100), ("day", 95, 100), ("day", 100, 100)]


def test_a_refused_call_and_one_that_asks_no_quota_reach_nothing() -> None:
    full = spend([100])[0].state
    refused, account = spend([1, 0], state=full)
    assert not refused.admitted
    assert account.admitted
    assert told([refused, account]) == []


def test_a_new_day_reaches_its_shares_anew() -> None:
    full = spend([100])[0].state
    assert len(told(spend([1] * 100, state=full, now=day_end(NOON)))) == 3


def test_a_limit_lowered_under_what_is_used_is_reached_by_no_call() -> None:
    used = spend([90])[0].state
    assert told(spend([1, 1], ROOMY._replace(day=50), used)) == []
    # To 92: 90 is over 80 % already, and only what lies above is reached.
    lowered = ROOMY._replace(day=92)
    assert told(spend([1, 1], lowered, used)) == [("day", 100, 92)]


def test_a_raised_limit_is_reached_again() -> None:
    used = spend([100])[0].state
    assert told(spend([20] * 5, ROOMY._replace(day=200), used)) == [
        ("day", 80, 160),
        ("day", 95, 200),
        ("day", 100, 200),
    ]


def test_units_given_back_and_spent_again_reach_a_share_again() -> None:
    at_80 = spend([80])[0]
    returned = give_back(at_80.state, at_80, NOON)
    assert crossed(returned) == ()
    assert told(spend([80], state=returned.state)) == [("day", 80, 80)]


quotas = st.one_of(st.integers(1, 12), st.integers(1, 3_000))
calls = st.tuples(
    st.sampled_from((0, 0, 0, 1, SECOND, MINUTE, DAY // 3, DAY, 20 * DAY)),
    st.one_of(st.sampled_from((0, 1, 1, 2)), st.integers(0, 1_000)),
)


@given(near_edges, quotas, quotas, st.lists(calls, max_size=80))
def test_each_share_is_reached_exactly_once_in_each_window_that_uses_so_much(
    now: int, day: int, month: int, history: list[tuple[int, int]]
) -> None:
    limits = ROOMY._replace(day=day, month=month)
    state, most, found = (
        IDLE,
        Counter[tuple[str, int]](),
        Counter[tuple[str, int, int]](),
    )
    for wait, cost in history:
        now += wait
        decision = admit(state, limits, now, quota_cost=cost)
        state = decision.state
        most["day", state.day_ends] = state.day_used
        most["month", state.month_ends] = state.month_used
        found.update((c.policy, c.percent, c.resets_at) for c in crossed(decision))
    allowed = {"day": day, "month": month}
    assert found == Counter(
        (policy, percent, ends)
        for (policy, ends), used in most.items()
        for percent in THRESHOLDS
        if used * 100 >= allowed[policy] * percent
    )


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"{name}_total", labels) or 0


def test_each_share_that_is_reached_is_one_event_and_one_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # One that has been used keeps the configuration it found, which may be another's.
    monkeypatch.setattr(notices, "log", structlog.get_logger())
    labels = {"policy": "day", "percent": "95"}
    before = count("gateway_quota_thresholds", **labels)
    with capture_logs() as logs:
        for decision in spend([94, 1, 1]):
            notices.tell(7, decision)
    assert [line["percent"] for line in logs] == [80, 95]
    assert logs[1] == {
        "event": "quota_nearly_used",
        "log_level": "warning",
        "institution": 7,
        "policy": "day",
        "percent": 95,
        "used": 95,
        "quota": 100,
        "resets_at": to_text(day_end(NOON)),
    }
    assert count("gateway_quota_thresholds", **labels) == before + 1


def test_an_ask_counts_as_admitted_or_under_each_policy_that_refused_it() -> None:
    results = ("admitted", *POLICIES)
    before = {word: count("gateway_admissions", result=word) for word in results}
    tight = Limits(rate=1, burst=1, day=1, month=9)
    for decision in spend([1, 1, 0], tight):
        notices.tell(7, decision)
    grown = {
        word: count("gateway_admissions", result=word) - before[word]
        for word in results
    }
    assert grown == {"admitted": 1, "rate": 2, "day": 1, "month": 0, "refusals": 0}
