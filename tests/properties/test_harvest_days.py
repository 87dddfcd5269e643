"""The rules against days that are lawful and scans that are not (lawful_days.py).

Their seeds were never looked at while the rules were made: on those that were, nothing is
judged here. To change a rule is to tune it on other seeds and to change these.
"""

from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice
from random import Random
from statistics import median
from typing import Final

import pytest

from gateway.quota.harvest import NOTHING, Day, Finding, Sight, judge, seen_of
from gateway.vocabulary import Step
from tests.properties.lawful_days import (
    SHUFFLED,
    Asked,
    Scan,
    among_its_own,
    by_dates,
    lawful,
    sequential,
    shuffled,
    shuffled_year,
)

MOST_CLAIMS: Final = 5
SEED: Final = "judged anew 0034"
# An institution as a scan finds it: it has asked about some hundreds a day.
USUAL: Final = 300


def _digest(text: str, size: int) -> bytes:
    return blake2b(text.encode(), digest_size=size).digest()


def _sight(asked: Asked) -> Sight:
    prefix = _digest(asked.nik[:12], 8)
    return Sight(_digest(asked.nik, 8), prefix, _digest(asked.claims, 4))


def findings(
    day: Day, questions: Iterator[Asked], at_once: int = 1
) -> Iterator[tuple[int, Finding | None]]:
    """After each call how many were asked, and what is to be done before it is answered."""
    seen, number = NOTHING, 0
    while asked := list(islice(questions, at_once)):
        sights = [_sight(one) for one in asked]
        evidence = day.watch(sights, seen, most_claims=MOST_CLAIMS)
        seen = seen_of(evidence, sights, [one.found for one in asked])
        number += len(asked)
        yield number, judge(evidence, seen)


def alarms(seed: str, days: int, at_once: int = 1) -> int:
    """On how many lawful days anything is done at all."""
    count = 0
    for week in lawful(seed, days):
        day = Day()
        for asked in week:
            steps = [step for _, step in findings(day, iter(asked), at_once) if step]
            count += bool(steps)
            day = day.next()
    return count


def stopped_after(scan: Scan, seed: str, most: int = 3_000, at_once: int = 1) -> int:
    """How many look-ups a scan gets; `most` if it is not stopped by then."""
    day = Day(usual=USUAL)
    draw = Random(f"{SEED} {seed}")  # noqa: S311 - a model, no secret
    for number, finding in findings(day, scan(draw), at_once):
        if number >= most or (finding and finding.step is Step.STOP):
            return number
    return most


def split(scan: Scan, keys: int) -> Scan:
    """Each key of the institution walks somewhere else, and they take turns."""

    def turns(draw: Random) -> Iterator[Asked]:
        walks = [scan(Random(draw.random())) for _ in range(keys)]  # noqa: S311 - a model
        while True:
            for walk in walks:
                yield next(walk)

    return turns


def test_seventy_lawful_days_raise_no_alarm() -> None:
    assert alarms(f"{SEED} few", 70) == 0


def test_nor_do_they_in_batches() -> None:
    assert alarms(f"{SEED} batches", 21, at_once=1_000) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("at_once", "days"), [(1, 7_000), (1_000, 3_500)])
def test_of_a_thousand_lawful_days_at_most_one_raises_an_alarm(
    at_once: int, days: int
) -> None:
    assert alarms(f"{SEED} {at_once}", days, at_once) <= days / 1_000


@pytest.mark.parametrize("scan", [sequential, split(sequential, 5)])
def test_a_sequential_scan_is_stopped_within_50_look_ups(scan: Scan) -> None:
    assert max(stopped_after(scan, str(number)) for number in range(15)) <= 50


@pytest.mark.parametrize("scan", [shuffled, split(shuffled, 5)])
def test_a_shuffled_scan_is_stopped_within_200_look_ups(scan: Scan) -> None:
    assert max(stopped_after(scan, str(number)) for number in range(15)) <= 200


@pytest.mark.parametrize("scan", [sequential, *SHUFFLED])
def test_a_scan_split_over_five_keys_is_stopped_within_300_look_ups(scan: Scan) -> None:
    taken = [stopped_after(split(scan, 5), str(number)) for number in range(15)]
    assert max(taken) <= 300


@pytest.mark.parametrize("scan", [by_dates, shuffled_year])
def test_a_scan_over_many_prefixes_is_stopped_within_200_in_most_districts(
    scan: Scan,
) -> None:
    """Where ten of a sex are born a day the first serials are there: so are a list's."""
    taken = [stopped_after(scan, str(number)) for number in range(40)]
    assert median(taken) <= 50
    assert sorted(taken)[35] <= 200


@pytest.mark.parametrize("scan", [sequential, by_dates, *SHUFFLED])
def test_a_batch_that_scans_is_stopped_before_it_is_answered(scan: Scan) -> None:
    taken = [stopped_after(scan, str(number), at_once=1_000) for number in range(5)]
    assert median(taken) == 1_000


@pytest.mark.parametrize("scan", [sequential, shuffled])
def test_lawful_calls_between_hide_no_scan_of_one_prefix(scan: Scan) -> None:
    """Nine lawful ones to each guess: it is the guesses that count."""
    mixed = among_its_own(scan, 0.9)
    assert max(stopped_after(mixed, str(number)) for number in range(10)) <= 500
