"""What is answered is what the OpenAPI document describes."""

import json

import pytest

from gateway.audit.entry import Entry, Place, line
from gateway.audit.sealed import Receipt
from gateway.audit.tree import Head
from gateway.edge import rendering
from gateway.problems import AbnormalUsage, Fault, InvalidRequest, QuotaExceeded
from gateway.vocabulary import Actor, Operation, Outcome, Reason
from tests.unit.test_openapi import COMPONENTS, validate


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ("QuotaExceededProblem", QuotaExceeded(("rate", "day"), 3)),
        ("QuotaExceededProblem", AbnormalUsage("one claim after another", None)),
        ("InvalidRequestProblem", InvalidRequest([Fault("/nik", "want 16 digits")])),
    ],
)
def test_a_problem_is_as_its_schema_says(
    schema: str, problem: QuotaExceeded | AbnormalUsage | InvalidRequest
) -> None:
    validate(schema, json.loads(rendering.problem(problem).content))


def test_an_entry_of_the_log_is_one_of_its_entries() -> None:
    entry = Entry(
        at=1_800_000_000_000_000,
        actor=Actor.UNIDENTIFIED,
        outcome=Outcome.REFUSED,
        address=None,
        operation=Operation.VERIFY,
        reason=Reason.UNAUTHENTICATED,
        count=12,
    )
    document = json.loads(line(entry, Place(1_800_000_000_000 << 21, 0)))
    validate("Entry", document | {"leaf_index": None})
    members = COMPONENTS["schemas"]["Entry"]["properties"]
    assert list(members) == [*document, "leaf_index"]


def test_a_receipt_of_the_log_is_one_of_its_receipts() -> None:
    head = Head(2, bytes(32), "a note")
    document = Receipt(b'{"v":1}', 0, head, [bytes(range(32))]).document
    validate("Receipt", document)
    schema = COMPONENTS["schemas"]["Receipt"]
    assert list(schema["properties"]) == list(document) == schema["required"]
