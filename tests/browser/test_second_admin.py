"""Two admins agree upon a key in their browsers, each in at most ten clicks."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from gateway.partners import keeping
from gateway.partners.keys import Environment
from tests.acceptance.callers import TREATMENT
from tests.acceptance.service import KNOWN_EVERYWHERE, Service
from tests.browser.walking import SCREENS, Screen, Walker

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

MOST_CLICKS = 10


@pytest.fixture(scope="module")
async def careful(service: Service) -> AsyncIterator[Service]:
    """A gateway beside the usual one, over the same directory."""
    async with service.second_gateway(GATEWAY_ADMIN_FOUR_EYES="true") as gateway:
        yield replace(service, gateway=gateway)


async def new_admin(service: Service) -> str:
    async with service.admin() as connection:
        made = await keeping.create_staff(
            connection,
            service.peppers,
            role="admin",
            name="Admin Uji",
            not_after=None,
            environment=Environment.TEST,
        )
    await asyncio.sleep(KNOWN_EVERYWHERE)
    return made.token.text


@pytest.mark.parametrize("screen", SCREENS, ids=str)
async def test_two_admins_agree_upon_a_key(
    careful: Service, chromium: Browser, tmp_path: Path, screen: Screen
) -> None:
    holder = await careful.make_caller(grants=[TREATMENT])
    asked_by, approved_by = await new_admin(careful), await new_admin(careful)
    async with (
        Walker.at(chromium, careful, screen, tmp_path) as one,
        Walker.at(chromium, careful, screen, tmp_path) as other,
    ):
        await one.sign_in(asked_by)
        await one.page.goto(
            f"{one.base}/console/admin/institutions/{holder.institution}"
        )
        await one.fill(reason="letter 12")
        await one.click('form[action$="/keys"] button')
        # Chromium tells of the 403 with which it comes.
        one.heard.clear()
        await one.look("held")
        await one.click('main a[href="/console/admin/proposals"]')
        await other.sign_in(approved_by)
        nav = 'nav a[href="/console/admin/proposals"]'
        await expect(other.page.locator(nav)).to_contain_text(re.compile(r"\(\d+\)"))
        await other.click(nav)
        await other.look("proposals")
        await other.click('main a[href*="/console/admin/proposals/"]')
        await other.look("proposal")
        await other.fill(reason="compared with letter 12")
        await other.click('button[formaction$="/approval"]')
        await other.look("approved")
        await one.click('main a[href*="/console/admin/proposals/"]')
        await one.look("to-carry-out")
        await one.click('form[action$="/change"] button')
        assert re.search(r"gdk_test_[0-9A-Za-z]{44}", await one.page.content())
        await one.look("key")
        assert max(one.clicks, other.clicks) <= MOST_CLICKS
