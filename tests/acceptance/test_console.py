"""The console as a browser uses it: signing in, the auditor's pages, and who is kept out."""

import asyncio
import json
import re
from typing import Final

import pytest

from gateway.partners import keeping
from gateway.partners.keys import Environment
from tests.acceptance import questions
from tests.acceptance.browsing import Browser, entries_from
from tests.acceptance.questions import nik_of
from tests.acceptance.service import KNOWN_EVERYWHERE, Service

pytestmark = [pytest.mark.acceptance]

REASON: Final = "complaint 42"
PAGES: Final = (
    ("GET", "/console/audit"),
    ("GET", "/console/audit?reason=complaint+42"),
    ("GET", "/console/audit/person"),
    ("POST", "/console/audit/person"),
    ("GET", "/console/audit/own"),
    ("GET", "/console/audit/trends"),
    ("GET", "/console/audit/export"),
    ("GET", "/console/audit/export/file"),
    ("GET", "/console/audit/approvals"),
    ("POST", "/console/audit/approvals/1"),
    ("GET", "/console/audit/entries/01a21017-72c5-7000-8020-000000000000"),
)


async def auditor(service: Service, source: str) -> Browser:
    browser = Browser(service, source)
    answer = await browser.sign_in(service.staff["auditor"])
    assert answer.status == 303
    return browser


async def test_who_signs_in_is_known_by_a_cookie_that_scripts_do_not_see(
    service: Service,
) -> None:
    browser = Browser(service, "127.0.30.1")
    answer = await browser.sign_in(service.staff["auditor"])
    told = answer.headers["set-cookie"].lower()
    assert "httponly" in told
    assert "samesite=strict" in told
    # Without TLS, on this machine only, a browser would not keep it otherwise.
    assert "secure" not in told
    home = await browser.get("/console")
    assert (home.status, home.headers["location"]) == (303, "/console/audit")
    assert await entries_from(service, "127.0.30.1") == [("console.sign-in", "done")]


async def test_under_any_other_name_the_cookie_is_the_hosts_and_secure(
    service: Service,
) -> None:
    browser = Browser(service, "127.0.30.2", host="console.example")
    answer = await browser.sign_in(service.staff["auditor"])
    told = answer.headers["set-cookie"]
    assert told.startswith("__Host-")
    assert "; secure" in told.lower()
    assert "domain=" not in told.lower()
    assert "path=/;" in told.lower() + ";"


async def test_nobody_signs_in_with_a_wrong_token_and_each_try_is_entered(
    service: Service,
) -> None:
    browser = Browser(service, "127.0.30.3")
    answer = await browser.sign_in("gds_test_wrong")
    assert answer.status == 401
    assert b"gds_test_wrong" not in answer.body
    assert "set-cookie" not in answer.headers
    assert await entries_from(service, "127.0.30.3") == [("console.sign-in", "refused")]


async def test_sign_ins_of_one_address_are_throttled(service: Service) -> None:
    browser = Browser(service, "127.0.30.4")
    tries = [await browser.sign_in("gds_test_wrong") for _ in range(30)]
    assert {answer.status for answer in tries} == {401, 429}
    assert tries[-1].status == 429


@pytest.mark.parametrize(("number", "page"), list(enumerate(PAGES)))
async def test_a_page_is_refused_to_whoever_is_not_an_auditor_and_that_is_entered(
    service: Service, number: int, page: tuple[str, str]
) -> None:
    method, target = page
    for turn, credential in enumerate(
        (None, service.sample("bulk").key, service.staff["ops"], service.staff["admin"])
    ):
        source = f"127.0.31.{4 * number + turn}"
        browser = Browser(service, source)
        if credential is not None:
            await browser.sign_in(credential)
        ask = browser.get(target) if method == "GET" else browser.post(target, {})
        answer = await ask
        assert answer.status == (401 if credential is None else 403)
        assert (await entries_from(service, source))[-1] == ("console.page", "refused")


async def test_a_session_ends_with_its_token_within_a_second(service: Service) -> None:
    async with service.admin() as admin:
        made = await keeping.create_staff(
            admin,
            service.peppers,
            role="auditor",
            name="<script>alert(1)</script>",
            not_after=None,
            environment=Environment.TEST,
        )
    await asyncio.sleep(KNOWN_EVERYWHERE)
    browser = Browser(service, "127.0.30.5")
    await browser.sign_in(made.token.text)
    page = await browser.get("/console/audit")
    assert page.status == 200
    assert b"<script>alert" not in page.body
    assert b"&lt;script&gt;alert" in page.body
    async with service.admin() as admin:
        await keeping.revoke_staff(admin, made.id)
    await asyncio.sleep(KNOWN_EVERYWHERE)
    assert (await browser.get("/console/audit")).status == 401


async def test_who_signs_out_is_out_though_the_cookie_was_copied(
    service: Service,
) -> None:
    browser = await auditor(service, "127.0.30.6")
    copied = dict(browser.cookies)
    answer = await browser.post("/console/session/end", {"csrf": await browser.csrf()})
    assert answer.status == 303
    assert copied != browser.cookies == {}
    browser.cookies = copied
    assert (await browser.get("/console/audit")).status == 401
    assert ("console.sign-out", "done") in await entries_from(service, "127.0.30.6")


async def test_a_form_that_was_not_filled_in_on_our_page_does_nothing(
    service: Service,
) -> None:
    browser = await auditor(service, "127.0.30.7")
    form = {"nik": nik_of(service.residents[0]), "reason": REASON}
    forged = await browser.post("/console/audit/person", form)
    assert forged.status == 403
    form["csrf"] = await browser.csrf()
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    foreign = await browser.post("/console/audit/person", form, **elsewhere)
    assert foreign.status == 403
    assert (await browser.post("/console/audit/person", form)).status == 200


async def test_what_was_not_sealed_here_is_no_nik(service: Service) -> None:
    browser = await auditor(service, "127.0.30.13")
    csrf = await browser.csrf()
    for sealed in ("é", "gAAAAA", "\0"):
        form = {"csrf": csrf, "sealed": sealed, "reason": REASON}
        page = await browser.post("/console/audit/person", form)
        assert page.status == 400, sealed


async def test_an_auditor_finds_who_asked_about_a_person_and_the_proof(
    service: Service,
) -> None:
    resident = service.residents[7]
    caller = service.newcomer()
    claims = {"birth_date": "1990-01-05"}
    question = questions.verify(caller, nik_of(resident), claims)
    asked = await service.put(question)
    browser = await auditor(service, "127.0.30.8")
    form = {
        "csrf": await browser.csrf(),
        "nik": nik_of(resident),
        "reason": REASON,
    }
    page = await browser.post("/console/audit/person", form)
    assert page.status == 200
    assert str(asked.access_id).encode() in page.body
    assert nik_of(resident).encode() not in page.body
    target = f"/console/audit/entries/{asked.access_id}?reason=complaint+42"
    proof = ""
    for _ in range(100):
        proof = (await browser.get(target)).body.decode()
        if 'id="receipt"' in proof:
            break
        await asyncio.sleep(0.1)
    found = re.search(r'id="receipt">(.*?)</script>', proof)
    assert found is not None
    receipt = json.loads(found[1])
    assert json.loads(receipt["entry"])["access_id"] == asked.access_id
    operations = [
        operation for operation, _ in await entries_from(service, "127.0.30.8")
    ]
    assert "audit.subject-search" in operations
    assert "audit.proof" in operations


async def test_an_auditor_counts_and_takes_away_the_log(service: Service) -> None:
    caller = service.newcomer()
    claims = {"birth_date": "1990-01-05"}
    await service.put(questions.verify(caller, nik_of(service.residents[8]), claims))
    browser = await auditor(service, "127.0.30.12")
    counted = await browser.get(
        "/console/audit/trends?reason=complaint+42&by=institution"
    )
    assert f"<small>{caller.institution}</small>" in counted.body.decode()
    days = await browser.get("/console/audit/trends?reason=complaint+42&by=day")
    assert b'id="trend-chart"' in days.body
    assert (await browser.get("/console/audit/trends?reason=x")).status == 400
    target = "/console/audit/export/file?format=ndjson&"
    taken = await browser.stream(f"{target}reason=complaint+42")
    assert 'filename="log.ndjson"' in taken
    assert "log-range: 0-" in taken.lower()
    assert '{"v":1,' in taken
    refused = await browser.get(f"{target}reason=x")
    assert refused.status == 400
    assert b'aria-invalid="true"' in refused.body
    entered = await entries_from(service, "127.0.30.12")
    assert ("audit.summary", "done") in entered
    assert ("audit.export", "done") in entered


async def test_a_search_without_a_reason_says_so_beside_the_field(
    service: Service,
) -> None:
    browser = await auditor(service, "127.0.30.9")
    page = await browser.get("/console/audit?reason=x")
    assert page.status == 400
    assert b'aria-invalid="true"' in page.body


async def test_pages_forbid_what_is_not_ours_and_are_kept_nowhere(
    service: Service,
) -> None:
    page = await Browser(service, "127.0.30.10").get("/console")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"
    assert b"style=" not in page.body
    assert re.search(rb"\son\w+=", page.body) is None


async def test_the_language_is_the_browsers_until_another_is_chosen(
    service: Service,
) -> None:
    browser = Browser(service, "127.0.30.11")
    assert b'<html lang="en">' in (await browser.get("/console")).body
    chosen = await browser.get("/console?lang=id")
    assert (chosen.status, chosen.headers["location"]) == (303, "/console")
    assert b'<html lang="id">' in (await browser.get("/console")).body
