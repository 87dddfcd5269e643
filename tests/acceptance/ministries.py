"""A gateway whose staff may sign in at a provider of ours."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final

from gateway.settings import ARRIVAL_PATH
from tests.acceptance.browsing import Browser
from tests.acceptance.identities import CLIENT, SECRET, Provider, providing
from tests.acceptance.service import Service
from tests.acceptance.wire import Answer

WHY: Final = "letter 15 of the ministry"
SOURCES: Final = (f"127.0.47.{number}" for number in count(1))


@dataclass
class Ministry:
    """A gateway beside the usual one, and the provider that its staff sign in at."""

    service: Service
    provider: Provider
    subject: str = ""
    member: int = 0
    # Members of staff that nobody has bound, with the role ops.
    spare: list[Any] = field(default_factory=list)

    def browser(self, host: str = "localhost", language: str = "en") -> Browser:
        return Browser(self.service, next(SOURCES), host, language)

    async def leave(self, browser: Browser) -> str:
        """The address at the provider that the browser is sent to."""
        sent = await browser.get("/console/oidc")
        assert sent.status == 303, sent.body
        return sent.headers["location"]

    async def sign_in(self, browser: Browser, subject: str = "") -> Answer:
        address = await self.leave(browser)
        return await browser.get(self.provider.admit(address, subject or self.subject))


@asynccontextmanager
async def opening(service: Service, **environment: str) -> AsyncIterator[Ministry]:
    secret = service.folder / "client-secret"
    secret.touch(mode=0o600)
    secret.write_text(SECRET, "ascii")
    async with (
        providing() as provider,
        service.second_gateway(
            GATEWAY_OIDC_ISSUER=provider.issuer,
            GATEWAY_OIDC_CLIENT_ID=CLIENT,
            GATEWAY_OIDC_CLIENT_SECRET_FILE=str(secret),
            GATEWAY_OIDC_REDIRECT_URI=f"http://localhost:8000{ARRIVAL_PATH}",
            **environment,
        ) as gateway,
    ):
        yield Ministry(replace(service, gateway=gateway), provider)


async def bind(service: Service, member: int, subject: str) -> Answer:
    answer = await service.ask(
        *("PUT", f"/admin/staff/{member}/identity"),
        key=service.staff["admin"],
        json={"subject": subject, "reason": WHY},
    )
    assert answer.status == 200, answer.body
    return answer
