"""Which changes of an agreement need a second admin: all that permit what was not."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.partners.agreement import Agreement, Grant, permit
from gateway.partners.widening import DAYS_A_MONTH, discloses_much, widens
from gateway.problems import AgreementInactive, NotGranted
from gateway.vocabulary import Limits
from tests.properties.test_permit_properties import (
    INSTANTS,
    agreements,
    fields,
    operations,
    purposes,
)

ABOVE = 100
KYC = Grant("kyc", 1, frozenset({"verify"}), ("name", "birth_date"), 0.9)
PACT = Agreement(1, 1, 10, 20, "active", Limits(5, 5, 50, 500), {"kyc": KYC})


@st.composite
def changes(draw: st.DrawFn) -> tuple[Agreement, Agreement]:
    """An agreement, and the same with some members of another."""
    before, other = draw(agreements()), draw(agreements())
    members = st.sampled_from(("from_at", "to_at", "status", "grants"))
    changed = {name: getattr(other, name) for name in draw(st.sets(members))}
    return before, replace(before, **changed)


questions = st.tuples(INSTANTS, purposes, operations, fields)


def permits(
    agreement: Agreement, question: tuple[int, str, frozenset[str], list[str]]
) -> bool:
    at, purpose, asked, what = question
    try:
        permit(agreement, at=at, purpose=purpose, operations=asked, fields=what)
    except (AgreementInactive, NotGranted):
        return False
    return True


@given(changes(), questions)
def test_a_change_that_one_admin_makes_permits_nothing_new(
    change: tuple[Agreement, Agreement],
    question: tuple[int, str, frozenset[str], list[str]],
) -> None:
    before, after = change
    if not widens(before, after, ABOVE) and permits(after, question):
        assert permits(before, question)


@given(agreements())
def test_what_stays_as_it_is_is_no_matter_for_two(agreement: Agreement) -> None:
    assert not widens(agreement, agreement, ABOVE)


def granting(**what: object) -> dict[str, object]:
    return {"grants": {"kyc": replace(KYC, **what)}}  # type: ignore[arg-type] # of a Grant


@pytest.mark.parametrize(
    ("change", "admins"),
    [
        ({"to_at": 21}, 2),
        ({"to_at": 19}, 1),
        ({"from_at": 9}, 2),
        ({"from_at": 11}, 1),
        ({"status": "suspended"}, 1),
        ({"limits": PACT.limits._replace(day=ABOVE)}, 1),
        ({"limits": PACT.limits._replace(day=ABOVE + 1)}, 2),
        ({"limits": PACT.limits._replace(month=ABOVE * DAYS_A_MONTH)}, 1),
        ({"limits": PACT.limits._replace(month=ABOVE * DAYS_A_MONTH + 1)}, 2),
        ({"limits": PACT.limits._replace(rate=10**6, burst=10**7)}, 1),
        ({"grants": {}}, 1),
        (granting(operations=frozenset({"verify", "batch"})), 2),
        (granting(fields=("name",)), 1),
        (granting(fields=("name", "birth_place", "birth_date")), 2),
        (granting(name_similarity=0.95), 1),
        (granting(name_similarity=0.85), 2),
        ({"grants": {"kyc": KYC, "treatment": replace(KYC, purpose="x")}}, 2),
    ],
)
def test_raising_beyond_the_bound_extending_and_granting_are_for_two(
    change: dict[str, object], admins: int
) -> None:
    after = replace(PACT, **change)  # type: ignore[arg-type] # members of an Agreement
    assert widens(PACT, after, ABOVE) is (admins == 2)


def test_what_was_suspended_is_restored_by_two_and_what_is_high_stays_so_by_one() -> (
    None
):
    suspended = replace(PACT, status="suspended")
    assert widens(suspended, PACT, ABOVE)
    high = replace(PACT, limits=Limits(5, 5, 10**6, 10**8))
    lowered = replace(high, limits=Limits(5, 5, 10**5, 10**8))
    assert not widens(high, lowered, ABOVE)


def test_a_key_for_fields_or_for_very_much_is_for_two() -> None:
    fetching = replace(
        PACT, grants={"kyc": replace(KYC, operations=frozenset({"fetch"}))}
    )
    much = replace(PACT, limits=PACT.limits._replace(day=ABOVE + 1))
    assert not discloses_much([], ABOVE)
    assert not discloses_much([PACT], ABOVE)
    assert discloses_much([PACT, fetching], ABOVE)
    assert discloses_much([much], ABOVE)
