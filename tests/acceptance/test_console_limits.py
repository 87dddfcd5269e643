"""The admin's page of limits: tried on the calls that were made before they are saved."""

import re
from typing import Any

import pytest

from tests.acceptance import questions
from tests.acceptance.admins import Admin
from tests.acceptance.browsing import Browser, entries_from, hidden
from tests.acceptance.callers import PLENTY, Caller
from tests.acceptance.questions import nik_of
from tests.acceptance.service import Service
from tests.acceptance.test_console_admin import at_the_console, send

pytestmark = [pytest.mark.acceptance]


def typed(**changed: int | str) -> dict[str, str]:
    """What the form's fields hold, of an agreement with plenty but for these."""
    limits = PLENTY | changed
    return {f"limits.{name}": str(limit) for name, limit in limits.items()}


async def the_page(browser: Browser, caller: Caller) -> tuple[str, dict[str, Any]]:
    """Its address, and what its form carries unseen."""
    target = f"/console/admin/agreements/{caller.agreement}/limits"
    page = await browser.get(target)
    return target, {name: hidden(page, name) for name in ("seen", "tried")}


async def test_limits_are_saved_once_what_they_would_have_done_was_shown(
    service: Service, admin: Admin
) -> None:
    source = "127.0.46.1"
    caller = service.newcomer()
    nik = nik_of(service.residents[4])
    question = questions.verify(caller, nik, {"birth_date": "1990-01-05"})
    for _ in range(5):
        assert (await service.put(question)).status == 200
    browser = await at_the_console(service, admin, source)
    target, carried = await the_page(browser, caller)
    # Whoever asks to save at once is shown first, and nothing is saved.
    shown = await send(browser, target, **carried, **typed(day=3), do="save")
    assert b"2 of 5 calls would have been refused" in shown.body
    assert b"Nothing is saved yet" in shown.body
    tried = {name: hidden(shown, name) for name in ("seen", "tried")}
    # Nor if they are changed after they were tried.
    shown = await send(browser, target, **tried, **typed(day=4), do="save")
    assert b"1 of 5 calls would have been refused" in shown.body
    tried = {name: hidden(shown, name) for name in ("seen", "tried")}
    no_reason = await send(
        browser, target, **tried, **typed(day=4), do="save", reason=""
    )
    assert no_reason.status == 400
    assert re.search(rb'name="reason"[^>]*aria-invalid', no_reason.body)
    assert b"1 of 5 calls" in no_reason.body
    pact = f"agreements/{caller.agreement}"
    assert (await admin.got(pact))["limits"] == PLENTY
    saved = await send(browser, target, **tried, **typed(day=4), do="save")
    assert b"Done, and entered" in (await browser.follow(saved)).body
    assert (await admin.got(pact))["limits"] == PLENTY | {"day": 4}
    entered = await entries_from(service, source)
    assert entered.count(("limits.rehearse", "done")) == 3
    assert entered.count(("agreement.change", "done")) == 1


async def test_limits_are_put_in_shadow_and_taken_out_of_it(
    service: Service, admin: Admin
) -> None:
    caller = service.newcomer()
    browser = await at_the_console(service, admin, "127.0.46.2")
    target, carried = await the_page(browser, caller)
    tried = await send(browser, target, **carried, **typed(day=9), do="try")
    carried = {name: hidden(tried, name) for name in ("seen", "tried")}
    put = await send(browser, target, **carried, **typed(day=9), do="shadow")
    await browser.follow(put)
    pact = f"agreements/{caller.agreement}"
    assert (await admin.got(pact))["shadow"] == PLENTY | {"day": 9}
    assert (await admin.got(pact))["limits"] == PLENTY
    target, carried = await the_page(browser, caller)
    ended = await send(browser, target, **carried, **typed(), do="unshadow")
    await browser.follow(ended)
    assert (await admin.got(pact))["shadow"] is None


async def test_what_is_no_limit_is_told_beside_its_field_and_cannot_be_saved(
    service: Service, admin: Admin
) -> None:
    caller = service.newcomer()
    browser = await at_the_console(service, admin, "127.0.46.3")
    target, carried = await the_page(browser, caller)
    wrong = typed(day="many", rate="", burst="0")
    page = await send(browser, target, **carried, **wrong, do="try")
    assert page.status == 400
    for name in ("limits.rate", "limits.burst", "limits.day"):
        pattern = rf'name="{name}"[^>]*aria-invalid="true"'
        assert re.search(pattern, page.body.decode()), name
    assert b'value="many"' in page.body
    assert hidden(page, "tried") == ""
    assert b'value="save"' not in page.body
    # Also for who sends it all the same.
    forced = await send(browser, target, **carried | {"tried": "x"}, **wrong, do="save")
    assert forced.status == 400


async def test_limits_that_somebody_else_changed_meanwhile_are_not_overwritten(
    service: Service, admin: Admin
) -> None:
    caller = service.newcomer()
    browser = await at_the_console(service, admin, "127.0.46.4")
    target, carried = await the_page(browser, caller)
    tried = await send(browser, target, **carried, **typed(day=9), do="try")
    carried = {name: hidden(tried, name) for name in ("seen", "tried")}
    pact = f"agreements/{caller.agreement}"
    await admin.ask("PATCH", pact, limits={"day": 7})
    late = await send(browser, target, **carried, **typed(day=9), do="save")
    assert late.status == 409
    assert b'value="9"' in late.body
    assert (await admin.got(pact))["limits"]["day"] == 7
