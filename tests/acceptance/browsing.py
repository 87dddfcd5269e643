"""The console over HTTP, as a browser asks for it that runs no script."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from html import unescape
from urllib.parse import urlencode

from tests.acceptance.ledger import entries
from tests.acceptance.service import Service
from tests.acceptance.wire import HERE, Answer

Form = Mapping[str, str | Sequence[str]]


class Browser:
    """Keeps its cookies, and comes from an address of its own."""

    def __init__(
        self,
        service: Service,
        source: str,
        host: str = "localhost",
        language: str = "en",
    ) -> None:
        self._service = service
        self.source = source
        self._host = host
        self._language = language
        self.cookies: dict[str, str] = {}
        self._csrf = ""

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    async def get(self, target: str, **headers: str) -> Answer:
        return await self._ask("GET", target, headers)

    async def post(self, target: str, form: Form, **headers: str) -> Answer:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(form, doseq=True).encode()
        return await self._ask("POST", target, kind | headers, body)

    async def _ask(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Answer:
        sent = {"Host": self._host, "Accept-Language": self._language, **headers}
        if self.cookie:
            sent["Cookie"] = self.cookie
        answer = await self._service.ask(
            *(method, target),
            source=self.source,
            headers=sent,
            body=body if method == "POST" else None,
        )
        for told in answer.headers.get("set-cookie", "").splitlines():
            name, _, value = told.partition("=")
            self.cookies[name] = value.partition(";")[0]
            if "max-age=0" in value.lower():
                del self.cookies[name]
        return answer

    async def follow(self, answer: Answer) -> Answer:
        """The page that an answer sends the browser on to."""
        assert answer.status == 303, answer.body
        return await self.get(answer.headers["location"])

    async def sign_in(self, credential: str) -> Answer:
        self._csrf = ""
        return await self.post("/console/session", {"credential": credential})

    async def stream(self, target: str) -> str:
        """All that comes until the other side ends it, head and lengths included."""
        reader, writer = await asyncio.open_connection(
            HERE, self._service.gateway.port, local_addr=(self.source, 0)
        )
        lines = (f"GET {target} HTTP/1.1", f"Host: {self._host}")
        head = (*lines, f"Cookie: {self.cookie}", "Connection: close", "", "")
        writer.write("\r\n".join(head).encode())
        try:
            return (await reader.read()).decode()
        finally:
            writer.close()

    async def csrf(self) -> str:
        """The session's, of any of its pages: the button to sign out has it."""
        if not self._csrf:
            home = await self.follow(await self.get("/console"))
            self._csrf = hidden(home, "csrf")
        return self._csrf


def hidden(page: Answer, name: str) -> str:
    """The value of a hidden field of the page."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page.body.decode())
    assert found is not None, page.body
    return unescape(found[1])


async def entries_from(service: Service, source: str) -> list[tuple[str, str]]:
    """Operation and outcome of all that came from this address, oldest first."""
    found = await entries(service.auditor_dsn, "e.at > now() - interval '1 minute'")
    mine = [one for one in found if one["address"] == source]
    mine.sort(key=lambda one: str(one["at"]))
    return [(str(one["operation"]), str(one["outcome"])) for one in mine]
