"""Which changes of staff are for two admins."""

import pytest

from gateway.partners.listing import StaffRecord
from gateway.partners.proposals import JUDGED, Tried, Wish
from gateway.vocabulary import Operation

CHANGES = (Operation.STAFF_CREATE, Operation.STAFF_BIND)


@pytest.mark.parametrize("operation", CHANGES, ids=str)
@pytest.mark.parametrize(
    ("role", "needed"), [("auditor", True), ("admin", True), ("ops", False)]
)
def test_who_comes_to_residents_or_keys_is_made_and_bound_by_two(
    operation: Operation, role: str, *, needed: bool
) -> None:
    """Else one admin could bind the other to an account of their own, and be both."""
    assert operation in JUDGED
    made = StaffRecord(1, role, "Siti", "Ab3dE6gH", 1, None, 0, None, None, None)
    tried = Tried(Wish(operation, "1", {}, 2, 100_000), [], made, {})
    assert tried.needs_a_second is needed
