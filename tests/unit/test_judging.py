"""Each invariant of `gateway chaos` is found broken where it is, and only there."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.embedded import chaos, judging
from gateway.embedded.asking import FAR, Call, Ledger, Partner
from gateway.embedded.judging import Finding, Span
from gateway.embedded.outcome import Outcome
from gateway.embedded.plan import Plan
from gateway.quota.reconciliation import Difference

FAULTS = [Span(10.0, 20.0)]
PARTNER = Partner(1, FAR, "")


def entry(reference: str, access_id: str, **members: Any) -> dict[str, Any]:
    usual = {"institution": 1, "outcome": "disclosed", "charged": 1}
    named = {"reference": reference, "access_id": access_id}
    return {**usual, "at": "2026-11-24T13:00:00.000000Z", **named, **members}


def ledger(**calls: Call) -> Ledger:
    told = Counter((call.institution, call.status) for call in calls.values())
    return Ledger(calls, told)


def answered_call(access_id: str | None, status: int = 200) -> Call:
    outcome = "disclosed" if status == 200 else "refused"
    return Call(1, 11.0, 12.0, status, access_id, outcome)


def lost_call(sent: float, until: float) -> Call:
    return Call(1, sent, until)


def test_an_answer_with_its_entry_is_right() -> None:
    found = judging.answered(ledger(a=answered_call("A")), [entry("a", "A")])
    assert (found.looked_at, found.broken) == (1, 0)


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [entry("a", "B")],
        [entry("a", "A", outcome="not_found")],
        [entry("a", "A", institution=2)],
        [entry("b", "A")],
    ],
)
def test_an_answer_without_its_entry_is_found(entries: list[dict[str, Any]]) -> None:
    assert judging.answered(ledger(a=answered_call("A")), entries).broken == 1


def test_data_without_an_access_id_is_found() -> None:
    assert judging.answered(ledger(a=answered_call(None)), []).broken == 1


def test_a_refusal_that_was_only_counted_needs_no_entry() -> None:
    counted = ledger(a=answered_call(None, status=429))
    assert judging.answered(counted, []).broken == 0


@pytest.mark.parametrize(
    ("sent", "until", "broken"),
    [(9, 10, 0), (19, 21, 0), (12, 13, 0), (8, 9.9, 1), (20.1, 21, 1)],
)
def test_an_entry_without_an_answer_is_of_a_call_in_flight_at_a_fault(
    sent: float, until: float, broken: int
) -> None:
    found = judging.unanswered(
        ledger(a=lost_call(sent, until)), [entry("a", "A")], FAULTS
    )
    assert (found.looked_at, found.broken) == (1, broken)


def test_an_entry_that_nobody_asked_for_is_found() -> None:
    assert judging.unanswered(ledger(), [entry("a", "A")], FAULTS).broken == 1


def test_an_entry_of_a_call_that_was_told_of_another_is_found() -> None:
    entries = [entry("a", "A"), entry("a", "B")]
    found = judging.unanswered(ledger(a=answered_call("A")), entries, FAULTS)
    assert found.broken == 1


def test_an_entry_that_is_there_twice_is_found() -> None:
    assert judging.once([entry("a", "A"), entry("b", "B")]).broken == 0
    assert judging.once([entry("a", "A"), entry("a", "B")]).broken == 1
    assert judging.once([entry("a", "A"), entry("b", "A")]).broken == 1


@pytest.mark.parametrize(("outcome", "charged"), [("disclosed", 0), ("failed", 1)])
def test_an_entry_that_is_charged_wrongly_is_found(outcome: str, charged: int) -> None:
    entries = [entry("a", "A", outcome=outcome, charged=charged)]
    assert judging.charged(ledger(), entries, []).broken == 1


@pytest.mark.parametrize(("counted", "broken"), [(4, 1), (5, 0), (6, 0), (7, 1)])
def test_a_counter_holds_no_more_than_calls_of_unknown_fate(
    counted: int, broken: int
) -> None:
    differences = [Difference(1, counted, 5, counted, 5)]
    one_unknown = ledger(a=lost_call(11, 12), b=answered_call("B"))
    assert judging.charged(one_unknown, [], differences).broken == broken


@pytest.mark.parametrize("window", ["day", "month"])
def test_a_window_that_admits_more_than_its_limit_is_found(window: str) -> None:
    partner = Partner(1, FAR._replace(**{window: 2}), "")
    entries = [entry("a", "A"), entry("b", "B"), entry("c", "C", charged=0)]
    assert judging.within_limits([partner], entries).broken == 0
    assert judging.within_limits([partner], [*entries, entry("d", "D")]).broken == 1


def test_a_rate_that_is_exceeded_is_found() -> None:
    limits = FAR._replace(rate=10, burst=3)
    assert judging.keeps_to_rate([0, 0, 0, 100_000, 200_000], limits)
    assert not judging.keeps_to_rate([0, 0, 0, 99_999], limits)


@pytest.mark.parametrize(("status", "broken"), [(200, 0), (503, 0), (429, 1), (500, 1)])
def test_a_refusal_for_our_own_fault_is_found(status: int, broken: int) -> None:
    told = ledger(a=answered_call("A", status))
    assert judging.rightly_told(told, [PARTNER]).broken == broken


@pytest.mark.parametrize(("broken", "code"), [(0, 0), (1, 1)])
def test_the_command_ends_with_1_where_an_invariant_is_broken(
    broken: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = Finding("I3", "no entry is there twice", 7, broken, ["x"] * broken)

    async def play(_: Path, plan: Plan) -> Outcome:
        return Outcome(plan, 1.0, {0: 1, 200: 6}, [], {"k": "why"}, [finding])

    monkeypatch.setattr(chaos, "play", play)
    file = tmp_path / "chaos.json"
    command = ["chaos", "--seed", "7", "--json", str(file)]
    assert CliRunner().invoke(app, command).exit_code == code
    told = json.loads(file.read_text("utf-8"))
    assert (told["seed"], told["minutes"], told["holds"]) == (7, 2, not broken)
    assert (told["answers"], told["unanswered"]) == ({"200": 6}, 1)
    assert told["not_run"] == {"k": "why"}


def test_faults_are_chosen_by_their_names_and_number() -> None:
    plan = Plan.asked(7, None, 3, ["FLUSHALL", "kill -9 of a worker"])
    assert [one.name for one in plan.faults] == ["kill -9 of a worker", "FLUSHALL"]
    assert (plan.minutes, plan.times) == (None, 3)
    assert plan.about_minutes > 0


@pytest.mark.parametrize(
    "wrong", [["--only", "FLUSH"], ["--minutes", "1", "--times", "1"]]
)
def test_what_cannot_be_planned_is_told_before_anything_starts(
    wrong: list[str],
) -> None:
    told = CliRunner().invoke(app, ["chaos", *wrong])
    assert told.exit_code == 2
    assert told.stderr.startswith(
        ("--only: no such fault; there are:\n", "--times: not")
    )
