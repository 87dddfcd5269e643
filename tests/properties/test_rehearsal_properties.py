"""A rehearsal refuses what `admit` refuses, and says exactly how much would do."""

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import JAKARTA_OFFSET, SECOND, to_datetime
from gateway.quota.limit import DAY, MINUTE, State, admit, day_end, month_end
from gateway.quota.rehearsal import Ask, Rehearsal
from gateway.vocabulary import Limits
from tests.unit.test_limit import limits, near_edges

UNITS = st.sampled_from((0, 1, 1, 1))
gaps = st.one_of(
    st.sampled_from((0, 1, 999, 20_000, SECOND, MINUTE, DAY // 2, DAY, 20 * DAY)),
    st.integers(0, 3 * SECOND),
)
used = st.tuples(st.integers(0, 30), st.integers(0, 30))


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[Ask]]:
    """When it begins, and what was asked in the order of time, some of it as floods."""
    since = at = draw(near_edges)
    asks: list[Ask] = []
    for gap, units, times in draw(
        st.lists(st.tuples(gaps, UNITS, st.sampled_from((1, 1, 1, 4))), max_size=60)
    ):
        at += gap
        asks.append((at, units, times))
    return since, asks


def rehearsed(
    history: tuple[int, list[Ask]],
    allowed: Limits,
    before: tuple[int, int] = (0, 0),
) -> Rehearsal:
    since, asks = history
    day, earlier = before
    rehearsal = Rehearsal(allowed, since, day_used=day, month_used=day + earlier)
    rehearsal.replay(asks)
    return rehearsal


def refused(rehearsal: Rehearsal) -> int:
    return sum(day.refused for day in rehearsal.days)


@given(histories(), limits, used)
def test_it_refuses_exactly_what_the_limits_refuse_call_by_call(
    history: tuple[int, list[Ask]], allowed: Limits, before: tuple[int, int]
) -> None:
    since, asks = history
    state = State(0, before[0], day_end(since), sum(before), month_end(since))
    by_day = defaultdict[str, Counter[bool]](Counter)
    by_policy, instants = Counter[str](), []
    for at, units, times in asks:
        date = to_datetime(at + JAKARTA_OFFSET).date().isoformat()
        for _ in range(times):
            decision = admit(state, allowed, at, quota_cost=units)
            state = decision.state
            by_day[date][decision.admitted] += 1
            by_policy.update(decision.violated)
            instants += [] if decision.admitted else [at]
    found = rehearsed(history, allowed, before)
    assert {
        to_datetime(day.ends - 1 + JAKARTA_OFFSET).date().isoformat(): (
            day.admitted,
            day.refused,
        )
        for day in found.days
    } == {date: (counts[True], counts[False]) for date, counts in by_day.items()}
    assert found.refused_by == by_policy
    assert found.first_refusal == (instants[0] if instants else None)
    assert found.last_refusal == (instants[-1] if instants else None)


@given(histories(), limits, used)
def test_enough_refuses_nobody_and_one_less_of_anything_somebody(
    history: tuple[int, list[Ask]], allowed: Limits, before: tuple[int, int]
) -> None:
    enough = rehearsed(history, allowed, before).enough
    assert enough.rate == allowed.rate
    assert refused(rehearsed(history, enough, before)) == 0
    for name in ("burst", "day", "month"):
        less = enough._replace(**{name: getattr(enough, name) - 1})
        if getattr(less, name):  # no limit is less than 1
            assert refused(rehearsed(history, less, before)) > 0, name


@given(histories(), limits, st.data())
def test_it_makes_no_difference_in_what_pieces_calls_come(
    history: tuple[int, list[Ask]], allowed: Limits, data: st.DataObject
) -> None:
    since, asks = history
    pieces, whole = Rehearsal(allowed, since), rehearsed(history, allowed)
    cut = data.draw(st.integers(0, len(asks)))
    for piece in (asks[:cut], [], asks[cut:]):
        pieces.replay(piece)
    singly = [(at, units, 1) for at, units, times in asks for _ in range(times)]
    alone = rehearsed((since, singly), allowed)
    for other in (pieces, alone):
        assert other.days == whole.days
        assert other.enough == whole.enough
        assert other.busiest_second.calls == whole.busiest_second.calls


@given(histories())
def test_the_busiest_second_and_minute_are_the_first_with_most_calls(
    history: tuple[int, list[Ask]],
) -> None:
    found = rehearsed(history, Limits(1, 1, 1, 1))
    for length, peak in (
        (SECOND, found.busiest_second),
        (MINUTE, found.busiest_minute),
    ):
        spans = Counter[int]()
        for at, _, times in history[1]:
            spans[at - at % length] += times
        most = max(spans.values(), default=0)
        firsts = [since for since, calls in spans.items() if calls == most]
        assert (peak.since, peak.calls) == (min(firsts, default=0), most)
