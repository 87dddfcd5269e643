"""The rules of a limit, without Redis; tests/properties holds Lua to the same ones."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.clock import SECOND, from_datetime
from gateway.quota.limit import (
    DAY,
    IDLE,
    MINUTE,
    REFUSALS_A_MINUTE,
    UNREFUSED,
    Decision,
    Refusals,
    State,
    admit,
    count_refusal,
    day_end,
    give_back,
    interval,
    minute_end,
    month_end,
    turned,
)
from gateway.vocabulary import Limits

LIMITS = Limits(rate=5, burst=5, day=100, month=1_000)
ROOMY = Limits(rate=1_000, burst=1_000, day=10, month=1_000)


def jakarta(text: str) -> int:
    here = timezone(timedelta(hours=7))
    return from_datetime(datetime.fromisoformat(text).replace(tzinfo=here))


NOON = jakarta("2026-11-24T12:00:00")
instants = st.integers(jakarta("2025-01-01"), jakarta("2105-01-01"))
limits = st.builds(
    Limits,
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 90),
)
# The edges at which windows turn, a microsecond to either side.
EDGES = (
    "2028-02-29",
    "2028-03-01",
    "2027-03-01",
    "2026-12-01",
    "2027-01-01",
    "2100-03-01",
)
near_edges = st.builds(
    lambda edge, off: jakarta(edge) + off, st.sampled_from(EDGES), st.integers(-2, 2)
)


def admit_many(
    number: int, limits: Limits = ROOMY, now: int = NOON, state: State = IDLE
) -> Decision:
    decision = admit(state, limits, now)
    for _ in range(number - 1):
        assert decision.admitted
        decision = admit(decision.state, limits, now)
    assert decision.admitted
    return decision


def remaining(decision: Decision) -> tuple[int, ...]:
    return tuple(standing.remaining for standing in decision.standings)


def test_a_burst_is_admitted_at_once_and_one_more_is_not() -> None:
    last = admit_many(5, LIMITS)
    assert remaining(last) == (0, 95, 995)
    refused = admit(last.state, LIMITS, NOON)
    assert refused.violated == ("rate",)
    assert refused.retry_after == 1


def test_after_a_burst_one_unit_comes_back_each_interval() -> None:
    state = admit_many(5, LIMITS).state
    soon = NOON + interval(5)
    assert not admit(state, LIMITS, soon - 1).admitted
    spent = admit(state, LIMITS, soon)
    assert spent.admitted
    assert not admit(spent.state, LIMITS, soon).admitted


def test_an_interval_is_rounded_up_so_that_a_rate_is_never_exceeded() -> None:
    assert [interval(rate) for rate in (1, 3, 1_000_000)] == [1_000_000, 333_334, 1]


def test_every_violated_policy_is_named() -> None:
    tight = Limits(rate=1, burst=1, day=1, month=1)
    refused = admit(admit_many(1, tight).state, tight, NOON)
    assert refused.violated == ("rate", "day", "month")
    assert refused.retry_after == (month_end(NOON) - NOON) // SECOND


@pytest.mark.parametrize(
    ("rate_cost", "quota_cost", "violated"),
    [(6, 1, ("rate",)), (1, 101, ("day",)), (1, 1_001, ("day", "month"))],
)
def test_a_refused_call_spends_from_no_policy(
    rate_cost: int, quota_cost: int, violated: tuple[str, ...]
) -> None:
    state = admit_many(1, LIMITS).state
    refused = admit(state, LIMITS, NOON, rate_cost=rate_cost, quota_cost=quota_cost)
    assert (refused.violated, refused.state) == (violated, state)


def test_a_batch_costs_its_items_of_every_policy() -> None:
    decision = admit(IDLE, LIMITS, NOON, rate_cost=4, quota_cost=4)
    assert remaining(decision) == (1, 96, 996)


def test_an_account_call_costs_rate_and_no_quota() -> None:
    assert remaining(admit(IDLE, LIMITS, NOON, quota_cost=0)) == (4, 100, 1_000)


def test_a_call_that_asks_no_quota_is_not_refused_by_an_exhausted_day() -> None:
    state = admit_many(10).state
    assert admit(state, ROOMY._replace(day=5), NOON, quota_cost=0).admitted


def test_a_raised_day_admits_exactly_the_difference() -> None:
    state = admit_many(10).state
    assert not admit(state, ROOMY, NOON).admitted
    raised = ROOMY._replace(day=20)
    state = admit_many(10, raised, NOON, state).state
    assert admit(state, raised, NOON).violated == ("day",)


def test_a_day_lowered_below_what_is_used_refuses_until_it_turns() -> None:
    state, lowered = admit_many(10).state, ROOMY._replace(day=3)
    refused = admit(state, lowered, NOON)
    assert refused.violated == ("day",)
    assert remaining(refused)[1] == 0
    assert admit(state, lowered, day_end(NOON)).admitted


def test_a_raised_rate_is_felt_at_once() -> None:
    slow, fast = Limits(1, 1_000, 9_999, 9_999), Limits(1_000, 10, 9_999, 9_999)
    state = admit_many(1_000, slow).state
    refused = admit(state, fast, NOON)
    assert refused.violated == ("rate",)
    assert refused.retry_after == 1
    assert admit(refused.state, fast, NOON + interval(1_000)).admitted


def test_a_raised_burst_admits_exactly_the_difference() -> None:
    state = admit_many(5, LIMITS).state
    wider = LIMITS._replace(burst=8)
    state = admit_many(3, wider, NOON, state).state
    assert admit(state, wider, NOON).violated == ("rate",)


@pytest.mark.parametrize(
    ("now", "day_ends", "month_ends"),
    [
        ("2026-11-24T12:00:00", "2026-11-25", "2026-12-01"),
        ("2026-11-30T23:59:59.999999", "2026-12-01", "2026-12-01"),
        ("2026-12-01T00:00:00", "2026-12-02", "2027-01-01"),
        ("2028-02-28T23:59:59", "2028-02-29", "2028-03-01"),
        ("2028-02-29T00:00:00", "2028-03-01", "2028-03-01"),
        ("2027-02-28T06:59:59", "2027-03-01", "2027-03-01"),
        ("2100-02-28T12:00:00", "2100-03-01", "2100-03-01"),
    ],
)
def test_day_and_month_turn_at_midnight_in_jakarta(
    now: str, day_ends: str, month_ends: str
) -> None:
    instant = jakarta(now)
    assert day_end(instant) == jakarta(day_ends)
    assert month_end(instant) == jakarta(month_ends)


def test_a_window_that_has_turned_is_fresh_even_to_a_refused_call() -> None:
    state = admit_many(10).state
    tomorrow = day_end(NOON)
    refused = admit(state, ROOMY, tomorrow, quota_cost=11)
    assert refused.state.day_used == 0
    assert refused.state.day_ends == tomorrow + DAY
    assert refused.state.month_used == 10


def test_a_clock_set_back_over_midnight_counts_no_day_twice() -> None:
    after = day_end(NOON)
    state = admit_many(10, now=after).state
    assert admit(state, ROOMY, after - 1).violated == ("day",)
    assert turned(state, after - 1) == state


def test_a_clock_set_back_by_a_month_does_not_block_the_rate() -> None:
    state = admit_many(5, LIMITS).state
    earlier = NOON - 30 * DAY
    refused = admit(state, LIMITS, earlier)
    assert refused.violated == ("rate",)
    assert admit(refused.state, LIMITS, earlier + refused.retry_after * SECOND).admitted


def test_what_is_given_back_can_be_spent_again() -> None:
    charged = admit_many(10)
    returned = give_back(charged.state, charged, NOON)
    assert remaining(returned) == (991, 1, 991)
    assert admit(returned.state, ROOMY, NOON).admitted


def test_a_window_that_has_turned_gets_nothing_back() -> None:
    charged = admit_many(1)
    tomorrow = day_end(NOON)
    today = admit_many(3, now=tomorrow, state=charged.state)
    returned = give_back(today.state, charged, tomorrow)
    assert returned.state.day_used == 3
    assert returned.state.month_used == 3


def test_giving_back_never_leaves_less_than_an_idle_state() -> None:
    charged = admit(IDLE, LIMITS, NOON, rate_cost=5)
    later = NOON + 10 * SECOND
    assert give_back(charged.state, charged, later).state.tat == charged.state.tat
    lost = give_back(IDLE, charged, NOON)
    assert (lost.state.tat, lost.state.day_used, lost.state.month_used) == (0, 0, 0)


def test_a_charge_given_back_cannot_be_given_back_from_its_answer() -> None:
    charged = admit_many(2)
    once = give_back(charged.state, charged, NOON)
    assert give_back(once.state, once, NOON).state == once.state


def test_a_refused_decision_cannot_be_given_back() -> None:
    refused = admit(IDLE, LIMITS, NOON, rate_cost=6)
    with pytest.raises(ValueError, match="admitted"):
        give_back(refused.state, refused, NOON)


def test_a_key_is_blocked_from_its_121st_refusal_to_the_end_of_the_minute() -> None:
    refusals = UNREFUSED
    for _ in range(REFUSALS_A_MINUTE):
        refusals = count_refusal(refusals, NOON)
    assert admit(IDLE, LIMITS, NOON, refusals=refusals).admitted
    refusals = count_refusal(refusals, NOON)
    refused = admit(IDLE, LIMITS, NOON + 1, refusals=refusals)
    assert refused.violated == ("refusals",)
    assert refused.retry_after == 60
    assert refused.state == turned(IDLE, NOON)
    assert admit(IDLE, LIMITS, NOON + MINUTE, refusals=refusals).admitted
    assert count_refusal(refusals, NOON + MINUTE).collected == 1


def test_a_blocked_key_hears_of_every_policy_it_violates() -> None:
    refusals = Refusals(REFUSALS_A_MINUTE + 1, minute_end(NOON))
    refused = admit(IDLE, LIMITS, NOON, quota_cost=101, refusals=refusals)
    assert refused.violated == ("day", "refusals")
    assert refused.retry_after == 12 * 3600


def test_a_cost_that_can_never_fit_is_told_when_its_policy_is_restored() -> None:
    assert admit(IDLE, LIMITS, NOON, rate_cost=6).retry_after == 1
    spent = admit(IDLE, LIMITS, NOON, rate_cost=5).state
    assert admit(spent, Limits(1, 5, 9, 9), NOON, rate_cost=6).retry_after == 1
    assert admit(IDLE, LIMITS, NOON, quota_cost=101).retry_after == 12 * 3600


def test_standings_say_what_is_left_and_when_each_policy_is_restored() -> None:
    charged = admit(IDLE, Limits(50, 50, 100_000, 2_000_000), NOON)
    rate, day, month = charged.standings
    assert rate == ("rate", 50, 1, 50, 1, 49, NOON + 20_000, 1)
    assert day == (
        "day",
        100_000,
        86_400,
        None,
        1,
        99_999,
        jakarta("2026-11-25"),
        43_200,
    )
    assert month.resets_at == jakarta("2026-12-01")
    assert month.resets_in == timedelta(days=6, hours=12) // timedelta(seconds=1)
    assert (month.policy, month.window_s, month.burst) == ("month", 2_592_000, None)


steps = st.tuples(
    st.sampled_from((0, 1, 999, SECOND, MINUTE, 3_600 * SECOND, DAY, 27 * DAY)),
    st.integers(0, 60),
    st.integers(0, 60),
    limits,
)


@given(st.one_of(instants, near_edges), st.lists(steps, min_size=1, max_size=40))
@example(jakarta("2028-02-29") - 1, [(0, 1, 60, Limits(1, 1, 60, 60))] * 2)
def test_after_exactly_retry_after_and_no_sooner_the_same_ask_is_admitted(
    now: int, history: list[tuple[int, int, int, Limits]]
) -> None:
    state, refusals = IDLE, UNREFUSED
    for wait, rate_cost, quota_cost, allowed in history:
        now += wait
        refusals = Refusals(60 + rate_cost + quota_cost, minute_end(now))
        costs = {
            "rate_cost": min(rate_cost, allowed.burst),
            "quota_cost": min(quota_cost, allowed.day, allowed.month),
        }
        decision = admit(state, allowed, now, refusals=refusals, **costs)
        state = decision.state
        then = now + decision.retry_after * SECOND
        if decision.admitted:
            assert decision.retry_after == 0
        else:
            assert decision.retry_after > 0
            assert admit(state, allowed, then, refusals=refusals, **costs).admitted
            sooner = then - SECOND
            refused = admit(state, allowed, sooner, refusals=refusals, **costs)
            assert not refused.admitted


@given(st.one_of(instants, near_edges), st.lists(steps, min_size=1, max_size=20))
def test_a_cost_that_can_never_fit_is_refused_whenever_it_is_told_to_come_back(
    now: int, history: list[tuple[int, int, int, Limits]]
) -> None:
    state = IDLE
    for wait, more, other_cost, allowed in history:
        now += wait
        for rate, quota in (
            (allowed.burst + 1 + more, other_cost),
            (1, min(allowed.day, allowed.month) + 1 + more),
        ):
            refused = admit(state, allowed, now, rate_cost=rate, quota_cost=quota)
            assert refused.retry_after > 0
            state, then = refused.state, now + refused.retry_after * SECOND
            again = admit(state, allowed, then, rate_cost=rate, quota_cost=quota)
            assert not again.admitted
        state = admit(state, allowed, now, quota_cost=other_cost).state


@given(limits, near_edges, st.lists(st.integers(0, 2 * SECOND), max_size=200))
def test_a_rate_admits_at_most_its_burst_and_what_came_back(
    allowed: Limits, now: int, waits: list[int]
) -> None:
    allowed = allowed._replace(day=10**6, month=10**6)
    state, began, admitted = IDLE, now, 0
    for wait in waits:
        now += wait
        decision = admit(state, allowed, now)
        state, admitted = decision.state, admitted + decision.admitted
        came_back = (now - began) * allowed.rate // SECOND
        assert admitted <= allowed.burst + came_back
        assert 0 <= decision.standings[0].remaining <= allowed.burst


@given(limits, st.integers(1, 60), instants)
def test_what_remains_is_exactly_what_is_then_admitted(
    allowed: Limits, cost: int, now: int
) -> None:
    decision = admit(IDLE, allowed, now, rate_cost=cost, quota_cost=cost)
    left = min(remaining(decision))
    state = decision.state
    if left:
        state = admit_many(left, allowed, now, state).state
    assert not admit(state, allowed, now).admitted


@given(limits, instants, st.lists(st.integers(0, 3), max_size=20))
def test_giving_back_at_once_is_as_if_it_had_never_been_asked(
    allowed: Limits, now: int, costs: list[int]
) -> None:
    before = turned(IDLE, now)._replace(tat=now)
    for cost in costs:
        decision = admit(before, allowed, now, rate_cost=cost, quota_cost=cost)
        if decision.admitted:
            assert give_back(decision.state, decision, now).state == before
            before = decision.state
