"""Bodies of the institutions' routes: everything wrong at once, the rest still read."""

import json
from collections.abc import Callable

import pytest

from gateway.calls import Question
from gateway.edge import questions

NIK = "3171014501909001"  # a serial that nobody has
VERIFY = {"nik": NIK, "purpose": "kyc", "claims": {"name": "SITI", "sex": "P"}}
FETCH = {"nik": NIK, "purpose": "kyc", "fields": ["sex", "name"]}
TEXTS = {"reference": "INV-7", "operator": "Budi"}


def verify(**members: object) -> Question:
    return questions.read_verify(json.dumps(VERIFY | members).encode())


def pointers(question: Question) -> list[str]:
    return [fault.pointer for fault in question.faults]


def test_a_verify_asks_for_the_fields_it_claims() -> None:
    question = verify(**TEXTS)
    assert question == Question(
        nik=NIK,
        purpose="kyc",
        fields=("name", "sex"),
        claims={"name": "SITI", "sex": "P"},
        reference="INV-7",
        operator="Budi",
    )


def test_a_fetch_asks_for_the_fields_it_lists() -> None:
    question = questions.read_fetch(json.dumps(FETCH | TEXTS).encode())
    assert question == Question(
        nik=NIK,
        purpose="kyc",
        fields=("sex", "name"),
        reference="INV-7",
        operator="Budi",
    )


def test_reference_and_operator_may_be_left_out_or_null() -> None:
    assert verify() == verify(reference=None, operator=None)
    assert not verify().faults


def test_all_faults_come_at_once() -> None:
    question = verify(
        nik="1",
        purpose="",
        claims={"shoe": 1, "sex": ""},
        reference="",
        operator=7,
        x=1,
    )
    assert sorted(pointers(question)) == [
        "/claims/sex",
        "/claims/shoe",
        "/nik",
        "/operator",
        "/purpose",
        "/reference",
        "/x",
    ]


def test_what_is_missing_is_pointed_at() -> None:
    assert pointers(questions.read_verify(b"{}")) == ["/nik", "/purpose", "/claims"]
    assert pointers(questions.read_fetch(b"{}")) == ["/nik", "/purpose", "/fields"]


def test_a_nik_that_was_read_is_known_although_the_rest_is_wrong() -> None:
    question = verify(purpose=None, claims=None)
    assert (question.nik, question.purpose, question.fields) == (NIK, None, ())
    assert pointers(question) == ["/purpose", "/claims"]


@pytest.mark.parametrize("read", [questions.read_verify, questions.read_fetch])
@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"nik":NaN}'])
def test_a_body_that_cannot_be_read_is_one_fault_of_the_whole(
    read: Callable[[bytes], Question], body: bytes
) -> None:
    question = read(body)
    assert pointers(question) == [""]
    assert question.nik is None


def test_a_verify_has_no_fields_and_a_fetch_no_claims() -> None:
    assert pointers(verify(fields=["name"])) == ["/fields"]
    body = json.dumps(FETCH | {"claims": {"name": "SITI"}}).encode()
    assert pointers(questions.read_fetch(body)) == ["/claims"]


@pytest.mark.parametrize(
    "member", ["nik", "purpose", "reference", "operator", "claims"]
)
def test_a_member_given_twice_is_a_fault_even_with_the_same_value(member: str) -> None:
    full = VERIFY | TEXTS
    twice = json.dumps({member: full[member]})[1:-1]
    body = json.dumps(full)[:-1] + f", {twice}}}"
    assert pointers(questions.read_verify(body.encode())) == [f"/{member}"]


def test_a_claim_given_twice_is_a_fault() -> None:
    body = json.dumps(VERIFY).replace('"sex": "P"', '"sex": "P", "sex": "P"')
    assert pointers(questions.read_verify(body.encode())) == ["/claims/sex"]
