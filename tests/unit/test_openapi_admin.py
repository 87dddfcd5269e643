"""The OpenAPI document says what the admin's routes read, and within which bounds."""

import json
from typing import Any

import pytest

from gateway import changes, rehearsing
from gateway.audit.inspection import MOST_A_PAGE
from gateway.edge import administration, auditing, identities
from gateway.edge.openapi import DOCUMENT
from gateway.partners import terms

OPENAPI: dict[str, Any] = json.loads(DOCUMENT)
COMPONENTS: dict[str, Any] = OPENAPI["components"]


@pytest.mark.parametrize(
    ("schema", "members"),
    [
        ("InstitutionRequest", administration.INSTITUTION_MEMBERS),
        ("AgreementRequest", administration.AGREEMENT_MEMBERS),
        ("AgreementChange", administration.CHANGE_MEMBERS),
        ("KeyRequest", administration.KEY_MEMBERS),
        ("CertificateRequest", administration.CERTIFICATE_MEMBERS),
        ("StaffRequest", administration.STAFF_MEMBERS),
        ("BindRequest", identities.MEMBERS),
        ("OnlyReason", ()),
    ],
)
def test_the_members_of_changes_are_those_that_are_read(
    schema: str, members: tuple[str, ...]
) -> None:
    told = COMPONENTS["schemas"][schema]
    assert set(told["properties"]) == {*members, "reason"}
    assert told["additionalProperties"] is False


def test_its_bounds_are_those_of_the_admins_routes() -> None:
    schemas = COMPONENTS["schemas"]
    reason = schemas["ChangeReason"]
    lengths = (reason["minLength"], reason["maxLength"])
    assert lengths == (changes.SHORTEST_REASON, changes.LONGEST_REASON)
    limits = schemas["Limits"]["properties"]
    for name in ("limits", "shadow"):
        assert schemas["AgreementChange"]["properties"][name]["properties"] == limits
    rehearsed = schemas["RehearsalRequest"]["properties"]["limits"]["properties"]
    assert rehearsed == limits
    described = OPENAPI["paths"]["/admin/rehearsals"]["post"]["description"]
    assert f"{rehearsing.MOST_CALLS:,}" in described
    most = {name: limit["maximum"] for name, limit in limits.items()}
    assert most == terms.MOST._asdict()
    similarity = schemas["Grant"]["properties"]["name_similarity"]
    assert similarity["minimum"] == terms.LOWEST_NAME_SIMILARITY
    assert similarity["default"] == terms.DEFAULT_NAME_SIMILARITY
    assert schemas["Name"]["maxLength"] == terms.LONGEST_NAME
    subject = schemas["BindRequest"]["properties"]["subject"]
    assert subject["maxLength"] == terms.LONGEST_SUBJECT
    page = COMPONENTS["parameters"]["PageLimit"]["schema"]
    assert (page["default"], page["maximum"]) == (auditing.DEFAULT_PAGE, MOST_A_PAGE)
