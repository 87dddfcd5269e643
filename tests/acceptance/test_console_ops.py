"""The pages of ops: what they tell of a gateway under calls, live and at once."""

import asyncio
import re
from typing import Final

import asyncpg
import pytest

from gateway.console.operating import PANELS
from gateway.console.sessions import IDLE_SECONDS
from tests.acceptance import questions
from tests.acceptance.browsing import Browser, entries_from
from tests.acceptance.questions import nik_of
from tests.acceptance.service import Service

pytestmark = [pytest.mark.acceptance]

CLAIMS: Final = {"birth_date": "1890-01-05"}
PAGES: Final = ("/console/ops", "/console/ops/stream", "/console/ops/limits")


async def ops(service: Service, source: str) -> Browser:
    browser = Browser(service, source)
    assert (await browser.sign_in(service.staff["ops"])).status == 303
    return browser


async def test_ops_see_at_a_glance_what_is_asked_refused_and_well(
    service: Service,
) -> None:
    browser = await ops(service, "127.0.32.1")
    caller = service.newcomer()
    question = questions.verify(caller, nik_of(service.residents[3]), CLAIMS)
    page, looks = "", 0
    async with asyncio.timeout(60):
        # A first look shows what is known by then; the stream would bring the rest.
        while "<td>verify</td>" not in page or "In a moment" in page:
            await service.put(question)
            page = (await browser.get("/console/ops")).body.decode()
            looks += 1
    assert page.count("answers</span>") == 3
    assert "no figures just now" not in page
    for told in ("Entries sealed", "Most refused today", "Redis</span>"):
        assert told in page
    assert await entries_from(service, "127.0.32.1") == [
        ("console.sign-in", "done"),
        *([("ops.live", "done")] * looks),
    ]


async def test_what_is_live_tells_everything_and_lets_no_session_live_on(
    service: Service,
) -> None:
    browser = await ops(service, "127.0.32.2")
    hot = await asyncpg.connect(service.environment["GATEWAY_POSTGRES_DSN"])
    try:
        # Nobody has been at this screen for all but three seconds of the time.
        await hot.execute(
            "UPDATE console_sessions"
            " SET seen_at = clock_timestamp() - make_interval(secs => $1)",
            float(IDLE_SECONDS - 3),
        )
    finally:
        await hot.close()
    stream = await browser.stream("/console/ops/stream")
    assert "content-type: text/event-stream" in stream.lower()
    told = re.findall(r"^event: (\w+)", stream, re.MULTILINE)
    assert set(told) == {*PANELS, "over"}
    assert told[-1] == "over"
    assert (await browser.get("/console/ops")).status == 401


@pytest.mark.parametrize(("number", "page"), list(enumerate(PAGES)))
async def test_a_page_of_ops_is_refused_to_others_and_that_is_entered(
    service: Service, number: int, page: str
) -> None:
    others = (None, service.sample("bulk").key, service.staff["auditor"])
    for turn, credential in enumerate(others):
        source = f"127.0.33.{10 * number + turn}"
        browser = Browser(service, source)
        if credential is not None:
            await browser.sign_in(credential)
        answer = await browser.get(page)
        assert answer.status == (401 if credential is None else 403)
        assert (await entries_from(service, source))[-1] == ("console.page", "refused")


async def test_the_limits_of_all_are_listed_in_the_order_asked_for(
    service: Service,
) -> None:
    browser = await ops(service, "127.0.32.3")
    page = await browser.get("/console/ops/limits?order=used&limit=3")
    assert page.status == 200
    assert page.body.count(b"<meter") == 9
    assert (await browser.get("/console/ops/limits?order=other")).status == 400
    assert ("ops.limits", "done") in await entries_from(service, "127.0.32.3")
