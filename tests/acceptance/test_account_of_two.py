"""Where two admins are needed, one alone binds neither an auditor nor the other admin."""

import asyncio

import pytest

from gateway.partners import keeping
from gateway.partners.keys import Environment
from tests.acceptance.admins import Admin
from tests.acceptance.browsing import Browser
from tests.acceptance.ministries import SOURCES, WHY, opening
from tests.acceptance.service import KNOWN_EVERYWHERE, Service
from tests.acceptance.wire import Answer

# The rule itself is in unit/test_proposals.py.
pytestmark = [pytest.mark.acceptance, pytest.mark.slow]


async def new_admin(service: Service) -> tuple[int, Admin]:
    async with service.admin() as connection:
        made = await keeping.create_staff(
            connection,
            service.peppers,
            role="admin",
            name="Admin Kedua",
            not_after=None,
            environment=Environment.TEST,
        )
    return made.id, Admin(service, made.token.text)


async def test_the_account_of_an_admin_waits_for_the_other_and_is_bound_at_the_console(
    service: Service,
) -> None:
    async with opening(service, GATEWAY_ADMIN_FOUR_EYES="true") as ministry:
        at = ministry.service
        (_, first), (member, second) = await new_admin(at), await new_admin(at)
        await asyncio.sleep(KNOWN_EVERYWHERE)
        browser, other = Browser(at, next(SOURCES)), Browser(at, next(SOURCES))
        for who, admin in ((browser, first), (other, second)):
            assert (await who.sign_in(admin.key)).status == 303
        page = f"/console/admin/staff/{member}"

        async def send(who: Browser, target: str, **form: str) -> Answer:
            return await who.post(target, {"csrf": await who.csrf()} | form)

        asked = {"subject": "theirs", "reason": WHY}
        held = await send(browser, f"{page}/identity", **asked)
        assert held.status == 403
        assert b"theirs" not in (await browser.get(page)).body
        stranger = Browser(at, next(SOURCES))
        assert (await ministry.sign_in(stranger, "theirs")).status == 401
        (proposal,) = [
            one
            for one in (await second.got("proposals?limit=1000"))["proposals"]
            if one["operation"] == "staff.bind"
        ]
        told = f"/console/admin/proposals/{proposal['id']}"
        seen = (await other.get(told)).body
        assert b"identity.subject" in seen
        assert b"Admin Kedua" in seen
        approved = await send(other, f"{told}/approval", reason="asked them")
        assert approved.status == 303
        bound = await browser.follow(await send(browser, f"{told}/change"))
        assert b"<code>theirs</code>" in bound.body
        assert (await ministry.sign_in(stranger, "theirs")).status == 200
