"""An institution's own pages: its use, its accesses and nobody else's, how to ask."""

import asyncio
import os
import re
import shutil
import sys
from html import unescape
from typing import Final

import pytest

from gateway.console.own import NIK
from tests.acceptance import questions
from tests.acceptance.browsing import Browser, entries_from
from tests.acceptance.callers import Caller
from tests.acceptance.questions import nik_of
from tests.acceptance.service import Service

pytestmark = [pytest.mark.acceptance]

CLAIMS: Final = {"birth_date": "1890-01-05"}
PAGES: Final = (
    "/console/own",
    "/console/own/entries",
    "/console/own/samples",
    "/console/own/receipts/01a21017-72c5-7000-8020-000000000000",
)


async def institution(service: Service, caller: Caller, source: str) -> Browser:
    browser = Browser(service, source)
    assert (await browser.sign_in(caller.key)).status == 303
    return browser


def shown(page: bytes) -> str:
    """What stands on the page, without its markup."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page.decode())).split())


async def test_an_institution_sees_its_use_its_refusals_and_its_keys(
    service: Service,
) -> None:
    caller = await service.make_caller(
        limits={"rate": 1000, "burst": 1000, "day": 3, "month": 1000}
    )
    for n in range(5):
        await service.put(
            questions.verify(caller, nik_of(service.residents[n]), CLAIMS)
        )
    browser = await institution(service, caller, "127.0.34.1")
    home = await browser.get("/console")
    assert home.headers["location"] == "/console/own"
    told = ""
    async with asyncio.timeout(30):
        # Workers tell each other what they refused once a second.
        while "Refused today by limits 2 day: 2" not in told:
            told = shown((await browser.get("/console/own")).body)
    assert "Today 3 of 3" in told
    assert f"{caller.key_id} signed in with it in use" in told
    assert ("account", "done") in await entries_from(service, "127.0.34.1")


async def test_it_finds_its_own_accesses_with_their_receipts_and_no_others(
    service: Service,
) -> None:
    caller, other = await service.make_callers({}, {})
    mine = await service.put(
        questions.verify(caller, nik_of(service.residents[1]), CLAIMS)
    )
    theirs = await service.put(
        questions.verify(other, nik_of(service.residents[2]), CLAIMS)
    )
    browser = await institution(service, caller, "127.0.34.2")
    page = (await browser.get("/console/own/entries")).body.decode()
    assert str(mine.access_id) in page
    assert str(theirs.access_id) not in page
    refused = await browser.get("/console/own/entries?outcome=refused")
    assert str(mine.access_id).encode() not in refused.body
    own = await browser.get(f"/console/own/receipts/{mine.access_id}")
    assert own.status in {200, 202}
    foreign = await browser.get(f"/console/own/receipts/{theirs.access_id}")
    assert foreign.status == 404
    for asked in ("outcome=other", "cursor=AAAA"):
        assert (await browser.get(f"/console/own/entries?{asked}")).status == 400
    assert ("account.entries", "done") in await entries_from(service, "127.0.34.2")


async def test_pages_of_accesses_follow_each_other(
    service: Service,
) -> None:
    caller = await service.make_caller()
    asked = [
        (await service.put(questions.verify(caller, nik_of(one), CLAIMS))).access_id
        for one in service.residents[:60]
    ]
    browser = await institution(service, caller, "127.0.34.3")
    found: list[str] = []
    target = "/console/own/entries?outcome=mismatched"
    while target:
        page = (await browser.get(target)).body.decode()
        found += re.findall(r"/console/own/receipts/([0-9a-f-]+)", page)
        older = re.search(r'class="button" href="([^"]+cursor=[^"]+)"', page)
        target = unescape(older[1]) if older else ""
    assert sorted(found) == sorted(map(str, asked))


async def run(sample: str, **environment: str) -> str:
    """What a sample prints, by the program that it is for."""
    shell = sample.startswith("curl")
    program = shutil.which("sh") if shell else sys.executable
    assert program is not None
    process = await asyncio.create_subprocess_exec(
        *(program, "-c", sample),
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    return (await process.communicate())[0].decode()


async def test_its_samples_are_answered_as_they_stand(service: Service) -> None:
    caller = service.newcomer()
    browser = Browser(service, "127.0.34.4", f"localhost:{service.gateway.port}")
    await browser.sign_in(caller.key)
    page = unescape((await browser.get("/console/own/samples")).body.decode())
    samples = re.findall(r"<code>((?:curl|import).*?)</code>", page, re.DOTALL)
    assert len(samples) == 10
    if shutil.which("curl") is None:
        samples = [one for one in samples if not one.startswith("curl")]
    for sample in samples:
        told = await run(sample, GATEWAY_KEY=caller.key)
        # Nobody has that NIK, which fetch answers by a problem.
        assert "found" in told or "404" in told, told
    assert NIK.encode() not in (await browser.get("/console/own")).body


async def test_what_an_unknown_host_is_called_stands_on_no_page(
    service: Service,
) -> None:
    caller = service.newcomer()
    browser = Browser(service, "127.0.34.5", "console_evil")
    await browser.sign_in(caller.key)
    page = await browser.get("/console/own/samples")
    assert page.status == 200
    assert b"evil" not in page.body
    assert b"https://gateway.example/v1/" in page.body


@pytest.mark.parametrize(("number", "page"), list(enumerate(PAGES)))
async def test_an_own_page_is_refused_to_staff_and_strangers_and_that_is_entered(
    service: Service, number: int, page: str
) -> None:
    for turn, credential in enumerate((None, *service.staff.values())):
        source = f"127.0.35.{10 * number + turn}"
        browser = Browser(service, source)
        if credential is not None:
            await browser.sign_in(credential)
        answer = await browser.get(page)
        assert answer.status == (401 if credential is None else 403)
        assert (await entries_from(service, source))[-1] == ("console.page", "refused")
