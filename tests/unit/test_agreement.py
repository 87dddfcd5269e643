from dataclasses import replace

import pytest

from gateway.partners.agreement import (
    Agreement,
    Grant,
    applicable,
    fields_of,
    operations_of,
    permit,
)
from gateway.problems import AgreementInactive, NotGranted
from gateway.vocabulary import RESIDENT_FIELDS, Limits

BEGIN, END = 1_000, 2_000
KYC = Grant("kyc", 1, frozenset({"verify", "batch"}), ("name", "birth_date"), 0.9)
CARE = Grant("treatment", 2, frozenset({"fetch"}), ("name", "blood_type"), 0.9)
AGREEMENT = Agreement(
    id=7,
    institution=123,
    from_at=BEGIN,
    to_at=END,
    status="active",
    limits=Limits(50, 100, 1_000, 10_000),
    grants={"kyc": KYC, "treatment": CARE},
)


def ask(
    agreement: Agreement | None = AGREEMENT,
    *,
    at: int = BEGIN,
    purpose: str = "kyc",
    operations: tuple[str, ...] = ("verify",),
    fields: tuple[str, ...] = ("name",),
) -> Grant:
    return permit(
        agreement, at=at, purpose=purpose, operations=operations, fields=fields
    )


def test_what_is_granted_is_permitted_by_the_grant_of_that_purpose() -> None:
    assert ask(fields=("birth_date", "name")) is KYC
    assert ask(purpose="treatment", operations=("fetch",)) is CARE


@pytest.mark.parametrize("at", [BEGIN, END - 1])
def test_an_agreement_holds_from_its_first_instant_until_just_before_its_last(
    at: int,
) -> None:
    assert ask(at=at) is KYC


@pytest.mark.parametrize("at", [BEGIN - 1, END, END + 1])
def test_outside_its_dates_an_agreement_is_inactive(at: int) -> None:
    with pytest.raises(AgreementInactive):
        ask(at=at)


def test_a_suspended_agreement_is_inactive() -> None:
    with pytest.raises(AgreementInactive):
        ask(replace(AGREEMENT, status="suspended"))


def test_no_agreement_is_an_inactive_one() -> None:
    with pytest.raises(AgreementInactive):
        ask(None)


def test_inactive_answers_before_not_granted() -> None:
    with pytest.raises(AgreementInactive):
        ask(at=END, purpose="taxation")


def test_another_purpose_is_not_granted() -> None:
    with pytest.raises(NotGranted) as refusal:
        ask(purpose="taxation", operations=("fetch",), fields=("kk",))
    assert (refusal.value.what, refusal.value.fields) == ("purpose", ())


def test_an_operation_of_another_grant_is_not_granted() -> None:
    with pytest.raises(NotGranted) as refusal:
        ask(operations=("fetch",), fields=("kk",))
    assert (refusal.value.what, refusal.value.fields) == ("operation", ())


@pytest.mark.parametrize(
    ("purpose", "operations"),
    [("kyc", ("batch", "fetch")), ("treatment", ("batch", "fetch"))],
)
def test_a_batch_needs_batch_and_the_operation_it_carries(
    purpose: str, operations: tuple[str, ...]
) -> None:
    assert ask(operations=("batch", "verify")) is KYC
    with pytest.raises(NotGranted, match="operation"):
        ask(purpose=purpose, operations=operations)


def test_all_fields_outside_the_grant_are_named_in_the_order_of_the_contract() -> None:
    with pytest.raises(NotGranted) as refusal:
        ask(fields=("postal_code", "name", "blood_type", "nik"))
    assert refusal.value.what == "fields"
    assert refusal.value.fields == ("nik", "blood_type", "postal_code")


def test_a_field_of_another_grant_is_not_granted() -> None:
    with pytest.raises(NotGranted) as refusal:
        ask(fields=("blood_type",))
    assert refusal.value.fields == ("blood_type",)


def test_a_field_nobody_knows_is_refused_and_not_repeated() -> None:
    with pytest.raises(NotGranted) as refusal:
        ask(fields=("name", "no_such_field"))
    assert refusal.value.fields == ()
    assert "no_such_field" not in str(refusal.value)


def test_the_agreement_that_covers_the_instant_applies() -> None:
    last_year = replace(AGREEMENT, id=9, from_at=0, to_at=BEGIN)
    assert applicable((AGREEMENT, last_year), BEGIN) is AGREEMENT
    assert applicable((AGREEMENT, last_year), BEGIN - 1) is last_year


def test_of_several_that_cover_the_instant_the_newest_applies() -> None:
    amended = replace(AGREEMENT, id=8, from_at=BEGIN + 5)
    assert applicable((amended, AGREEMENT), BEGIN + 5) is amended
    assert applicable((amended, AGREEMENT), BEGIN + 4) is AGREEMENT


def test_suspending_an_agreement_never_brings_an_older_one_back() -> None:
    newest = replace(AGREEMENT, id=8, status="suspended")
    applies = applicable((AGREEMENT, newest), BEGIN)
    with pytest.raises(AgreementInactive):
        ask(applies)


def test_outside_all_dates_the_last_to_end_applies() -> None:
    earlier = replace(AGREEMENT, id=9, from_at=0, to_at=BEGIN)
    assert applicable((AGREEMENT, earlier), END) is AGREEMENT


def test_without_agreements_none_applies() -> None:
    assert applicable((), BEGIN) is None


def test_stored_bits_keep_their_meaning() -> None:
    assert operations_of(0b101) == {"verify", "batch"}
    assert fields_of(0b10_0101) == ("nik", "name", "sex")
    assert fields_of(2**22 - 1) == RESIDENT_FIELDS
