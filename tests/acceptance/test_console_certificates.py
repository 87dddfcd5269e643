"""The admin's pages of client certificates, and the pages of whom they bind."""

import asyncio
import re
from html import unescape
from typing import Final

import pytest

from tests.acceptance.admins import Admin
from tests.acceptance.browsing import Browser
from tests.acceptance.service import KNOWN_EVERYWHERE, Service
from tests.acceptance.test_console_admin import (
    EVIL,
    Elements,
    at_the_console,
    send,
)

pytestmark = [pytest.mark.acceptance]

OURS: Final = "9f" * 32
FORM: Final = {
    "fingerprint": OURS.upper(),
    "label": "core banking",
    "not_after": "2100-01-01T00:00",
}
LAST: Final = b"accepted without a certificate again"


async def bound(browser: Browser, page: str, **form: str) -> str:
    """The address of a binding that was made there, without what was done."""
    made = await send(browser, page, **(FORM | form))
    assert made.status == 303, made.body
    followed = await browser.follow(made)
    assert b"Done, and entered in the audit log" in followed.body
    return made.headers["location"].partition("?")[0]


async def test_an_institution_is_bound_and_freed_and_told_of_its_last(
    service: Service, admin: Admin
) -> None:
    institution = await admin.institution()
    browser = await at_the_console(service, admin, "127.0.52.1")
    holder = f"/console/admin/institutions/{institution}"
    assert f"{holder}/certificates".encode() in (await browser.get(holder)).body
    page = f"{holder}/certificates"
    assert b"It is bound to none" in (await browser.get(page)).body
    first = await bound(browser, page)
    alone = await browser.get(first)
    assert LAST in alone.body
    assert f"<ins>{OURS}</ins>".encode() in alone.body
    second = await bound(browser, page, fingerprint="00" * 32)
    assert LAST not in (await browser.get(first)).body
    for one in (first, second):
        ended = await browser.follow(await send(browser, f"{one}/unbinding"))
        assert b">unbound<" in ended.body
        assert b"/unbinding" not in ended.body
    told = await admin.got(f"certificates?institution={institution}")
    assert all(one["unbound_at"] is not None for one in told["certificates"])
    assert b"It is bound to none" in (await browser.get(page)).body


async def test_what_is_wrong_with_a_binding_is_told_and_what_was_typed_is_kept(
    service: Service, admin: Admin
) -> None:
    institution = await admin.institution()
    browser = await at_the_console(service, admin, "127.0.52.2")
    page = f"/console/admin/institutions/{institution}/certificates"
    wrong = {"fingerprint": "AB:CD", "not_after": "", "label": "", "reason": "x"}
    refused = await send(browser, page, **wrong)
    told = unescape(refused.body.decode())
    assert refused.status == 400
    for name in wrong:
        assert re.search(rf'name="{name}"[^>]*aria-invalid="true"', told), name
    assert 'value="AB:CD"' in told
    one = await bound(browser, page)
    again = await send(browser, page, **FORM)
    assert (again.status, b"is bound already" in again.body) == (400, True)
    no_reason = await send(browser, f"{one}/unbinding", reason="")
    assert no_reason.status == 400
    missing = await browser.get("/console/admin/certificates/2000000000")
    assert missing.status == 404


async def test_a_label_written_to_harm_is_shown_as_it_was_written(
    service: Service, admin: Admin
) -> None:
    institution = await admin.institution()
    browser = await at_the_console(service, admin, "127.0.52.3")
    page = f"/console/admin/institutions/{institution}/certificates"
    one = await bound(browser, page, label=EVIL)
    bad = await send(browser, page, fingerprint=EVIL, label=EVIL, not_after=EVIL)
    for shown in (await browser.get(page), await browser.get(one), bad):
        assert b"&lt;script&gt;alert(1)&lt;/script&gt;" in shown.body
        read = Elements()
        read.feed(shown.body.decode())
        assert not {"script", "b"} & read.tags
        assert not [name for name in read.attributes if name.startswith("on")]


async def test_a_session_without_the_certificate_that_its_institution_needs_is_nobodys(
    service: Service, admin: Admin
) -> None:
    caller = service.newcomer()
    browser = Browser(service, "127.0.52.4")
    assert (await browser.sign_in(caller.key)).status == 303
    assert (await browser.get("/console/own")).status == 200
    terms = FORM | {"not_after": "2100-01-01T00:00:00Z"}
    await admin.made("certificates", institution=caller.institution, **terms)
    await asyncio.sleep(KNOWN_EVERYWHERE)
    assert (await browser.get("/console/own")).status == 401
    assert (await browser.sign_in(caller.key)).status == 401
