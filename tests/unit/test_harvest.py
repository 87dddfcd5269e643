"""Evidence of harvesting, and what is done about it."""

import pytest

from gateway.quota.harvest import (
    GROWTH_FROM,
    GROWTH_TIMES,
    LADDERS,
    NOTHING,
    Day,
    Evidence,
    Finding,
    Seen,
    Sight,
    judge,
    seen_of,
)
from gateway.vocabulary import Rule, Step

NOBODY = Evidence(0, 0, 0, 0, 0, 0, 0, 0)
PREFIX = b"\1\2prefix"


def subject(number: int) -> bytes:
    return number.to_bytes(8)


def sight(number: int, claims: bytes = b"") -> Sight:
    """A subject among strangers."""
    prefix = (number + 1) * 0x9E37_79B9_7F4A_7C15 % 2**64
    return Sight(subject(number), prefix.to_bytes(8), claims)


@pytest.mark.parametrize("rule", LADDERS)
@pytest.mark.parametrize("step", [Step.ALERT, Step.SLOW, Step.STOP])
def test_each_rule_has_three_steps_and_each_begins_at_its_value(
    rule: Rule, step: Step
) -> None:
    member = {
        Rule.SCAN: "score",
        Rule.MISSES_ALIKE: "alike",
        Rule.CANARY: "canaries",
    }[rule]
    least = LADDERS[rule][step]
    assert judge(NOBODY._replace(**{member: least})) == Finding(step, rule)
    below = judge(NOBODY._replace(**{member: least - 1}))
    assert below is None or below == Finding(Step.numbered(step - 1), rule)


def test_the_highest_step_is_what_counts() -> None:
    score, alike = LADDERS[Rule.SCAN][Step.ALERT], LADDERS[Rule.MISSES_ALIKE][Step.STOP]
    found = judge(NOBODY._replace(score=score, alike=alike))
    assert found == Finding(Step.STOP, Rule.MISSES_ALIKE)


def test_growth_is_told_of_and_stops_nobody() -> None:
    grown = NOBODY._replace(usual=500, subjects=GROWTH_TIMES * 500 + 1)
    assert judge(grown) == Finding(Step.ALERT, Rule.GROWTH)
    assert judge(grown._replace(subjects=GROWTH_TIMES * 500)) is None
    far = grown._replace(subjects=10_000_000)
    assert judge(far) == Finding(Step.ALERT, Rule.GROWTH)


def test_who_is_small_or_not_known_yet_has_not_grown() -> None:
    assert judge(NOBODY._replace(usual=1, subjects=GROWTH_FROM)) is None
    assert judge(NOBODY._replace(usual=0, subjects=10_000_000)) is None


def test_a_subject_counts_once_a_day_whatever_is_asked_of_it() -> None:
    day = Day()
    first = day.watch([sight(1, b"one.")], most_claims=5)
    again = day.watch([sight(1, b"two."), sight(1)], most_claims=5)
    assert (first.new, first.subjects) == (1, 1)
    assert again == first._replace(new=0)


def test_neighbours_and_misses_raise_the_score_strangers_and_hits_lower_it() -> None:
    day = Day(score=50)
    assert day.watch([], Seen(1, (), 1), most_claims=5).score == 50
    assert day.watch([], Seen(0, (PREFIX,), 1), most_claims=5).score == 57
    assert day.watch([], Seen(0, (PREFIX,)), most_claims=5).score == 60
    assert day.watch([], Seen(1), most_claims=5).score == 56
    assert day.watch([], Seen(100), most_claims=5).score == 0


def test_who_shares_a_prefix_is_a_neighbour_but_for_the_first() -> None:
    near = [Sight(subject(number), PREFIX) for number in range(11)]
    evidence = Day().watch([*near, sight(99)], most_claims=5)
    assert (evidence.new, evidence.near) == (12, 10)


def test_a_lawful_past_hides_nothing() -> None:
    day = Day()
    day.watch([], Seen(found=5_000), most_claims=5)
    assert day.watch([], Seen(missed=(PREFIX,) * 4), most_claims=5).score == 12


def test_it_is_known_what_an_answer_would_add_before_it_leaves() -> None:
    day = Day()
    near = [Sight(subject(number), PREFIX) for number in range(20)]
    evidence = day.watch(near, most_claims=5)
    seen = seen_of(evidence, near, [number < 3 for number in range(20)])
    assert seen == Seen(3, (PREFIX,) * 17, 19)
    assert judge(evidence) is None
    foreseen = judge(evidence, seen)
    assert foreseen == judge(day.watch([], seen, most_claims=5))
    assert foreseen == Finding(Step.STOP, Rule.MISSES_ALIKE)


def test_what_became_of_subjects_that_were_not_new_adds_nothing() -> None:
    day = Day()
    day.watch([sight(1), sight(2)], most_claims=5)
    again = [sight(1), sight(2), sight(3), sight(3)]
    evidence = day.watch(again, most_claims=5)
    assert seen_of(evidence, again, [False] * 4) == Seen(0, (sight(1).prefix,))
    same = day.watch(again, most_claims=5)
    assert seen_of(same, again, [False] * 4) == NOTHING


def test_misses_are_counted_by_prefix_however_many_hits_lie_between() -> None:
    day, evidence = Day(), NOBODY
    for _ in range(LADDERS[Rule.MISSES_ALIKE][Step.STOP]):
        evidence = day.watch([], Seen(100, (PREFIX,)), most_claims=5)
    assert evidence.score == 0
    assert judge(evidence) == Finding(Step.STOP, Rule.MISSES_ALIKE)


def test_a_canary_counts_once_however_often_it_is_asked_about() -> None:
    day, evidence = Day(), NOBODY
    canary = Sight(subject(1), PREFIX, canary=True)
    for _ in range(9):
        evidence = day.watch([canary], most_claims=5)
    assert judge(evidence) == Finding(Step.ALERT, Rule.CANARY)


def test_five_different_claims_of_a_subject_and_the_same_ones_for_ever() -> None:
    day = Day()
    told = [
        day.watch([sight(1, bytes([number]) * 4)], most_claims=5).guessed
        for number in (1, 2, 3, 4, 5, 6, 5, 1, 6)
    ]
    assert told == [0, 0, 0, 0, 0, 1, 0, 0, 1]
    assert day.watch([sight(2, b"6666")], most_claims=5).guessed == 0
    assert day.watch([sight(1)], most_claims=5).guessed == 0


def test_the_next_day_knows_what_is_usual_and_nothing_else() -> None:
    day = Day()
    day.watch([sight(number) for number in range(800)], most_claims=5)
    quiet = day.next().next()
    assert quiet.watch([], NOTHING, most_claims=5) == NOBODY._replace(usual=700)
