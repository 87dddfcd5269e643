"""A batch: many questions in one call, admitted, entered and refused as the contract says."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pytest

from tests.acceptance.callers import Caller
from tests.acceptance.ledger import of_institution
from tests.acceptance.questions import UNKNOWN_NIK, nik_of
from tests.acceptance.service import Service
from tests.acceptance.wire import Answer

pytestmark = [pytest.mark.acceptance]

UUID7: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
)
WRONG: Final = {"birth_date": "1801-01-01"}


async def batch(
    service: Service,
    caller: Caller,
    items: Sequence[object],
    *,
    operation: str = "verify",
    headers: Mapping[str, str] | None = None,
    **others: object,
) -> Answer:
    body = {"operation": operation, "purpose": "treatment", "items": items, **others}
    return await service.ask(
        "POST", "/v1/batch", key=caller.key, json=body, headers=headers
    )


def claims(service: Service, number: int, **changes: object) -> dict[str, Any]:
    resident = service.residents[number]
    true = {"birth_date": resident["birth_date"]}
    item = {"id": f"row-{number}", "nik": nik_of(resident), "claims": true}
    return item | changes


def fields(service: Service, number: int, **changes: object) -> dict[str, Any]:
    nik = nik_of(service.residents[number])
    return {"id": f"row-{number}", "nik": nik, "fields": ["name"]} | changes


async def entries_of(service: Service, caller: Caller) -> list[dict[str, Any]]:
    return list(await of_institution(service.auditor_dsn, caller.institution))


async def test_each_item_is_answered_in_order_with_an_entry_of_its_own(
    service: Service,
) -> None:
    caller = service.newcomer()
    items = [
        claims(service, 0),
        claims(service, 1, claims=WRONG),
        claims(service, 2, nik=UNKNOWN_NIK),
    ]
    answer = await batch(service, caller, items, operator="Budi")
    assert answer.status == 200
    document = answer.json
    assert list(document) == ["batch_id", "results"]
    name = document["batch_id"]
    assert UUID7.fullmatch(name)
    assert answer.access_id == name
    told = [
        {key: value for key, value in one.items() if key != "access_id"}
        for one in document["results"]
    ]
    assert told == [
        {"id": "row-0", "found": True, "matches": {"birth_date": True}},
        {"id": "row-1", "found": True, "matches": {"birth_date": False}},
        {"id": "row-2", "found": False, "matches": {}},
    ]
    by_id = {one["access_id"]: one for one in await entries_of(service, caller)}
    assert len(by_id) == 3
    outcomes = ["matched", "mismatched", "not_found"]
    for item, one, outcome in zip(items, document["results"], outcomes, strict=True):
        entry = by_id[one["access_id"]]
        assert entry["operation"] == "batch.verify"
        assert entry["reference"] == f"{name}/{item['id']}"
        assert entry["subject"] == service.subjects.reference(item["nik"]).text
        assert (entry["outcome"], entry["charged"], entry["count"]) == (outcome, 1, 1)
        assert (entry["fields"], entry["operator"]) == (["birth_date"], "Budi")
        assert entry["at"] == by_id[document["results"][0]["access_id"]]["at"]
    assert '"day";r=' in answer.headers["ratelimit"]


async def test_a_subject_not_found_by_fetch_is_a_problem_of_its_item(
    service: Service,
) -> None:
    caller = service.newcomer()
    items = [fields(service, 0), fields(service, 1, nik=UNKNOWN_NIK)]
    answer = await batch(service, caller, items, operation="fetch")
    found, missing = answer.json["results"]
    name = service.residents[0]["name"]
    assert found == {
        "id": "row-0",
        "access_id": found["access_id"],
        "resident": {"name": name},
    }
    assert missing.keys() == {"id", "access_id", "problem"}
    assert missing["problem"]["type"] == "/problems/resident-not-found"
    assert missing["problem"]["status"] == 404
    assert missing["problem"]["access_id"] == missing["access_id"]
    entries = await entries_of(service, caller)
    told = sorted((one["outcome"], one["reason"], one["charged"]) for one in entries)
    assert told == [
        ("disclosed", None, 1),
        ("not_found", "resident-not-found", 1),
    ]


async def test_every_fault_of_every_item_is_told_and_the_whole_batch_refused(
    service: Service,
) -> None:
    caller = service.newcomer()
    items = [
        claims(service, 0, nik="123"),
        claims(service, 1, id="row-0"),
        claims(service, 2, claims={"salary": "1", "birth_date": "soon"}),
        claims(service, 3, id="1234567890123456", also=1),
        7,
        fields(service, 5),
    ]
    answer = await batch(service, caller, items, unheard_of=1)
    assert (answer.status, answer.reason) == (400, "invalid-request")
    assert sorted({fault["pointer"] for fault in answer.json["errors"]}) == [
        "/items/0/nik",
        "/items/1/id",
        "/items/2/claims/birth_date",
        "/items/2/claims/salary",
        "/items/3/also",
        "/items/3/id",
        "/items/4",
        "/items/5/claims",
        "/items/5/fields",
        "/unheard_of",
    ]
    (entry,) = await entries_of(service, caller)
    assert entry["access_id"] == answer.access_id == answer.json["access_id"]
    assert (entry["subject"], entry["count"], entry["charged"]) == (None, 6, 0)
    assert (entry["outcome"], entry["reason"]) == ("refused", "invalid-request")


@pytest.mark.parametrize("count", [0, 1001])
async def test_a_batch_has_one_to_a_thousand_items(
    service: Service, count: int
) -> None:
    items = [claims(service, 0, id=f"n{n}") for n in range(count)]
    answer = await batch(service, service.newcomer(), items)
    assert answer.status == 400
    assert [fault["pointer"] for fault in answer.json["errors"]] == ["/items"]


async def test_a_thousand_items_are_answered_and_charged(service: Service) -> None:
    limits = {"rate": 1000, "burst": 1000, "day": 10_000, "month": 10_000}
    caller = await service.make_caller(limits=limits)
    number = len(service.residents)
    items = [claims(service, n % number, id=f"n{n}") for n in range(1000)]
    answer = await batch(service, caller, items)
    assert answer.status == 200
    assert [one["id"] for one in answer.json["results"]] == [
        f"n{n}" for n in range(1000)
    ]
    account = await service.ask("GET", "/v1/account", key=caller.key)
    _, day, month = account.json["limits"]
    assert (
        day["quota"] - day["remaining"] == month["quota"] - month["remaining"] == 1000
    )
    assert sum(one["charged"] for one in await entries_of(service, caller)) == 1000


async def test_more_items_than_the_burst_are_a_fault_and_cost_nothing(
    service: Service,
) -> None:
    limits = {"rate": 5, "burst": 5, "day": 100, "month": 100}
    caller = await service.make_caller(limits=limits)
    items = [claims(service, n) for n in range(6)]
    answer = await batch(service, caller, items)
    assert (answer.status, answer.reason) == (400, "invalid-request")
    assert [fault["pointer"] for fault in answer.json["errors"]] == ["/items"]
    assert (await batch(service, caller, items[:5])).status == 200


async def test_it_is_admitted_whole_or_not_at_all(service: Service) -> None:
    limits = {"rate": 100, "burst": 100, "day": 5, "month": 100}
    caller = await service.make_caller(limits=limits)
    items = [claims(service, n) for n in range(6)]
    refused = await batch(service, caller, items)
    assert (refused.status, refused.reason) == (429, "quota-exceeded")
    assert refused.json["violated-policies"] == ["day"]
    assert '"day";r=5' in refused.headers["ratelimit"]
    assert (await batch(service, caller, items[:5])).status == 200
    entries = await entries_of(service, caller)
    assert sorted((one["count"], one["charged"]) for one in entries) == [
        *[(1, 1)] * 5,
        (6, 0),
    ]


@pytest.mark.parametrize(
    ("operations", "field", "what"),
    [
        (["verify"], "birth_date", "operation"),
        (["batch", "fetch"], "birth_date", "operation"),
        (["batch", "verify"], "religion", "fields"),
    ],
)
async def test_it_needs_a_grant_of_batch_of_what_it_carries_and_of_every_field(
    service: Service, operations: list[str], field: str, what: str
) -> None:
    grants = [
        {
            "purpose": "treatment",
            "operations": operations,
            "fields": ["name", "birth_date"],
        }
    ]
    caller = await service.make_caller(grants=grants)
    items = [
        claims(service, 0),
        claims(service, 1, claims={field: "1990-01-01"}),
    ]
    answer = await batch(service, caller, items)
    assert (answer.status, answer.reason) == (403, "not-granted")
    assert answer.json["detail"] == f"outside the grant: {what}"
    (entry,) = await entries_of(service, caller)
    assert entry["access_id"] == answer.access_id
    assert (entry["subject"], entry["count"], entry["reason"]) == (
        None,
        2,
        "not-granted",
    )


async def test_a_repeated_batch_is_charged_once_and_every_entry_names_the_first(
    service: Service,
) -> None:
    caller = service.newcomer()
    items = [claims(service, n) for n in range(3)]
    key = {"Idempotency-Key": "batch-1"}
    first = await batch(service, caller, items, headers=key)
    again = await batch(service, caller, items, headers=key)
    other = await batch(service, caller, items[:2], headers=key)
    assert (first.status, again.status, other.status) == (200, 200, 422)
    by_id = {one["access_id"]: one for one in await entries_of(service, caller)}
    for one, repeated in zip(first.json["results"], again.json["results"], strict=True):
        assert by_id[one["access_id"]]["charged"] == 1
        entry = by_id[repeated["access_id"]]
        assert (entry["charged"], entry["replay_of"]) == (0, one["access_id"])


async def test_a_body_may_be_a_mebibyte_and_no_more(service: Service) -> None:
    caller = service.newcomer()
    headers = {"Content-Type": "application/json"}
    for size, status in ((1024 * 1024, 400), (1024 * 1024 + 1, 413)):
        answer = await service.ask(
            "POST", "/v1/batch", key=caller.key, body=b" " * size, headers=headers
        )
        assert answer.status == status


async def test_the_receipt_of_an_item_is_its_institutions(service: Service) -> None:
    caller = service.newcomer()
    answer = await batch(service, caller, [claims(service, 0)])
    name = answer.json["results"][0]["access_id"]
    receipt = await service.ask("GET", f"/v1/receipts/{name}", key=caller.key)
    assert receipt.status in {200, 202}
    whole = await service.ask(
        "GET", f"/v1/receipts/{answer.json['batch_id']}", key=caller.key
    )
    assert whole.status == 404
