"""A browser signs in at a provider of another site, and comes back signed in."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.acceptance.ministries import bind, opening
from tests.acceptance.service import Service
from tests.browser.walking import SCREENS, Walker

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]


async def test_the_providers_redirect_ends_signed_in_and_who_is_unknown_is_told_so(
    chromium: Browser, service: Service, tmp_path: Path
) -> None:
    """To a browser 127.0.0.1 is another site than localhost, as the ministry's is."""
    async with opening(service) as ministry:
        at = ministry.service
        ministry.provider.gateway = f"http://localhost:{at.gateway.port}"
        # The first member of staff is the demo's auditor.
        await bind(at, 1, "known")
        for screen in SCREENS:
            async with Walker.at(chromium, at, screen, tmp_path) as walker:
                for subject in ("unknown", "known"):
                    ministry.provider.subject = subject
                    await walker.page.goto(f"{walker.base}/console")
                    await walker.look(f"sign-in-{subject}")
                    await walker.page.click('a[href="/console/oidc"]')
                    await walker.page.click("button")
                    if subject == "unknown":
                        told = walker.page.locator("#subject")
                        await expect(told).to_have_text("unknown")
                        # It told of the provider's missing icon, and of our 401.
                        walker.heard.clear()
                        await walker.look("not-bound")
                walker.heard.clear()
                await expect(walker.page).to_have_url(f"{walker.base}/console/audit")
                await expect(walker.page.locator("nav").first).to_be_visible()
                await walker.look("signed-in")
