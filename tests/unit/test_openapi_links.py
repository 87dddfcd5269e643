"""The links of the OpenAPI document lead from what is made to where it is read."""

from typing import Any

from tests.unit.test_openapi import OPENAPI, OPERATIONS, parameters_of, walk


def test_its_links_lead_to_operations_by_what_they_take() -> None:
    named = {operation["operationId"]: operation for operation in OPERATIONS.values()}
    links = [link for node in walk(OPENAPI) for link in _links(node)]
    assert len(links) > 10
    for link in links:
        taken = {one["name"] for one in parameters_of(named[link["operationId"]])}
        assert link["parameters"].keys() <= taken


def _links(node: dict[str, Any]) -> list[dict[str, Any]]:
    held = node.get("links", {})
    return [link for link in held.values() if "operationId" in link]
