"""Where a second auditor is needed, nobody searches for a person alone."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.partners import keeping
from gateway.partners.keys import Environment
from tests.acceptance.browsing import Browser, entries_from
from tests.acceptance.questions import nik_of
from tests.acceptance.service import KNOWN_EVERYWHERE, Service
from tests.acceptance.wire import Answer

pytestmark = [pytest.mark.acceptance]

REASON = "complaint 42"


@pytest.fixture(scope="module")
async def careful(service: Service) -> AsyncIterator[Service]:
    """A gateway beside the usual one, over the same log."""
    async with service.second_gateway(GATEWAY_AUDIT_FOUR_EYES="true") as gateway:
        yield replace(service, gateway=gateway)


@pytest.fixture(scope="module")
async def other_auditor(careful: Service) -> str:
    async with careful.admin() as admin:
        made = await keeping.create_staff(
            admin,
            careful.peppers,
            role="auditor",
            name="Auditor Kedua",
            not_after=None,
            environment=Environment.TEST,
        )
    await asyncio.sleep(KNOWN_EVERYWHERE)
    return made.token.text


async def search(service: Service, token: str, nik: str) -> Answer:
    body = {"nik": nik, "reason": REASON}
    return await service.ask("POST", "/audit/subject-searches", key=token, json=body)


async def signed_in(service: Service, token: str, source: str) -> Browser:
    browser = Browser(service, source)
    assert (await browser.sign_in(token)).status == 303
    return browser


async def approve_all(browser: Browser) -> int:
    """Every search that waits for somebody else than this auditor."""
    page = (await browser.get("/console/audit/approvals")).body.decode()
    waiting = re.findall(r'action="(/console/audit/approvals/\d+)"', page)
    for address in waiting:
        answer = await browser.post(address, {"csrf": await browser.csrf()})
        assert answer.status == 303
    return len(waiting)


async def test_a_search_for_a_person_waits_for_a_second_auditor(
    careful: Service, other_auditor: str
) -> None:
    nik = nik_of(careful.residents[40])
    first = await signed_in(careful, careful.staff["auditor"], "127.0.36.1")
    form = {"csrf": await first.csrf(), "nik": nik, "reason": REASON}
    refused = await first.post("/console/audit/person", form)
    assert refused.status == 403
    assert b"A second auditor has to approve" in refused.body
    assert nik.encode() not in refused.body
    # Nobody approves his own, nor is it offered.
    assert await approve_all(first) == 0
    second = await signed_in(careful, other_auditor, "127.0.36.2")
    assert REASON.encode() in (await second.get("/console/audit/approvals")).body
    assert await approve_all(second) == 1
    assert (await first.post("/console/audit/person", form)).status == 200
    over_http = await search(careful, careful.staff["auditor"], nik)
    assert over_http.status == 200
    assert ("audit.approve", "done") in await entries_from(careful, "127.0.36.2")
    # Approved twice it is not.
    assert await approve_all(second) == 0


async def test_an_approval_is_of_one_auditor_and_one_person(
    careful: Service, other_auditor: str
) -> None:
    asked, another = (nik_of(careful.residents[n]) for n in (41, 42))
    refused = await search(careful, careful.staff["auditor"], asked)
    assert refused.status == 403
    assert "second auditor" in refused.json["detail"]
    second = await signed_in(careful, other_auditor, "127.0.36.3")
    assert await approve_all(second) == 1
    assert (await search(careful, careful.staff["auditor"], asked)).status == 200
    assert (await search(careful, careful.staff["auditor"], another)).status == 403
    assert (await search(careful, other_auditor, asked)).status == 403


async def test_without_the_setting_there_is_nothing_to_approve(
    service: Service,
) -> None:
    browser = await signed_in(service, service.staff["auditor"], "127.0.36.4")
    assert b"/console/audit/approvals" not in (await browser.get("/console/audit")).body
    assert (await browser.get("/console/audit/approvals")).status == 404
