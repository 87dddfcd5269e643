from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.partners.agreement import (
    STATUSES,
    Agreement,
    Grant,
    applicable,
    fields_of,
    operations_of,
    permit,
)
from gateway.problems import AgreementInactive, NotGranted
from gateway.vocabulary import GRANTABLE_OPERATIONS, RESIDENT_FIELDS, Limits

PURPOSES = ("kyc", "treatment", "pension")
INSTANTS = st.integers(0, 40)

purposes = st.sampled_from((*PURPOSES, "unheard-of"))
operations = st.frozensets(st.sampled_from((*GRANTABLE_OPERATIONS, "erase")))
fields = st.lists(st.sampled_from((*RESIDENT_FIELDS, "salary")), max_size=6)


@st.composite
def grants(draw: st.DrawFn) -> Mapping[str, Grant]:
    granted = draw(st.sets(st.sampled_from(PURPOSES)))
    return {
        purpose: Grant(
            purpose,
            PURPOSES.index(purpose) + 1,
            operations_of(draw(st.integers(1, 7))),
            fields_of(draw(st.integers(1, 2**22 - 1))),
            0.9,
        )
        for purpose in granted
    }


@st.composite
def agreements(draw: st.DrawFn) -> Agreement:
    from_at = draw(st.integers(0, 30))
    return Agreement(
        id=draw(st.integers(1, 9)),
        institution=1,
        from_at=from_at,
        to_at=from_at + draw(st.integers(1, 10)),
        status=draw(st.sampled_from(STATUSES)),
        limits=Limits(1, 1, 1, 1),
        grants=draw(grants()),
    )


class Asking(NamedTuple):
    agreement: Agreement
    at: int
    purpose: str
    operations: frozenset[str]
    fields: list[str]


@st.composite
def askings(draw: st.DrawFn) -> Asking:
    """Within the agreement but for some of its sides: each alone must refuse."""
    wild = draw(st.sets(st.sampled_from(Asking._fields), max_size=2))
    agreement = draw(agreements().filter(lambda one: bool(one.grants)))
    at, purpose = draw(INSTANTS), draw(purposes)
    if "agreement" not in wild:
        agreement = replace(agreement, status="active")
    if "at" not in wild:
        at = draw(st.integers(agreement.from_at, agreement.to_at - 1))
    if "purpose" not in wild:
        purpose = draw(st.sampled_from(sorted(agreement.grants)))
    grant = agreement.grants.get(purpose)
    asked, wanted = draw(operations), draw(fields)
    if grant is not None and "operations" not in wild:
        asked = draw(st.frozensets(st.sampled_from(sorted(grant.operations))))
    if grant is not None and "fields" not in wild:
        wanted = draw(st.lists(st.sampled_from(grant.fields), max_size=6))
    return Asking(agreement, at, purpose, asked, wanted)


@given(askings())
def test_permit_never_widens_a_grant_and_never_refuses_what_is_granted(
    asking: Asking,
) -> None:
    agreement, at, purpose, asked, wanted = asking
    grant = agreement.grants.get(purpose)
    granted = (
        agreement.status == "active"
        and agreement.from_at <= at < agreement.to_at
        and grant is not None
        and all(operation in grant.operations for operation in asked)
        and all(field in grant.fields for field in wanted)
    )
    try:
        permitted = permit(
            agreement, at=at, purpose=purpose, operations=asked, fields=wanted
        )
    except (AgreementInactive, NotGranted):
        assert not granted
    else:
        assert granted
        assert permitted is grant


@given(grants().filter(bool), st.data())
def test_a_refusal_names_just_the_known_fields_outside_in_order(
    granted: Mapping[str, Grant], data: st.DataObject
) -> None:
    grant = granted[data.draw(st.sampled_from(sorted(granted)))]
    outside = data.draw(
        st.sets(st.sampled_from((*RESIDENT_FIELDS, "salary")), min_size=1)
    ).difference(grant.fields)
    assume(outside)
    agreement = Agreement(1, 1, 0, 1, "active", Limits(1, 1, 1, 1), granted)
    asked = data.draw(st.permutations([*outside, *grant.fields]))
    with pytest.raises(NotGranted) as refusal:
        permit(agreement, at=0, purpose=grant.purpose, operations=(), fields=asked)
    known = sorted(outside - {"salary"}, key=RESIDENT_FIELDS.index)
    assert (refusal.value.what, refusal.value.fields) == ("fields", tuple(known))


@given(st.lists(agreements(), max_size=5, unique_by=lambda one: one.id), INSTANTS)
def test_nothing_is_permitted_outside_the_dates_of_every_agreement(
    held: list[Agreement], at: int
) -> None:
    chosen = applicable(held, at)
    assert (chosen is None) == (not held)
    if any(agreement.covers(at) for agreement in held):
        return
    for purpose in PURPOSES:
        with pytest.raises(AgreementInactive):
            permit(chosen, at=at, purpose=purpose, operations=(), fields=())


@given(st.lists(agreements(), max_size=5, unique_by=lambda one: one.id), INSTANTS)
def test_which_agreement_applies_does_not_hang_on_the_order_they_are_held_in(
    held: list[Agreement], at: int
) -> None:
    assert applicable(held, at) is applicable(held[::-1], at)


@given(st.integers(1, 2**22 - 1))
def test_fields_are_in_the_order_of_the_contract(bits: int) -> None:
    read = fields_of(bits)
    assert list(read) == [field for field in RESIDENT_FIELDS if field in read]
    assert len(read) == bits.bit_count()
