"""What an admin reads over HTTP: pages, single things, and what changed them."""

import pytest

from tests.acceptance.admins import Admin
from tests.acceptance.callers import KYC

pytestmark = [pytest.mark.acceptance]


async def test_a_thing_is_told_with_what_each_change_made_of_it(admin: Admin) -> None:
    caller = await admin.caller()
    pact = f"agreements/{caller.agreement}"
    created = (await admin.got(pact))["changes"]
    lowered = await admin.ask("PATCH", pact, limits={"day": 5}, reason="letter 13")
    halted = await admin.ask("PATCH", pact, status="suspended", grants=[{**KYC}])
    refused = await admin.ask("PATCH", pact, status="ended")
    assert refused.status == 400
    changes = (await admin.got(pact))["changes"]
    assert [one["became"] for one in changes[:2]] == [halted.json, lowered.json]
    assert changes[2:] == created
    assert changes[0]["became"]["limits"]["day"] == 5
    for told, answer in zip(changes, (halted, lowered), strict=False):
        entry = await admin.entry(answer)
        same = ("access_id", "at", "operation", "reference", "key", "operator")
        assert {name: told[name] for name in same} == {n: entry[n] for n in same}
    (made,) = (await admin.got(f"keys/{caller.key_id}"))["changes"]
    assert made["operation"] == "key.create"
    assert made["became"]["institution"] == caller.institution


async def test_a_token_is_revoked_by_its_own_id_too(admin: Admin) -> None:
    token = (await admin.made("staff", role="ops", name="Siti"))["token"]
    path = f"keys/{token[9:17]}"
    assert (await admin.ask("DELETE", path)).status == 204
    got = await admin.got(path)
    assert (got["institution"], got["revoked_at"] is None) == (None, False)
    assert [one["operation"] for one in got["changes"]] == ["key.revoke"]


async def test_each_look_of_an_admin_is_an_entry(admin: Admin) -> None:
    caller = await admin.caller()
    (member,) = (await admin.got("staff?limit=1"))["staff"]
    for path, operation in (
        ("institutions", "institution.read"),
        (f"institutions/{caller.institution}", "institution.read"),
        ("agreements", "agreement.read"),
        (f"agreements/{caller.agreement}", "agreement.read"),
        ("keys", "key.read"),
        (f"keys/{caller.key_id}", "key.read"),
        ("staff", "staff.read"),
        (f"staff/{member['id']}", "staff.read"),
    ):
        answer = await admin.ask("GET", path)
        assert answer.status == 200
        entry = await admin.entry(answer)
        assert (entry["operation"], entry["outcome"]) == (operation, "done")
        assert (entry["actor"], entry["reference"]) == ("admin", None)


async def test_a_list_comes_in_pages_in_a_stable_order(admin: Admin) -> None:
    caller = await admin.caller()
    second = await admin.made("keys", institution=caller.institution)
    mine = f"keys?institution={caller.institution}"
    whole = await admin.got(mine)
    assert [key["id"] for key in whole["keys"]] == [caller.key_id, second["id"]]
    assert whole["next"] is None
    first = await admin.got(f"{mine}&limit=1")
    rest = await admin.got(f"{mine}&limit=1&cursor={first['next']}")
    assert [first["keys"], rest["keys"]] == [[key] for key in whole["keys"]]
    assert rest["next"] is None
    pacts = await admin.got(f"agreements?institution={caller.institution}")
    assert [one["id"] for one in pacts["agreements"]] == [caller.agreement]
    for kind in ("institutions", "agreements", "keys", "staff"):
        seen, query = [], "limit=100"
        while query:
            page = await admin.got(f"{kind}?{query}")
            assert list(page) == [kind, "next"]
            seen += [one["id"] for one in page[kind]]
            query = page["next"] and f"limit=100&cursor={page['next']}"
        assert len(seen) == len(set(seen)) > 0
        assert kind == "keys" or seen == sorted(seen)
