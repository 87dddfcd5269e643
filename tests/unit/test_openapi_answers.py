"""What is answered is what the OpenAPI document describes."""

import json
import re
from pathlib import Path

import pytest

import gateway
from gateway.audit.entry import Entry, Place, line
from gateway.audit.sealed import Receipt
from gateway.audit.tree import Head
from gateway.edge import rendering
from gateway.problems import AbnormalUsage, Fault, InvalidRequest, QuotaExceeded
from gateway.quota.limit import POLICIES
from gateway.vocabulary import Actor, Operation, Outcome, Reason
from tests.unit.test_openapi import COMPONENTS, OPENAPI, OPERATIONS, resolve, validate

PRODUCT = Path(gateway.__file__).parent
DESCRIPTION = OPENAPI["info"]["description"]


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


def test_whatever_limit_refuses_is_one_of_its_policies() -> None:
    raised = re.compile(r'QuotaExceeded\(\("(\w+)",\)')
    source = "".join(file.read_text("utf-8") for file in PRODUCT.rglob("*.py"))
    alone = set(raised.findall(source))
    assert {"jobs", "address"} <= alone
    for policy in alone | set(POLICIES):
        refusal = rendering.problem(QuotaExceeded((policy,), 3))
        validate("QuotaExceededProblem", json.loads(refusal.content))


def test_the_checks_are_told_in_their_order() -> None:
    told = re.search(r"first check that fails answers: ([^.]*)", DESCRIPTION)
    assert told
    assert [int(status) for status in re.findall(r"\d+", told[1])] == [
        *(401, 403, 415, 413, 400, 403, 403),
        *(422, 409, 429, 503),
    ]


@pytest.mark.parametrize(
    "place", [one for one in OPERATIONS if "{job_id}" in one[0]], ids=" ".join
)
def test_a_job_that_is_not_there_is_told_of_with_the_limits(
    place: tuple[str, str],
) -> None:
    refusal = resolve(OPERATIONS[place]["responses"]["404"]["$ref"])
    assert {"RateLimit", "RateLimit-Policy"} < refusal["headers"].keys()


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
