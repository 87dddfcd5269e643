"""The OpenAPI document says what the application does, and is well formed."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from litestar import Litestar
from litestar.routes import HTTPRoute
from pydantic import PostgresDsn
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from gateway.app import create_app
from gateway.audit.condition import MOST_WAITING
from gateway.audit.inspection import MOST_A_PAGE
from gateway.audit.sealed import MOST_COSIGNED, MOST_LEAVES
from gateway.audit.summary import By
from gateway.calls import Question
from gateway.edge import (
    auditing,
    exports,
    listings,
    operations,
    questions,
    rehearsals,
    strict,
    summaries,
)
from gateway.edge.openapi import DOCUMENT
from gateway.edge.rendering import problem_type
from gateway.problems import Fault
from gateway.quota.overview import Order
from gateway.settings import ARRIVAL_PATH, OidcSettings, ServeSettings
from gateway.vocabulary import RESIDENT_FIELDS, Actor, Operation, Outcome, Reason

OPENAPI: dict[str, Any] = json.loads(DOCUMENT)
COMPONENTS: dict[str, Any] = OPENAPI["components"]
HERE = "urn:gateway:openapi"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
OPERATIONS = {
    (path, method): item[method]
    for path, item in OPENAPI["paths"].items()
    for method in METHODS
    if method in item
}
NIK = "3171014501909001"
ASKED = {"nik": NIK, "purpose": "kyc"}


def validate(schema: str, instance: object) -> None:
    Draft202012Validator(
        {"$ref": f"{HERE}#/components/schemas/{schema}"},
        registry=Registry().with_resource(HERE, DRAFT202012.create_resource(OPENAPI)),
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    ).validate(instance)


def walk(node: object) -> Iterator[dict[str, Any]]:
    """Every object in the document."""
    if isinstance(node, dict):
        yield node
        for below in node.values():
            yield from walk(below)
    elif isinstance(node, list):
        for below in node:
            yield from walk(below)


def resolve(reference: str) -> Any:
    node: Any = OPENAPI
    for step in reference.removeprefix("#/").split("/"):
        node = node[step]
    return node


def parameters_of(operation: dict[str, Any]) -> list[dict[str, Any]]:
    given = operation.get("parameters", ())
    return [resolve(one["$ref"]) if "$ref" in one else one for one in given]


@pytest.fixture
def app(tmp_path: Path) -> Litestar:
    """Built, not started: nothing is connected to."""
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text(f"1:{'ab' * 32}\n", "ascii")
    nowhere = PostgresDsn("postgres://nobody@127.0.0.1:1/nothing")
    return create_app(
        ServeSettings(
            postgres_dsn=nowhere,
            registry_dsn=nowhere,
            auditor_dsn=nowhere,
            receipts_dsn=nowhere,
            redis_url="redis://127.0.0.1:1",
            pepper_file=secret,
            subject_keys_file=secret,
            signing_key_file=secret,
            log_origin="resident-data-gateway.example/test",
        ),
        # With all that there can be.
        OidcSettings(
            oidc_issuer="https://identity.example",
            oidc_client_id="gateway",
            oidc_client_secret_file=secret,
            oidc_redirect_uri=f"https://gateway.example{ARRIVAL_PATH}",
        ),
    )


def test_its_paths_and_methods_are_those_of_the_application(app: Litestar) -> None:
    served = {
        (route.path_format, method.lower())
        for route in app.routes
        if isinstance(route, HTTPRoute) and "/console" not in route.path_format
        for handler in route.route_handlers
        if not (handler.name or "").startswith("other methods of")
        for method in handler.http_methods
        # Litestar adds these by itself where no handler has the method.
        if method != "OPTIONS"
    }
    assert set(OPERATIONS) == served


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    led_to = {node["$ref"] for node in walk(OPENAPI) if "$ref" in node}
    assert all(resolve(reference) for reference in led_to)
    kept = {
        f"#/components/{kind}/{name}"
        for kind, named in COMPONENTS.items()
        if kind != "securitySchemes"
        for name in named
    }
    assert kept == led_to


def test_every_schema_is_a_json_schema() -> None:
    for schema in COMPONENTS["schemas"].values():
        Draft202012Validator.check_schema(schema)
    found = [node["schema"] for node in walk(OPENAPI) if "schema" in node]
    assert len(found) > len(OPERATIONS)
    for schema in found:
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("place", OPERATIONS, ids=" ".join)
def test_every_operation_has_what_openapi_requires(place: tuple[str, str]) -> None:
    operation = OPERATIONS[place]
    in_path = {
        parameter["name"]
        for parameter in parameters_of(operation)
        if parameter["in"] == "path" and parameter["required"]
    }
    assert in_path == {
        part[1:-1] for part in place[0].split("/") if part.startswith("{")
    }
    for status, response in operation["responses"].items():
        assert status.isdigit()
        whole = resolve(response["$ref"]) if "$ref" in response else response
        assert whole["description"]
    for required in operation["security"]:
        assert required.keys() <= COMPONENTS["securitySchemes"].keys()


def test_operation_ids_are_given_once() -> None:
    ids = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(ids)) == len(ids)


def test_every_refusal_is_a_problem_document() -> None:
    for response in COMPONENTS["responses"].values():
        assert list(response["content"]) == ["application/problem+json"]


def test_its_words_are_those_of_the_vocabulary() -> None:
    schemas = COMPONENTS["schemas"]
    for name, kind in (
        ("Actor", Actor),
        ("Operation", Operation),
        ("Outcome", Outcome),
        ("ProblemSlug", Reason),
    ):
        assert schemas[name]["enum"] == [one.word for one in kind]
    assert schemas["Field"]["enum"] == list(RESIDENT_FIELDS)
    assert list(schemas["Claims"]["properties"]) == list(RESIDENT_FIELDS)
    types = schemas["Problem"]["properties"]["type"]["enum"]
    assert types == [problem_type(reason) for reason in Reason]


def test_its_members_and_parameters_are_those_that_are_read() -> None:
    schemas = COMPONENTS["schemas"]
    for name, members in (
        ("VerifyRequest", questions.VERIFY_MEMBERS),
        ("FetchRequest", questions.FETCH_MEMBERS),
        ("BatchRequest", questions.BATCH_MEMBERS),
        ("BatchItem", {*chain(*questions.ITEM_MEMBERS.values())}),
        ("SubjectSearch", auditing.SUBJECT_MEMBERS),
        ("RehearsalRequest", rehearsals.MEMBERS),
    ):
        assert set(schemas[name]["properties"]) == set(members)
        assert schemas[name]["additionalProperties"] is False
    for path, parameters in (
        ("/audit/entries", auditing.SEARCH_PARAMETERS),
        ("/audit/export", exports.PARAMETERS),
        ("/audit/summary", summaries.PARAMETERS),
        ("/ops/limits", operations.PARAMETERS),
        ("/admin/institutions", listings.PARAMETERS_OF_INSTITUTIONS),
        ("/admin/agreements", listings.PARAMETERS_OF_HELD),
        ("/admin/keys", listings.PARAMETERS_OF_HELD),
        ("/admin/staff", listings.PARAMETERS),
        ("/admin/proposals", listings.PARAMETERS),
    ):
        named = [one["name"] for one in parameters_of(OPERATIONS[path, "get"])]
        assert named == list(parameters)


def test_its_bounds_are_those_of_the_auditors_routes() -> None:
    parameters = COMPONENTS["parameters"]
    in_body = COMPONENTS["schemas"]["SubjectSearch"]["properties"]["reason"]
    for reason in (parameters["Reason"]["schema"], in_body):
        lengths = {"shortest": reason["minLength"], "longest": reason["maxLength"]}
        assert lengths == auditing.REASON
    limit = parameters["Limit"]["schema"]
    assert (limit["default"], limit["maximum"]) == (
        auditing.DEFAULT_PAGE,
        MOST_A_PAGE,
    )


def test_its_bounds_are_those_of_ops_and_of_the_log() -> None:
    parameters = COMPONENTS["parameters"]
    most = parameters["MostInstitutions"]["schema"]
    assert (most["default"], most["maximum"]) == (
        operations.DEFAULT_INSTITUTIONS,
        operations.MOST_INSTITUTIONS,
    )
    in_answer = COMPONENTS["schemas"]["LimitsOverview"]["properties"]["order"]["enum"]
    assert parameters["Order"]["schema"]["enum"] == in_answer == list(Order)
    assert parameters["Cosigned"]["schema"]["maximum"] == MOST_COSIGNED
    told = json.dumps(COMPONENTS["schemas"]["Journal"])
    assert f"{MOST_WAITING:,}" in told
    quantiles = COMPONENTS["schemas"]["Quantiles"]["properties"]
    assert list(quantiles) == list(operations.QUANTILES)


@pytest.mark.parametrize(
    "key",
    [
        *("", "k", "~" * 64, "~" * 65, "two words", '"k"', '"', '""', '"k', 'k"'),
        *(r'"a\"b"', r'"a\b"', r"a\b", f'"{"k" * 64}"', f'"{"k" * 65}"', "é", "k\n"),
    ],
)
def test_the_idempotency_keys_it_allows_are_those_that_are_read(key: str) -> None:
    schema = COMPONENTS["parameters"]["IdempotencyKey"]["schema"]
    faults: list[Fault] = []
    strict.read_idempotency_key([key], faults)
    allowed = re.fullmatch(schema["pattern"].strip("^$"), key)
    assert bool(allowed) == (not faults)


def test_its_choices_are_those_of_the_export_and_the_summary() -> None:
    parameters = COMPONENTS["parameters"]
    assert parameters["Format"]["schema"]["enum"] == list(exports.MEDIA_TYPES)
    exported = OPERATIONS["/audit/export", "get"]["responses"]["200"]["content"]
    sent = [kind.partition(";")[0] for kind in exports.MEDIA_TYPES.values()]
    assert list(exported) == sent
    in_answer = COMPONENTS["schemas"]["Summary"]["properties"]["by"]["enum"]
    assert parameters["By"]["schema"]["enum"] == in_answer == list(By)
    assert f"{MOST_LEAVES:,}" in OPERATIONS["/log/leaves", "get"]["description"]


@pytest.mark.parametrize(
    ("schema", "read", "body"),
    [
        ("VerifyRequest", questions.read_verify, {"claims": {"name": "SITI"}}),
        ("VerifyRequest", questions.read_verify, {"claims": {"name": "x" * 201}}),
        ("VerifyRequest", questions.read_verify, {"claims": {"name": ""}}),
        ("VerifyRequest", questions.read_verify, {"claims": {"salary": "1"}}),
        ("VerifyRequest", questions.read_verify, {"claims": {}}),
        ("VerifyRequest", questions.read_verify, {"claims": {"rt": 1}}),
        ("VerifyRequest", questions.read_verify, {"fields": ["name"]}),
        (
            "VerifyRequest",
            questions.read_verify,
            {"claims": {"birth_date": "1990-02-30"}},
        ),
        (
            "VerifyRequest",
            questions.read_verify,
            {"claims": {"birth_date": "1990-02-28"}},
        ),
        ("FetchRequest", questions.read_fetch, {"fields": ["name", "nik"]}),
        ("FetchRequest", questions.read_fetch, {"fields": ["name", "name"]}),
        ("FetchRequest", questions.read_fetch, {"fields": ["salary"]}),
        ("FetchRequest", questions.read_fetch, {"fields": []}),
        ("FetchRequest", questions.read_fetch, {"fields": ["name"], "nik": 3}),
        ("FetchRequest", questions.read_fetch, {"fields": ["name"], "nik": "1" * 17}),
        ("FetchRequest", questions.read_fetch, {"fields": ["name"], "purpose": "KYC"}),
        ("FetchRequest", questions.read_fetch, {"fields": ["name"], "operator": None}),
        ("FetchRequest", questions.read_fetch, {"fields": ["name"], "operator": ""}),
        (
            "FetchRequest",
            questions.read_fetch,
            {"fields": ["name"], "reference": "x" * 64},
        ),
        (
            "FetchRequest",
            questions.read_fetch,
            {"fields": ["name"], "reference": "x" * 65},
        ),
        (
            "FetchRequest",
            questions.read_fetch,
            {"fields": ["name"], "reference": f"no. {NIK}"},
        ),
        (
            "FetchRequest",
            questions.read_fetch,
            {"fields": ["name"], "operator": "gdk_test_Ab3dE6gH"},
        ),
    ],
)
def test_what_it_allows_in_a_body_is_what_is_read(
    schema: str, read: Callable[[bytes], Question], body: dict[str, object]
) -> None:
    body = ASKED | body
    question = read(json.dumps(body).encode())
    if question.faults:
        with pytest.raises(ValidationError):
            validate(schema, body)
    else:
        validate(schema, body)


@pytest.mark.parametrize("operation", ["verify", "fetch"])
@pytest.mark.parametrize("asked", [{"claims": {"sex": "P"}}, {"fields": ["sex"]}])
def test_the_items_of_a_batch_ask_what_the_batch_does(
    operation: str, asked: dict[str, object]
) -> None:
    item = {"id": "row-1", "nik": NIK} | asked
    body = {"operation": operation, "purpose": "kyc", "items": [item]}
    if asyncio.run(questions.read_batch(json.dumps(body).encode())).faults:
        with pytest.raises(ValidationError):
            validate("BatchRequest", body)
    else:
        validate("BatchRequest", body)


def test_whatever_reads_the_log_may_find_it_away() -> None:
    reading = {path for path, _ in OPERATIONS if path.startswith("/log/")}
    for path in reading - {"/log/key"}:
        assert "503" in OPERATIONS[path, "get"]["responses"]


def test_its_examples_are_valid() -> None:
    for node in walk(OPENAPI["paths"]):
        if "example" in node and "$ref" in node.get("schema", {}):
            validate(node["schema"]["$ref"].rpartition("/")[2], node["example"])
