"""What an admin keeps over HTTP: shapes, entries, faults, roles and secrets."""

import re
from typing import Any, Final
from urllib.parse import urlencode

import asyncpg
import pytest

from gateway.partners import keys
from tests.acceptance.admins import TERMS, WHY, Admin
from tests.acceptance.callers import KYC, PLENTY
from tests.acceptance.ledger import entries
from tests.acceptance.service import LOG, Service
from tests.acceptance.serving import Gateway
from tests.acceptance.wire import Answer, Connection

pytestmark = [pytest.mark.acceptance]

INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
NIK: Final = "3171014501900001"


def pointers(answer: Answer) -> list[str]:
    assert (answer.status, answer.reason) == (400, "invalid-request"), answer.body
    return sorted(fault["pointer"] for fault in answer.json["errors"])


async def test_what_is_made_is_answered_by_its_id_and_can_be_got(admin: Admin) -> None:
    institution = (await admin.made("institutions", name=" Bank Contoh "))["id"]
    got = await admin.got(f"institutions/{institution}")
    assert INSTANT.fullmatch(got.pop("created_at"))
    assert len(got.pop("changes")) == 1
    assert got == {"id": institution, "name": "Bank Contoh"}
    made = await admin.made("agreements", **TERMS, institution=institution)
    assert list(made) == ["id"]
    got = await admin.got(f"agreements/{made['id']}")
    assert len(got.pop("changes")) == 1
    assert got == {
        "id": made["id"],
        "institution": institution,
        "from": "2025-12-31T17:00:00.000000Z",
        "to": "2100-01-01T00:00:00.000000Z",
        "status": "active",
        "grants": [
            {
                "purpose": "kyc",
                "operations": ["verify", "batch"],
                "fields": ["name", "birth_place", "birth_date", "mother_name"],
                "name_similarity": 0.9,
            }
        ],
        "limits": PLENTY,
        "shadow": None,
    }


async def test_a_key_and_a_token_are_shown_once_and_got_without_their_secret(
    admin: Admin,
) -> None:
    institution = await admin.institution()
    bounds = {"not_after": "2100-01-01T00:00:00Z", "cidrs": ["127.0.0.0/8"]}
    key = await admin.made("keys", institution=institution, **bounds)
    assert list(key) == ["id", "key"]
    # The environment is that of the token it was made with.
    assert key["key"].startswith(f"gdk_test_{key['id']}")
    got = await admin.got(f"keys/{key['id']}")
    assert INSTANT.fullmatch(got.pop("created_at"))
    assert len(got.pop("changes")) == 1
    assert got == {
        "id": key["id"],
        "institution": institution,
        "not_after": "2100-01-01T00:00:00.000000Z",
        "cidrs": ["127.0.0.0/8"],
        "revoked_at": None,
        "last_used_at": None,
    }
    member = await admin.made("staff", role="auditor", name="Wayan")
    assert list(member) == ["id", "token"]
    assert keys.parse(member["token"]) is not None
    got = await admin.got(f"staff/{member['id']}")
    assert INSTANT.fullmatch(got.pop("created_at"))
    assert len(got.pop("changes")) == 1
    assert got == {
        "id": member["id"],
        "role": "auditor",
        "name": "Wayan",
        "token_id": member["token"][9:17],
        "not_after": None,
        "revoked_at": None,
        "last_used_at": None,
    }


async def test_each_change_is_one_entry_that_carries_its_reason(
    admin: Admin, service: Service
) -> None:
    caller = await admin.caller()
    staff = (await admin.made("staff", role="ops", name="Siti"))["id"]
    made = await entries(service.auditor_dsn, "e.reference = $1", WHY)
    assert [one["operation"] for one in made[-4:]] == [
        *("institution.create", "agreement.create", "key.create", "staff.create"),
    ]
    pact = f"agreements/{caller.agreement}"
    for method, path, status, operation in (
        ("PATCH", pact, 200, "agreement.change"),
        ("DELETE", f"keys/{caller.key_id}", 204, "key.revoke"),
        ("DELETE", f"staff/{staff}", 204, "staff.revoke"),
    ):
        body = {"status": "suspended"} if method == "PATCH" else {}
        answer = await admin.ask(method, path, **body, reason=f"for {operation}")
        assert answer.status == status, answer.body
        assert (answer.body == b"") == (status == 204)
        same_reason = await entries(
            service.auditor_dsn, "e.reference = $1", f"for {operation}"
        )
        (entry,) = same_reason
        assert entry == await admin.entry(answer)
        nothing = ("institution", "purpose", "fields", "subject", "operator", "reason")
        assert {name: entry[name] for name in nothing} == dict.fromkeys(nothing)
        assert (entry["actor"], entry["outcome"]) == ("admin", "done")
        assert (entry["operation"], entry["key"]) == (operation, admin.key[9:17])
        assert (entry["address"], entry["charged"]) == ("127.0.0.1", 0)


async def test_no_answer_but_the_first_and_no_log_holds_a_secret(
    admin: Admin, service: Service
) -> None:
    caller = await admin.caller()
    token = (await admin.made("staff", role="ops", name="Siti"))["token"]
    shown = b""
    for path in (
        f"keys?institution={caller.institution}",
        f"keys/{caller.key_id}",
        "staff?limit=1000",
        f"institutions/{caller.institution}",
    ):
        shown += (await admin.ask("GET", path)).body
    assert token[9:17].encode() in shown
    said = service.gateway.log_file.read_bytes()
    assert b'"operation":"key.create"' in said
    for secret in (caller.key, token, admin.key):
        assert secret[17:].encode() not in shown + said


FAULTY: Final[list[tuple[str, str, dict[str, Any], list[str]]]] = [
    ("POST", "institutions", {}, ["/name"]),
    ("POST", "institutions", {"name": " ", "reason": "ab"}, ["/name", "/reason"]),
    ("POST", "institutions", {"name": "A", "reason": f"of {NIK}"}, ["/reason"]),
    ("POST", "institutions", {"name": f"dr. {NIK}"}, ["/name"]),
    ("POST", "institutions", {"name": "A", "colour": NIK}, ["/colour"]),
    ("POST", "agreements", {}, ["/from", "/grants", "/institution", "/limits", "/to"]),
    (
        "POST",
        "agreements",
        {
            "institution": NIK,
            "from": "2026-13-01T00:00:00Z",
            "to": NIK,
            "grants": [{**KYC, "purpose": NIK}, {**KYC, "fields": ["name", NIK]}, NIK],
            "limits": {"rate": 1, "burst": 0, "day": NIK, "month": True},
            "reason": NIK,
        },
        [
            *("/from", "/grants/0/purpose", "/grants/1/fields/1", "/grants/2"),
            *("/institution", "/limits/burst", "/limits/day", "/limits/month"),
            *("/reason", "/to"),
        ],
    ),
    ("PATCH", "agreements/1", {}, [""]),
    ("PATCH", "agreements/1", {"institution": True}, ["/institution"]),
    ("PATCH", "agreements/1", {"to": "2020-01-01T00:00:00Z"}, ["/to"]),
    ("PATCH", "agreements/1", {"status": "ended", "limits": 5}, ["/limits", "/status"]),
    ("PATCH", "agreements/1", {"shadow": NIK}, ["/shadow"]),
    ("PATCH", "agreements/1", {"shadow": {"day": 0}}, ["/shadow/day"]),
    ("PATCH", "agreements/1", {"shadow": {"week": 1}}, ["/shadow"]),
    ("POST", "keys", {}, ["/institution"]),
    (
        "POST",
        "keys",
        {"institution": 1, "not_after": "soon", "cidrs": ["10.0.0.0/8", "10.0.0.1/8"]},
        ["/cidrs/1", "/not_after"],
    ),
    ("POST", "staff", {"role": "king", "name": NIK * 20}, ["/name", "/role"]),
    ("DELETE", "keys/Ab3dE6gH", {"reason": "x", NIK: "1"}, ["?", "?reason"]),
    ("DELETE", "staff/1", {"reason": NIK}, ["?reason"]),
]


@pytest.mark.parametrize(("method", "path", "body", "wanted"), FAULTY)
async def test_all_that_is_wrong_is_told_at_once_and_never_repeated(
    admin: Admin, method: str, path: str, body: dict[str, Any], wanted: list[str]
) -> None:
    answer = await admin.ask(method, path, **body)
    assert pointers(answer) == wanted
    assert NIK.encode() not in answer.body
    entry = await admin.entry(answer)
    assert (entry["outcome"], entry["reason"]) == ("refused", "invalid-request")
    assert entry["reference"] in {WHY, None}


async def test_a_member_given_twice_is_refused_at_any_depth(admin: Admin) -> None:
    text = (
        '{"reason":"of them","name":"A","name":"B"}',
        (
            '{"reason":"of them","limits":{"day":1,"day":2},"grants":[{"purpose":"kyc",'
            '"purpose":"kyc","operations":["verify"],"fields":["name"]}],'
            '"shadow":{"day":1,"day":2}}'
        ),
    )
    wanted = (["/name"], ["/grants/0/purpose", "/limits/day", "/shadow/day"])
    targets = ("POST", "/admin/institutions"), ("PATCH", "/admin/agreements/1")
    for body, told, (method, target) in zip(text, wanted, targets, strict=True):
        answer = await admin.service.ask(
            *(method, target),
            key=admin.key,
            body=body.encode(),
            headers={"Content-Type": "application/json"},
        )
        assert pointers(answer) == told


async def test_the_reason_comes_in_the_body_or_in_the_query_and_once(
    admin: Admin, service: Service
) -> None:
    said = urlencode({"reason": "in the query"})
    answer = await service.ask(
        "POST", f"/admin/institutions?{said}", key=admin.key, json={"name": "A"}
    )
    assert answer.status == 201
    assert (await admin.entry(answer))["reference"] == "in the query"
    key = (await admin.caller()).key_id
    target = f"/admin/keys/{key}"
    sent = {"reason": "in the body"}
    both = await service.ask("DELETE", f"{target}?{said}", key=admin.key, json=sent)
    assert pointers(both) == ["?reason"]
    nowhere = await service.ask("DELETE", target, key=admin.key)
    assert pointers(nowhere) == ["/reason"]
    answer = await service.ask("DELETE", target, key=admin.key, json=sent)
    assert answer.status == 204
    assert (await admin.entry(answer))["reference"] == "in the body"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "institutions/2147483647", {}),
        ("GET", "agreements/99999999999999999999", {}),
        ("GET", "keys/Ab3dE6gH", {}),
        ("GET", "staff/01", {}),
        ("POST", "agreements", {**TERMS, "institution": 2147483647}),
        ("POST", "keys", {"institution": -1}),
        ("PATCH", "agreements/2147483647", {"status": "active"}),
        ("PATCH", "agreements/%00", {"status": "active"}),
        ("DELETE", "keys/Ab3dE6gH", {}),
        ("DELETE", "keys/Ab3dE6g%00", {}),
        ("DELETE", "staff/2147483647", {}),
    ],
)
async def test_what_is_not_there_is_404_and_an_entry(
    admin: Admin, method: str, path: str, body: dict[str, Any]
) -> None:
    answer = await admin.ask(method, path, **body)
    assert (answer.status, answer.reason) == (404, "not-found")
    entry = await admin.entry(answer)
    assert (entry["outcome"], entry["reason"]) == ("refused", "not-found")


async def test_what_is_revoked_may_be_revoked_again(admin: Admin) -> None:
    caller = await admin.caller()
    staff = (await admin.made("staff", role="admin", name="Siti"))["id"]
    for path in (f"keys/{caller.key_id}", f"staff/{staff}"):
        assert (await admin.ask("DELETE", path)).status == 204
        first = await admin.got(path)
        assert INSTANT.fullmatch(first["revoked_at"])
        again = await admin.ask("DELETE", path)
        assert again.status == 204
        assert (await admin.entry(again))["outcome"] == "done"
        after = await admin.got(path)
        newest, *older = after.pop("changes")
        assert newest["access_id"] == again.access_id
        assert older == first.pop("changes")
        assert after == first


async def test_only_admins_reach_the_routes_of_admins(
    admin: Admin, service: Service
) -> None:
    others = [service.newcomer().key, service.staff["ops"], service.staff["auditor"]]
    before = await admin.got("institutions?limit=1000")
    for text in others:
        for method in ("GET", "POST"):
            answer = await service.ask(
                *(method, "/admin/institutions"),
                key=text,
                json={"name": "Mine", "reason": WHY} if method == "POST" else None,
            )
            assert (answer.status, answer.reason) == (403, "forbidden")
            assert answer.access_id is not None
    assert await admin.got("institutions?limit=1000") == before


async def test_a_change_whose_entry_cannot_be_written_does_not_happen(
    admin: Admin, service: Service
) -> None:
    before = await admin.got("staff?limit=1000")
    superuser = await asyncpg.connect(service.log.dsn(database=LOG))
    try:
        await superuser.execute("REVOKE INSERT ON entries FROM gateway_admin")
        answer = await admin.ask("POST", "staff", role="ops", name="Siti")
    finally:
        await superuser.execute("GRANT INSERT ON entries TO gateway_admin")
        await superuser.close()
    assert (answer.status, answer.reason) == (503, "audit-unavailable")
    assert answer.access_id is None
    assert await admin.got("staff?limit=1000") == before


async def test_a_gateway_without_the_admins_dsn_keeps_no_partners(
    service: Service,
) -> None:
    settings = {**service.environment, "GATEWAY_WORKERS": "1"}
    del settings["GATEWAY_ADMIN_DSN"]
    gateway = Gateway(settings, service.folder / "keeps-nothing.log")
    try:
        await gateway.ready(1)
        async with Connection.opened(gateway.port) as connection:
            for role, status in (("admin", 404), ("auditor", 403)):
                answer = await connection.ask(
                    "GET", "/admin/institutions", key=service.staff[role]
                )
                assert answer.status == status
    finally:
        gateway.stop()
