"""Somebody at a screen: clicks are counted, and every page that is looked at is judged."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from axe_playwright_python.async_playwright import (  # type: ignore[import-untyped]  # it has none
    Axe,
)
from playwright.async_api import Browser, Page
from typing_extensions import override

from tests.acceptance.service import Service

_FRESH: Final = list[str]


@dataclass(frozen=True, slots=True)
class Screen:
    """How somebody looks at the console. `words` is the language of its pages."""

    words: str
    width: int
    colours: str

    @override
    def __str__(self) -> str:
        return f"{self.words}-{self.width}-{self.colours}"


SCREENS: Final = (Screen("en", 1440, "light"), Screen("id", 375, "dark"))


@dataclass(slots=True)
class Walker:
    """One browser. `heard` is what its console said, which is to be nothing."""

    page: Page
    screen: Screen
    base: str
    folder: Path
    clicks: int = 0
    heard: list[str] = field(default_factory=_FRESH)

    @classmethod
    @asynccontextmanager
    async def at(
        cls, chromium: Browser, service: Service, screen: Screen, folder: Path
    ) -> AsyncIterator[Self]:
        context = await chromium.new_context(
            viewport={"width": screen.width, "height": 900},
            locale={"en": "en-GB", "id": "id-ID"}[screen.words],
            color_scheme="dark" if screen.colours == "dark" else "light",
        )
        page = await context.new_page()
        base = f"http://localhost:{service.gateway.port}"
        walker = cls(page, screen, base, folder)
        page.on("console", lambda message: walker.heard.append(message.text))
        page.on("pageerror", lambda error: walker.heard.append(str(error)))
        try:
            yield walker
        finally:
            await context.close()

    async def sign_in(self, credential: str) -> None:
        await self.page.goto(f"{self.base}/console")
        await self.look("signing-in")
        await self.page.fill("[name=credential]", credential)
        await self.click("main form button")
        self.clicks = 0

    async def click(self, selector: str) -> None:
        await self.page.locator(selector).first.click()
        await self.page.wait_for_load_state()
        self.clicks += 1

    async def fill(self, **texts: str) -> None:
        for name, text in texts.items():
            await self.page.fill(f'main [name="{name.replace("__", ".")}"]', text)

    async def look(self, name: str) -> None:
        """The page is in its language, fits the screen, and hides nothing from anybody."""
        page = self.page
        assert await page.get_attribute("html", "lang") == self.screen.words
        reach = await page.evaluate("document.documentElement.scrollWidth")
        assert reach <= self.screen.width, name
        found = (await Axe().run(page)).response["violations"]
        assert found == [], [one["id"] for one in found]
        assert self.heard == [], name
        picture = self.folder / f"{name}-{self.screen}.png"
        await page.screenshot(path=picture, full_page=True)
