"""Where a second admin is needed, nobody lets an institution do more alone."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
import pytest

from gateway.partners import keeping
from gateway.partners.keys import Environment, Kind, make
from tests.acceptance.admins import TERMS, WHY, Admin
from tests.acceptance.browsing import Browser
from tests.acceptance.callers import KYC, PLENTY, TREATMENT, Caller, make_caller
from tests.acceptance.service import KNOWN_EVERYWHERE, LOG, Service
from tests.acceptance.wire import Answer

pytestmark = [pytest.mark.acceptance]

FEW: Final = {"rate": 50, "burst": 100, "day": 1_000, "month": 20_000}
LATER: Final = {"to": "2101-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
async def careful(service: Service) -> AsyncIterator[Service]:
    """A gateway beside the usual one, over the same directory."""
    async with service.second_gateway(GATEWAY_ADMIN_FOUR_EYES="true") as gateway:
        yield replace(service, gateway=gateway)


@pytest.fixture
def first(careful: Service, admins: Iterator[Admin]) -> Admin:
    """Who asks."""
    return Admin(careful, next(admins).key)


@pytest.fixture
def second(careful: Service, admins: Iterator[Admin]) -> Admin:
    """Who approves."""
    return Admin(careful, next(admins).key)


async def caller(service: Service, **terms: Any) -> Caller:
    async with service.admin() as connection:
        wanted = {"grants": [KYC], "limits": FEW, **terms}
        return await make_caller(connection, service.peppers, **wanted)


async def proposals(admin: Admin) -> list[Any]:
    found: list[Any] = (await admin.got("proposals?limit=1000"))["proposals"]
    return found


async def of(admin: Admin, pact: str) -> list[Any]:
    """All proposals about this agreement."""
    return [one for one in await proposals(admin) if one["target"] == pact[11:]]


async def waiting(admin: Admin, pact: str = "", **asked: Any) -> Any:
    """The one proposal that asks for this, about an agreement or to make something."""
    whole = {"reason": WHY} | asked
    (found,) = [
        one
        for one in await proposals(admin)
        if one["asked"] == whole
        and one["state"] == "waiting"
        and one["target"] == (pact[11:] or None)
    ]
    return found


def held(answer: Answer, about: str = "second admin has to approve") -> None:
    assert (answer.status, answer.reason) == (403, "forbidden"), answer.body
    assert about in answer.json["detail"]


async def speak(admin: Admin, proposal: Any, verdict: str = "approval") -> Answer:
    return await admin.ask("POST", f"proposals/{proposal['id']}/{verdict}")


async def agreed(first: Admin, second: Admin, pact: str, **asked: Any) -> Any:
    """Asked for by the one, and approved by the other."""
    held(await first.ask("PATCH", pact, **asked))
    proposal = await waiting(second, pact, **asked)
    assert (await speak(second, proposal)).status == 204
    return proposal


async def shift(service: Service, statement: str, number: int) -> None:
    """What no route and no role does, such as having time pass for a proposal."""
    superuser = await asyncpg.connect(service.log.dsn(database=LOG))
    try:
        await superuser.execute(statement, number)
    finally:
        await superuser.close()


@pytest.mark.parametrize(
    "asked",
    [
        {"grants": [{**KYC, "fields": [*KYC["fields"], "address"]}]},
        {"grants": [KYC, TREATMENT]},
        LATER,
        {"limits": {"day": 100_001}},
    ],
    ids=["a field", "a purpose", "a later end", "a limit"],
)
async def test_what_lets_an_institution_do_more_waits_for_a_second_admin(
    first: Admin, second: Admin, asked: dict[str, Any]
) -> None:
    pact = f"agreements/{(await caller(first.service)).agreement}"
    before = await first.got(pact)
    refused = await first.ask("PATCH", pact, **asked)
    held(refused)
    entry = await first.entry(refused)
    assert (entry["operation"], entry["outcome"]) == ("agreement.change", "refused")
    assert entry["reference"] == WHY
    assert await first.got(pact) == before
    proposal = await waiting(second, pact, **asked)
    told = {name: what for name, what in before.items() if name != "changes"}
    assert (proposal["before"], proposal["target"]) == ([told], pact[11:])
    assert proposal["after"] != told
    approved = await speak(second, proposal)
    assert approved.status == 204
    entry = await second.entry(approved)
    assert (entry["operation"], entry["outcome"]) == ("proposal.approve", "done")
    done = await first.ask("PATCH", pact, **asked)
    assert done.status == 200, done.body
    assert done.json == proposal["after"]
    (change,) = (await first.got(pact))["changes"]
    assert change["proposal"] == proposal["id"]
    assert change["approved_by"] == "Admin Uji"
    seen = await first.got(f"proposals/{proposal['id']}")
    assert seen["state"] == "done"
    assert [one["operation"] for one in seen["changes"]] == ["proposal.approve"]


async def test_what_takes_away_or_stays_below_the_bound_needs_nobody_else(
    first: Admin,
) -> None:
    held_now = await caller(first.service, grants=[KYC, TREATMENT], limits=PLENTY)
    pact = f"agreements/{held_now.agreement}"
    ends = datetime.fromisoformat((await first.got(pact))["to"])
    for asked in (
        {"grants": [{**KYC, "fields": ["name"]}]},
        {"limits": FEW},
        {"limits": {"rate": 5_000, "day": 100_000}},
        {"shadow": {"day": 10**9}},
        {"to": (ends - timedelta(days=1)).isoformat()},
        {"status": "suspended"},
    ):
        answer = await first.ask("PATCH", pact, **asked)
        assert answer.status == 200, (asked, answer.body)
    assert (await first.ask("DELETE", f"keys/{held_now.key_id}")).status == 204
    answers_yes_or_no = await caller(first.service)
    await first.made("keys", institution=answers_yes_or_no.institution)
    member = await first.made("staff", role="ops", name="Siti")
    assert (await first.ask("DELETE", f"staff/{member['id']}")).status == 204
    # To give back what was suspended is to give.
    held(await first.ask("PATCH", pact, status="active"))


async def test_a_new_agreement_is_agreed_upon_by_two(
    first: Admin, second: Admin
) -> None:
    terms = {**TERMS, "institution": await first.institution()}
    held(await first.ask("POST", "agreements", **terms))
    proposal = await waiting(second, **terms)
    assert (proposal["before"], proposal["target"]) == ([], None)
    assert "id" not in proposal["after"]
    await speak(second, proposal)
    made = await first.made("agreements", **terms)
    got = await first.got(f"agreements/{made['id']}")
    assert {name: got[name] for name in proposal["after"]} == proposal["after"]


@pytest.mark.parametrize("what", ["keys", "staff"])
async def test_a_secret_is_shown_to_the_one_who_asked_and_to_nobody_else(
    first: Admin, second: Admin, what: str
) -> None:
    asked: dict[str, Any] = {"role": "admin", "name": "Budi"}
    if what == "keys":
        discloses = await caller(first.service, grants=[TREATMENT])
        asked = {"institution": discloses.institution}
    held(await first.ask("POST", what, **asked))
    proposal = await waiting(second, **asked)
    approved = await speak(second, proposal)
    held(await second.ask("POST", what, **asked))
    made = await first.made(what, **asked)
    secret = made["key" if what == "keys" else "token"]
    seen = await second.ask("GET", f"proposals/{proposal['id']}")
    assert b"done" in seen.body
    for told in (approved.body, seen.body):
        assert secret[17:].encode() not in told
    await asyncio.sleep(KNOWN_EVERYWHERE)
    routes = {"keys": "/v1/account", "staff": "/admin/staff"}
    assert (await first.service.ask("GET", routes[what], key=secret)).status == 200


@asynccontextmanager
async def second_token(service: Service, admin: Admin) -> AsyncIterator[Admin]:
    """Another token of the same person, for a while; no route gives one."""
    async with service.admin() as connection:
        staff = await connection.fetchval(
            "SELECT staff FROM keys WHERE id = $1", admin.key[9:17]
        )
        made = await keeping._insert_key(
            connection,
            service.peppers,
            make(Kind.STAFF, Environment.TEST),
            staff=staff,
            not_after=None,
        )
    await asyncio.sleep(KNOWN_EVERYWHERE)
    try:
        yield Admin(service, made.text)
    finally:
        # Everybody else has one, as lists of staff are read.
        somebody = "INSERT INTO staff (role, name) VALUES ('admin', 'Admin Uji')"
        await shift(
            service,
            f"WITH one AS ({somebody} RETURNING id)"
            " UPDATE keys SET staff = one.id FROM one WHERE number = $1",
            made.number,
        )


async def test_two_tokens_of_one_person_are_not_two_people(
    careful: Service, first: Admin, second: Admin
) -> None:
    pact = f"agreements/{(await caller(careful)).agreement}"
    held(await first.ask("PATCH", pact, **LATER))
    (proposal,) = await of(second, pact)
    async with second_token(careful, first) as again:
        for admin in (first, again):
            held(await speak(admin, proposal), "somebody else")
        held(await first.ask("PATCH", pact, **LATER))
        assert (await speak(second, proposal)).status == 204
        # The approval is the person's, whichever token they hold.
        assert (await again.ask("PATCH", pact, **LATER)).status == 200


async def test_an_approval_is_used_once_for_just_what_was_asked_by_who_asked(
    first: Admin, second: Admin
) -> None:
    pact = f"agreements/{(await caller(first.service)).agreement}"
    asked = {"limits": {"day": 200_000}}
    await agreed(first, second, pact, **asked)
    held(await first.ask("PATCH", pact, limits={"day": 200_001}))
    held(await first.ask("PATCH", pact, **asked, reason="another letter"))
    held(await second.ask("PATCH", pact, **asked))
    assert (await first.ask("PATCH", pact, **asked)).status == 200
    assert (await first.ask("PATCH", pact, limits={"day": 1_000})).status == 200
    held(await first.ask("PATCH", pact, **asked))


async def test_what_rests_on_something_that_changed_waits_anew(
    first: Admin, second: Admin
) -> None:
    pact = f"agreements/{(await caller(first.service)).agreement}"
    await agreed(first, second, pact, **LATER)
    assert (await second.ask("PATCH", pact, limits={"day": 7})).status == 200
    held(await first.ask("PATCH", pact, **LATER), "has changed since")
    held(await first.ask("PATCH", pact, **LATER))
    anew = await of(second, pact)
    assert [one["state"] for one in anew] == ["approved", "waiting"]
    assert anew[1]["before"][0]["limits"]["day"] == 7
    assert (await speak(second, anew[1])).status == 204
    assert (await first.ask("PATCH", pact, **LATER)).status == 200


async def test_neither_a_proposal_nor_an_approval_lasts_longer_than_a_day(
    first: Admin, second: Admin
) -> None:
    pact = f"agreements/{(await caller(first.service)).agreement}"
    held(await first.ask("PATCH", pact, **LATER))
    (old,) = await of(second, pact)
    earlier = (
        "UPDATE proposals SET asked_at = asked_at - interval '1 day' WHERE id = $1"
    )
    await shift(first.service, earlier, old["id"])
    held(await speak(second, old), "waits no longer")
    assert (await second.got(f"proposals/{old['id']}"))["state"] == "over"
    approved = await agreed(first, second, pact, reason="ask anew", **LATER)
    earlier = (
        "UPDATE verdicts SET given_at = given_at - interval '1 day' WHERE proposal = $1"
    )
    await shift(first.service, earlier, approved["id"])
    assert (await second.got(f"proposals/{approved['id']}"))["state"] == "over"
    held(await first.ask("PATCH", pact, reason="ask anew", **LATER))


async def test_what_is_rejected_is_told_and_waits_with_another_reason(
    first: Admin, second: Admin
) -> None:
    pact = f"agreements/{(await caller(first.service)).agreement}"
    held(await first.ask("PATCH", pact, **LATER))
    (asked,) = await of(second, pact)
    no_reason = await second.ask(
        "POST", f"proposals/{asked['id']}/rejection", reason=""
    )
    assert no_reason.status == 400
    rejected = await speak(second, asked, "rejection")
    assert (await second.entry(rejected))["operation"] == "proposal.reject"
    held(await speak(second, asked), "waits no longer")
    held(await first.ask("PATCH", pact, **LATER), "rejected")
    seen = await first.got(f"proposals/{asked['id']}")
    assert (seen["state"], seen["verdict"]["reason"]) == ("rejected", WHY)
    held(await first.ask("PATCH", pact, **LATER, reason="letter 13"))
    anew = await waiting(first, pact, **LATER, reason="letter 13")
    # Who asked may take it back.
    assert (await speak(first, anew, "rejection")).status == 204
    assert (await first.ask("POST", "proposals/999999999/approval")).status == 404


async def at_the_console(admin: Admin, source: str) -> Browser:
    browser = Browser(admin.service, source)
    assert (await browser.sign_in(admin.key)).status == 303
    return browser


async def test_at_the_console_the_other_admin_sees_before_and_after_and_the_one_who_asked_the_key(
    first: Admin, second: Admin
) -> None:
    held_now = await caller(first.service, grants=[TREATMENT])
    one = await at_the_console(first, "127.0.46.1")
    other = await at_the_console(second, "127.0.46.2")
    form = {"csrf": await one.csrf(), "reason": WHY}
    issue = f"/console/admin/institutions/{held_now.institution}/keys"
    refused = await one.post(issue, form)
    assert refused.status == 403
    assert b"a second admin has to approve this" in refused.body
    proposal = await waiting(second, institution=held_now.institution)
    page = f"/console/admin/proposals/{proposal['id']}"
    listed = (await other.get("/console/admin/proposals")).body.decode()
    assert re.search(r"Proposals \(\d+\)</a>", listed)
    assert f'href="{page}"' in listed
    shown = (await other.get(page)).body
    assert WHY.encode() in shown
    assert b"treatment: verify, fetch, batch" in shown
    assert f"{page}/approval".encode() not in (await one.get(page)).body
    spoken = {"csrf": await other.csrf(), "reason": ""}
    assert (await other.post(f"{page}/approval", spoken)).status == 400
    approved = await other.post(f"{page}/approval", spoken | {"reason": WHY})
    assert b"Done, and entered in the audit log" in (await other.follow(approved)).body
    assert (await other.post(f"{page}/change", spoken)).status == 404
    made = await one.post(f"{page}/change", form)
    key = (await one.follow(made)).body.decode()
    assert re.search(r"gdk_test_[0-9A-Za-z]{44}", key)
    assert "approved by Admin Uji" in key
    assert b"carried out" in (await other.get(page)).body


async def test_at_the_console_an_agreement_is_shown_as_it_was_and_as_it_would_be(
    first: Admin, second: Admin
) -> None:
    pact = f"agreements/{(await caller(first.service)).agreement}"
    held(await first.ask("PATCH", pact, limits={"day": 300_000}))
    (proposal,) = await of(second, pact)
    other = await at_the_console(second, "127.0.46.3")
    page = f"/console/admin/proposals/{proposal['id']}"
    shown = (await other.get(page)).body.decode()
    assert re.findall(r'row"><code>([a-z._]+)', shown) == ["limits.day"]
    assert re.search(r"<td>1000</td>\s*<td>300000</td>", shown)
    form = {"csrf": await other.csrf(), "reason": "too much"}
    assert (await other.post(f"{page}/rejection", form)).status == 303
    one = await at_the_console(first, "127.0.46.4")
    assert "too much" in (await one.get(page)).body.decode()
    in_indonesian = await one.get(page, **{"Accept-Language": "id"})
    assert "ditolak oleh Admin Uji" in in_indonesian.body.decode()
