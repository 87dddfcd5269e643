"""The four people's main tasks, from their sign-in on, each in at most ten clicks.

In both languages, on a wide screen and a telephone's, in light and dark; pictures of all
that was looked at are left in pytest's temporary folder.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Browser, expect

from tests.acceptance import questions
from tests.acceptance.questions import nik_of
from tests.acceptance.service import Service
from tests.browser.walking import SCREENS, Screen, Walker

pytestmark = [pytest.mark.acceptance]

MOST_CLICKS: Final = 10
MOST_OCTETS: Final = 250_000
# Of the page and what it loads; what the browser has kept counts nothing.
TRANSFERRED: Final = (
    "performance.getEntries().reduce((all, one) => all + (one.transferSize ?? 0), 0)"
)
CLAIMS: Final = {"birth_date": "1890-01-05"}


WIDE, NARROW = SCREENS


@pytest.fixture(params=[WIDE, pytest.param(NARROW, marks=pytest.mark.slow)], ids=str)
async def walker(
    request: pytest.FixtureRequest, chromium: Browser, service: Service, tmp_path: Path
) -> AsyncIterator[Walker]:
    screen: Screen = request.param
    async with Walker.at(chromium, service, screen, tmp_path) as walker:
        yield walker


async def test_an_auditor_finds_who_looked_at_a_resident_and_the_proof(
    service: Service, walker: Walker
) -> None:
    caller = service.newcomer()
    resident = service.residents[11]
    asked = await service.put(questions.verify(caller, nik_of(resident), CLAIMS))
    await walker.sign_in(service.staff["auditor"])
    await walker.look("entries")
    await walker.click('nav a[href="/console/audit/person"]')
    await walker.fill(nik=nik_of(resident), reason="complaint 42")
    await walker.click("main form button")
    await walker.look("person")
    assert nik_of(resident) not in await walker.page.content()
    found = f'main a[href*="{asked.access_id}"]'
    await walker.click(found)
    verdict = walker.page.locator("#verdict.good")
    for _ in range(100):
        # Until it is sealed there is no proof yet.
        if await walker.page.locator("#verdict").count():
            break
        await walker.page.wait_for_timeout(100)
        await walker.page.reload()
    await expect(verdict).to_be_visible()
    await walker.look("proof")
    assert walker.clicks <= MOST_CLICKS


async def test_an_auditor_sees_who_asks_most_and_takes_the_log_away(
    service: Service, walker: Walker
) -> None:
    await walker.sign_in(service.staff["auditor"])
    await walker.click('nav a[href="/console/audit/trends"]')
    await walker.fill(reason="yearly report")
    await walker.click("main form button")
    await expect(walker.page.locator("#trend-chart canvas")).to_be_visible()
    await walker.look("trends")
    await walker.click('nav a[href="/console/audit/export"]')
    await walker.fill(reason="yearly report")
    async with walker.page.expect_download() as taken:
        await walker.click("main form button")
    saved = await (await taken.value).path()
    first = await asyncio.to_thread(Path(saved).read_text, "utf-8")
    assert first.startswith('{"v":1,')
    await walker.look("export")
    assert walker.clicks <= MOST_CLICKS


async def test_ops_see_at_a_glance_and_live_how_it_does(
    service: Service, walker: Walker
) -> None:
    caller = service.newcomer()
    question = questions.verify(caller, nik_of(service.residents[12]), CLAIMS)
    await walker.sign_in(service.staff["ops"])
    live = walker.page.locator('section[sse-swap="calls"]')
    for _ in range(200):
        await service.put(question)
        if "verify" in await live.inner_text():
            break
        await walker.page.wait_for_timeout(50)
    # Nobody reloads it: the page was open before the calls were made.
    await expect(live).to_contain_text("verify")
    await expect(walker.page.locator("#rate canvas")).to_be_visible()
    await walker.look("now")
    await walker.click('nav a[href="/console/ops/limits"]')
    await walker.look("limits")
    assert walker.clicks <= MOST_CLICKS


async def test_an_admin_takes_on_an_institution_in_ten_clicks(
    service: Service, walker: Walker
) -> None:
    await walker.sign_in(service.staff["admin"])
    await walker.click('nav a[href="/console/admin/take-on"]')
    await walker.look("take-on")
    await walker.fill(name=f"Bank Jalan {walker.screen}", reason="letter 12")
    await walker.click("main form button")
    await walker.look("agreement")
    for word in ("verify", "name", "birth_date"):
        await walker.click(f'[name=tick][value="kyc.{word}"]')
    await walker.fill(
        to="2031-01-01T00:00",
        limits__rate="10",
        limits__burst="20",
        limits__day="1000",
        limits__month="20000",
        reason="letter 12",
    )
    await walker.click("main form button")
    await walker.look("institution")
    await walker.click('form[action$="/keys"] button')
    secret = re.search(r"gdk_test_\w+|gdk_live_\w+", await walker.page.content())
    assert secret is not None
    await walker.look("key")
    assert walker.clicks <= MOST_CLICKS
    await walker.page.reload()
    assert secret[0] not in await walker.page.content()


async def test_an_institution_sees_its_own_use_and_receipt(
    service: Service, walker: Walker
) -> None:
    caller = service.newcomer()
    question = questions.verify(caller, nik_of(service.residents[13]), CLAIMS)
    asked = await service.put(question)
    await walker.sign_in(caller.key)
    await walker.look("use")
    await walker.click('nav a[href="/console/own/samples"]')
    await walker.look("samples")
    await walker.click('nav a[href="/console/own/entries"]')
    await walker.look("own-entries")
    await walker.click(f'main a[href$="{asked.access_id}"]')
    for _ in range(100):
        if await walker.page.locator("#verdict").count():
            break
        await walker.page.wait_for_timeout(100)
        await walker.page.reload()
    await expect(walker.page.locator("#verdict.good")).to_be_visible()
    await walker.look("receipt")
    assert walker.clicks <= MOST_CLICKS


async def test_the_whole_console_is_light(service: Service, chromium: Browser) -> None:
    """Its pages, with all that they load once, in one browser."""
    context = await chromium.new_context()
    page = await context.new_page()
    octets = 0
    for key in (*service.staff.values(), service.sample("bulk").key):
        await page.goto(f"http://localhost:{service.gateway.port}/console")
        await page.fill("[name=credential]", key)
        await page.click("main form button")
        pages = await page.eval_on_selector_all("nav a", "all => all.map(a => a.href)")
        assert len(pages) > 1
        for address in pages:
            await page.goto(address)
            octets += await page.evaluate(TRANSFERRED)
        await page.click("header form button")
    await context.close()
    assert 50_000 < octets <= MOST_OCTETS
