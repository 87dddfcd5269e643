"""The service of the acceptance tests, and Chromium to look at it."""

import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright

from tests.acceptance.conftest import service

__all__ = ("service",)


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The system's Chromium, as Debian packages it; Playwright's own is not fetched."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("there is no Chromium here (Debian: apt-get install chromium)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program,
            # Chromium refuses to run as root otherwise.
            args=["--no-sandbox"],
        )
        yield browser
        await browser.close()
