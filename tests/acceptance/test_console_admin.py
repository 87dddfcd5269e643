"""The admin's pages: taking on an institution, its terms, its keys, and staff."""

import asyncio
import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from itertools import product
from typing import Any, Final

import pytest
from typing_extensions import override

from gateway.console import administering
from tests.acceptance.admins import TERMS, Admin
from tests.acceptance.browsing import Browser, entries_from, hidden
from tests.acceptance.ledger import Entry, entries
from tests.acceptance.service import KNOWN_EVERYWHERE, Service
from tests.acceptance.wire import Answer

pytestmark = [pytest.mark.acceptance]

WHY: Final = "letter 12 of the ministry"
EVIL: Final = "\"><script>alert(1)</script><b onclick='x'>"
LIMITS: Final = {
    "limits.rate": "50",
    "limits.burst": "100",
    "limits.day": "10 000",
    "limits.month": "200000",
}
NUMBERED: Final = ("institution", "agreement", "certificate", "member", "proposal")
PLACES: Final = dict.fromkeys(NUMBERED, "1") | {"key": "Ab3dE6gH"}


class Elements(HTMLParser):
    """What a browser makes of a page: its elements, and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)


def walked() -> Iterator[tuple[str, str]]:
    """Every method of every page of the admin's."""
    for page in administering.ROUTES:
        for path, method in product(page.paths, page.http_methods):
            place = re.sub(r"\{(\w+):str\}", lambda found: PLACES[found[1]], path)
            yield str(method), place


async def at_the_console(service: Service, admin: Admin, source: str) -> Browser:
    browser = Browser(service, source)
    assert (await browser.sign_in(admin.key)).status == 303
    return browser


async def send(browser: Browser, target: str, **form: Any) -> Answer:
    """Fills in a form of our own page, with a reason unless one is given."""
    csrf = {"csrf": await browser.csrf()}
    return await browser.post(target, csrf | {"reason": WHY} | form)


async def test_every_page_is_refused_to_whoever_is_no_admin_and_that_is_entered(
    service: Service, admin: Admin
) -> None:
    key = (await admin.caller()).key
    staff = [
        (await admin.made("staff", role=role, name="Petugas Uji"))["token"]
        for role in ("ops", "auditor")
    ]
    await asyncio.sleep(KNOWN_EVERYWHERE)
    pages = list(walked())
    for number, credential in enumerate((None, key, *staff)):
        browser = Browser(service, f"127.0.45.{number + 1}")
        if credential is not None:
            assert (await browser.sign_in(credential)).status == 303
        for method, target in pages:
            ask = browser.get(target) if method == "GET" else browser.post(target, {})
            status = (await ask).status
            assert status == (401 if credential is None else 403), (method, target)
    for number, credential in enumerate((None, key, *staff)):
        key_id = credential and credential[9:17]
        refused = await refusals(service, f"127.0.45.{number + 1}", len(pages))
        assert {entry["key"] for entry in refused} == {key_id}
        assert sum(entry["count"] for entry in refused) == len(pages)


async def refusals(service: Service, source: str, number: int) -> list[Entry]:
    """All entries of refused pages for this address, of which many alike are one."""
    refused: list[Entry] = []
    for _ in range(100):
        found = await entries(
            service.auditor_dsn, "e.at > now() - interval '2 minutes'"
        )
        refused = [
            entry
            for entry in found
            if entry["address"] == source and entry["operation"] == "console.page"
        ]
        if sum(entry["count"] for entry in refused) >= number:
            break
        await asyncio.sleep(0.1)
    return refused


async def test_a_form_of_another_site_changes_nothing(
    service: Service, admin: Admin
) -> None:
    browser = await at_the_console(service, admin, "127.0.44.1")
    forms = [target for method, target in walked() if method == "POST"]
    assert len(forms) > 5
    for target in forms:
        forged = await browser.post(target, {"reason": WHY, "name": "Forged"})
        assert forged.status == 403, target
    many = await browser.post(forms[0], {"f": ["x"] * 3_000})
    assert many.status == 403
    listed = await browser.get("/console/admin?name=Forged")
    assert b"There is no such institution" in listed.body


async def test_an_institution_is_taken_on_and_its_key_shown_once(
    service: Service, admin: Admin
) -> None:
    source = "127.0.44.2"
    browser = await at_the_console(service, admin, source)
    made = await send(browser, "/console/admin/take-on", name="Bank Uji Terima")
    form = await browser.follow(made)
    # Why it is taken on need not be typed again.
    assert f'value="{WHY}"'.encode() in form.body
    target = made.headers["location"].partition("?")[0]
    ticks = ["kyc.verify", "kyc.name", "kyc.birth_date"]
    terms = {"from": "2026-01-01T00:00", "to": "2100-01-01T00:00", "tick": ticks}
    agreed = await send(browser, target, **LIMITS, **terms)
    institution = agreed.headers["location"].partition("?")[0]
    assert b"10\xc2\xa0000 a day" in (await browser.follow(agreed)).body
    issued = await send(browser, f"{institution}/keys", cidrs="127.0.0.0/8, ::1/128")
    assert b"gdk_test_" not in str(issued.headers).encode()
    shown = (await browser.follow(issued)).body.decode()
    (key,) = set(re.findall(r"gdk_test_[0-9A-Za-z]{44}", shown))
    again = (await browser.get(issued.headers["location"])).body.decode()
    assert key[9:17] in again
    assert key not in again
    await asyncio.sleep(KNOWN_EVERYWHERE)
    account = (await service.ask("GET", "/v1/account", key=key)).json
    assert account["institution"]["name"] == "Bank Uji Terima"
    (grant,) = account["grants"]
    assert (grant["operations"], grant["fields"]) == (
        ["verify"],
        ["name", "birth_date"],
    )
    entered = await entries_from(service, source)
    for operation in ("institution.create", "agreement.create", "key.create"):
        assert entered.count((operation, "done")) == 1


async def test_a_secret_is_shown_on_the_page_it_is_for_and_in_its_session_alone(
    service: Service, admin: Admin, admins: Iterator[Admin]
) -> None:
    caller = await admin.caller()
    browser = await at_the_console(service, admin, "127.0.44.3")
    target = f"/console/admin/institutions/{caller.institution}/keys"
    issued = await send(browser, target)
    other_page = await browser.get(f"/console/admin/keys/{caller.key_id}")
    assert b"gdk_test_" not in other_page.body
    stranger = await at_the_console(service, next(admins), "127.0.44.4")
    for name, value in browser.cookies.items():
        stranger.cookies.setdefault(name, value)
    assert len(stranger.cookies) == 2
    assert b"gdk_test_" not in (await stranger.follow(issued)).body
    assert b"gdk_test_" in (await browser.follow(issued)).body


async def test_all_faults_of_a_form_are_told_at_once_and_what_was_typed_is_kept(
    service: Service, admin: Admin
) -> None:
    institution = await admin.institution()
    browser = await at_the_console(service, admin, "127.0.44.5")
    page = await send(
        browser,
        f"/console/admin/institutions/{institution}/agreement",
        **{"limits.rate": "many", "limits.burst": "9", "limits.day": "1e3"},
        **{"from": "2031-01-01T00:00", "to": "2030-01-01T00:00", "reason": "x"},
        **{"tick": ["kyc.name", "pension.verify"], "similarity.kyc": "7"},
    )
    told = unescape(page.body.decode())
    assert page.status == 400
    for name in ("to", "limits.rate", "limits.day", "limits.month", "reason"):
        assert re.search(rf'name="{name}"[^>]*aria-invalid="true"', told), name
        assert f'id="d-{name}"' in told
    assert 'value="many"' in told
    assert 'value="2031-01-01T00:00"' in told
    assert re.search(r'value="kyc.name"[^>]* checked', told)
    assert not re.search(r'value="kyc.nik"[^>]* checked', told)
    rows = dict(re.findall(r'<th scope="row">([a-z-]+)(.*?)</th>', told))
    assert rows["kyc"].count("fault") == 2
    assert rows["pension"].count("fault") == 1
    assert "kyc: name_similarity" in told


async def test_what_was_written_to_harm_is_shown_as_it_was_written(
    service: Service, admin: Admin
) -> None:
    """Every text that an admin types and a page shows, on every page that shows it."""
    browser = await at_the_console(service, admin, "127.0.44.6")
    institution = (await admin.made("institutions", name=EVIL, reason=EVIL))["id"]
    terms = {**TERMS, "institution": institution}
    agreement = (await admin.made("agreements", **terms))["id"]
    key = (await admin.made("keys", institution=institution, reason=EVIL))["id"]
    member = (await admin.made("staff", role="admin", name=EVIL))["id"]
    await asyncio.sleep(KNOWN_EVERYWHERE)
    base = "/console/admin"
    holder, pact = (
        f"{base}/institutions/{institution}",
        f"{base}/agreements/{agreement}",
    )
    limits = dict.fromkeys((*LIMITS, "span", "seen", "tried", "do"), EVIL)
    fields = dict.fromkeys((*LIMITS, "from", "to", "similarity.kyc", "tick"), EVIL)
    key_form = dict.fromkeys(("cidrs", "not_after", "reason"), EVIL)
    pages = [
        await browser.get(f"{base}?name=%3Cscript%3E"),
        await browser.get(holder),
        await browser.get(f"{holder}/agreement"),
        await browser.get(pact),
        await browser.get(f"{pact}/status"),
        await browser.get(f"{pact}/limits"),
        await browser.get(f"{base}/keys/{key}"),
        await browser.get(f"{base}/staff/{member}"),
        await send(browser, f"{base}/take-on", name=EVIL, reason=EVIL),
        await send(browser, f"{base}/keys/{key}/revocation", reason=EVIL * 9),
        await send(browser, f"{holder}/keys", **key_form),
        await send(browser, f"{base}/staff", name=EVIL * 9, role=EVIL, reason=EVIL),
        await send(browser, f"{holder}/agreement", **fields),
        await send(browser, pact, **fields, seen=EVIL),
        await send(browser, f"{pact}/limits", **limits),
    ]
    for number, page in enumerate(pages):
        told = page.body.decode()
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in told, number
        read = Elements()
        read.feed(told)
        assert {"html", "form", "input"} <= read.tags, number
        assert not {"script", "b"} & read.tags, number
        assert not [name for name in read.attributes if name.startswith("on")], number


async def test_what_somebody_else_has_changed_meanwhile_is_not_overwritten(
    service: Service, admin: Admin
) -> None:
    caller = await admin.caller()
    pact = f"agreements/{caller.agreement}"
    browser = await at_the_console(service, admin, "127.0.44.10")
    page = await browser.get(f"/console/admin/{pact}")
    seen = {"seen": hidden(page, "seen"), "from": "2026-01-01T00:00"}
    await admin.ask("PATCH", pact, limits={"day": 7})
    form = {**seen, "to": "2099-01-01T00:00", "tick": ["kyc.verify", "kyc.name"]}
    late = await send(browser, f"/console/admin/{pact}", **form)
    assert late.status == 409
    assert b"2099-01-01T00:00" in late.body
    assert (await admin.got(pact))["to"] == "2100-01-01T00:00:00.000000Z"
    form["seen"] = hidden(late, "seen")
    saved = await send(browser, f"/console/admin/{pact}", **form)
    done = await browser.follow(saved)
    now = await admin.got(pact)
    assert now["changes"][0]["access_id"].encode() in done.body
    assert b"Done, and entered in the audit log" in done.body
    assert now["to"] == "2098-12-31T17:00:00.000000Z"
    assert now["limits"]["day"] == 7
    assert now["grants"][0]["fields"] == ["name"]


async def test_nothing_changed_is_told_and_a_date_that_was_emptied_is_not_passed_over(
    service: Service, admin: Admin
) -> None:
    # To the second, which the form does not show: saving must not shorten it.
    caller = await admin.caller(to="2100-01-01T00:00:59.5Z")
    pact = f"agreements/{caller.agreement}"
    browser = await at_the_console(service, admin, "127.0.44.11")
    page = await browser.get(f"/console/admin/{pact}")
    ticks = re.findall(r'value="([a-z.-]+_?[a-z]*)"[^>]* checked', page.body.decode())
    form = {"seen": hidden(page, "seen"), "tick": ticks, "from": "2026-01-01T00:00"}
    same = await send(browser, f"/console/admin/{pact}", **form, to="2100-01-01T07:00")
    assert same.status == 400
    assert b"nothing is given that would change" in same.body
    emptied = await send(browser, f"/console/admin/{pact}", **form, to="")
    assert emptied.status == 400
    assert b'id="d-to"' in emptied.body
    assert len((await admin.got(pact))["changes"]) == 1


async def test_an_agreement_is_suspended_restored_and_closed(
    service: Service, admin: Admin
) -> None:
    caller = await admin.caller()
    browser = await at_the_console(service, admin, "127.0.44.12")
    target = f"/console/admin/agreements/{caller.agreement}"
    halted = await send(browser, f"{target}/status", status="suspended")
    assert b"Restore" in (await browser.follow(halted)).body
    assert (await admin.got(f"agreements/{caller.agreement}"))["status"] == "suspended"
    restored = await send(browser, f"{target}/status", status="active")
    page = await browser.follow(restored)
    assert b"<del>suspended</del>" in page.body
    closed = await send(browser, f"{target}/status", status="closed")
    assert b">ended<" in (await browser.follow(closed)).body
    account = await service.ask("GET", "/v1/account", key=caller.key)
    assert account.json["agreement"]["status"] != "suspended"
    missing = await browser.get("/console/admin/agreements/2000000000")
    assert missing.status == 404


async def test_a_leaked_key_is_found_by_all_of_it_and_dead_within_a_second(
    service: Service, admin: Admin
) -> None:
    caller = await admin.caller()
    browser = await at_the_console(service, admin, "127.0.44.13")
    found = await send(browser, "/console/admin/keys", key=caller.key)
    assert found.headers["location"] == f"/console/admin/keys/{caller.key_id}"
    page = await browser.follow(found)
    assert b"Lembaga Uji" in page.body
    no_reason = await send(
        browser, f"{found.headers['location']}/revocation", reason=""
    )
    assert no_reason.status == 400
    revoked = await send(browser, f"{found.headers['location']}/revocation")
    page = await browser.follow(revoked)
    assert b"Revoke it" not in page.body
    await asyncio.sleep(KNOWN_EVERYWHERE)
    assert (await service.ask("GET", "/v1/account", key=caller.key)).status == 401
    wrong = await send(browser, "/console/admin/keys", key="short")
    assert wrong.status == 400


async def test_two_keys_live_at_once_and_a_third_is_refused(
    service: Service, admin: Admin
) -> None:
    caller = await admin.caller()
    browser = await at_the_console(service, admin, "127.0.44.14")
    target = f"/console/admin/institutions/{caller.institution}"
    assert (await send(browser, f"{target}/keys")).status == 303
    page = await browser.get(target)
    assert page.body.count(b">alive<") == 2
    assert b"Two keys are alive" in page.body
    third = await send(browser, f"{target}/keys")
    assert third.status == 400
    assert b"has 2 live keys" in third.body


async def test_a_second_institution_of_one_name_is_asked_about(
    service: Service, admin: Admin
) -> None:
    name = "Bank Kembar Uji"
    first = (await admin.made("institutions", name=name))["id"]
    browser = await at_the_console(service, admin, "127.0.44.15")
    asked = await send(browser, "/console/admin/take-on", name=name.upper())
    assert asked.status == 409
    assert f"/console/admin/institutions/{first}".encode() in asked.body
    assert name.upper().encode() in asked.body
    twin = {"name": name.upper(), "again": "yes"}
    assert (await send(browser, "/console/admin/take-on", **twin)).status == 303


async def test_an_institution_is_found_by_a_part_of_its_name_or_by_its_number(
    service: Service, admin: Admin
) -> None:
    number = (await admin.made("institutions", name="Klinik 100% Sehat_Uji"))["id"]
    browser = await at_the_console(service, admin, "127.0.44.16")
    page = await browser.get("/console/admin?name=100%25+sehat_u")
    assert page.body.count(b"/console/admin/institutions/") == 1
    assert f"institutions/{number}".encode() in page.body
    by_number = await browser.get(f"/console/admin?name={number}")
    assert by_number.headers["location"] == f"/console/admin/institutions/{number}"
    listed = await admin.got("institutions?name=SEHAT_UJI&limit=1")
    assert [one["id"] for one in listed["institutions"]] == [number]
    assert (await admin.ask("GET", "institutions?name=")).status == 400


async def test_a_member_of_staff_comes_with_a_token_shown_once_and_goes(
    service: Service, admin: Admin
) -> None:
    browser = await at_the_console(service, admin, "127.0.44.17")
    wrong = await send(browser, "/console/admin/staff", name="", role="auditor")
    assert wrong.status == 400
    made = await send(browser, "/console/admin/staff", name="Siti Uji", role="auditor")
    shown = (await browser.follow(made)).body.decode()
    (token,) = set(re.findall(r"gds_test_[0-9A-Za-z]{44}", shown))
    assert token not in (await browser.follow(made)).body.decode()
    await asyncio.sleep(KNOWN_EVERYWHERE)
    auditor = Browser(service, "127.0.44.18")
    assert (await auditor.sign_in(token)).status == 303
    ended = await send(browser, f"{made.headers['location']}/revocation")
    assert b">revoked<" in (await browser.follow(ended)).body
    gone = await admin.got(made.headers["location"].removeprefix("/console/admin/"))
    assert gone["revoked_at"] is not None
