"""The problem documents that are sent are those that the OpenAPI document describes."""

import json

import pytest

from gateway.edge import rendering
from gateway.problems import AbnormalUsage, Fault, InvalidRequest, QuotaExceeded
from tests.unit.test_openapi import validate


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
