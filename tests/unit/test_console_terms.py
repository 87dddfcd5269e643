"""The form of an agreement, and the telling of its history."""

from typing import Any, Final

import pytest

from gateway.console import history
from gateway.console.forms import number
from gateway.console.terms import Terms

PURPOSES: Final = ("kyc", "treatment", "pension")
KYC: Final[dict[str, Any]] = {
    "purpose": "kyc",
    "operations": ["verify", "batch"],
    "fields": ["name", "birth_date"],
    "name_similarity": 0.85,
}
AGREEMENT: Final[dict[str, Any]] = {
    "id": 4,
    "from": "2025-12-31T17:00:30.500000Z",
    "to": "2030-12-31T17:00:00.000000Z",
    "status": "active",
    "grants": [KYC],
    "limits": {"rate": 5, "burst": 5, "day": 100, "month": 1000},
    "shadow": None,
}


def form(**changed: list[str]) -> dict[str, list[str]]:
    """The agreement's, as the browser sends it back."""
    ticks = [f"kyc.{word}" for word in (*KYC["operations"], *KYC["fields"])]
    return {
        "from": ["2026-01-01T00:00"],
        "to": ["2031-01-01T00:00"],
        "tick": ticks,
        "similarity.kyc": ["0.85"],
        "similarity.pension": ["0.9"],
    } | changed


def test_a_form_that_nobody_touched_changes_nothing() -> None:
    assert Terms.typed(PURPOSES, form()).changed(AGREEMENT) == {}


@pytest.mark.parametrize(
    ("touched", "change"),
    [
        ({"to": ["2032-01-01T00:00"]}, {"to": "2032-01-01T00:00:00+07:00"}),
        ({"from": [""]}, {"from": ""}),
        ({"similarity.kyc": ["0,9"]}, {"grants": [KYC | {"name_similarity": 0.9}]}),
        ({"tick": []}, {"grants": []}),
        (
            {"tick": ["kyc.verify", "kyc.nothing", "x"]},
            {"grants": [KYC | {"operations": ["verify"], "fields": []}]},
        ),
    ],
)
def test_only_what_was_touched_is_sent(
    touched: dict[str, list[str]], change: dict[str, Any]
) -> None:
    assert Terms.typed(PURPOSES, form(**touched)).changed(AGREEMENT) == change


def test_what_is_wrong_with_a_grant_is_called_by_its_purpose() -> None:
    terms = Terms.typed(PURPOSES, form(tick=["treatment.fetch", "pension.name"]))
    faults = {
        "grants.0.fields": "none",
        "grants.1.operations": "none",
        "grants": "some",
        "limits.day": "no number",
    }
    assert list(terms.named(faults)) == [
        *("treatment: fields", "pension: operations", "grants", "limits.day")
    ]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("10 000", 10_000),
        ("10\N{NO-BREAK SPACE}000", 10_000),
        *((text, text) for text in ("10.000", "10,000", "1_000", "-1", "1e3", "٣")),
        ("9" * 19, "9" * 19),
    ],
)
def test_a_number_is_read_as_people_group_it_and_never_guessed(
    text: str, read: object
) -> None:
    assert number(text) == read


def test_a_history_tells_what_became_different() -> None:
    lowered = AGREEMENT | {"limits": AGREEMENT["limits"] | {"day": 50}}
    shadowed = lowered | {"shadow": AGREEMENT["limits"], "grants": []}
    whose: dict[str, Any] = {"reference": "letter 12", "key": "Ab3dE6gH"}
    whose |= dict.fromkeys(("operator", "proposal", "approved_by"))
    changes = [
        {"access_id": n, "at": n, "operation": f"agreement.{n}", "became": became}
        | whose
        for n, became in (("c", shadowed), ("b", lowered), ("create", AGREEMENT))
    ]
    third, second, first = history.told(shadowed | {"changes": changes})
    assert [(one.name, one.before, one.after) for one in second.differences] == [
        ("limits.day", "100", "50")
    ]
    assert [one.name for one in third.differences if one.before is None] == [
        f"shadow.{name}" for name in AGREEMENT["limits"]
    ]
    gone = {one.name: one.before for one in third.differences if one.after is None}
    assert gone == {
        "kyc: operations": "verify, batch",
        "kyc: fields": "name, birth_date",
        "kyc: name_similarity": "0.85",
    }
    assert {one.before for one in first.differences} == {None}
    # Where the list was cut off, nobody knows what was before.
    (alone,) = history.told(lowered | {"changes": changes[1:2]})
    assert alone.differences == ()
