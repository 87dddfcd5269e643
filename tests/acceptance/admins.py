"""An admin at the HTTP routes, and what a test makes through them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from tests.acceptance.callers import KYC, PLENTY, Caller
from tests.acceptance.ledger import Entry, entries
from tests.acceptance.service import Service
from tests.acceptance.wire import Answer

WHY: Final = "letter 12 of the ministry"
TERMS: Final[Mapping[str, Any]] = {
    "from": "2026-01-01T00:00:00+07:00",
    "to": "2100-01-01T00:00:00Z",
    "grants": [KYC],
    "limits": PLENTY,
}


@dataclass(frozen=True)
class Admin:
    """`key` is all of the token, of which nobody else makes use."""

    service: Service
    key: str = field(repr=False)

    async def ask(self, method: str, path: str, **body: Any) -> Answer:
        """A change, with a reason unless one is given; or a read, without a body."""
        target = f"/admin/{path}"
        if method == "GET":
            return await self.service.ask(method, target, key=self.key)
        if method == "DELETE":
            query = urlencode({"reason": WHY} | body)
            return await self.service.ask(method, f"{target}?{query}", key=self.key)
        sent = {"reason": WHY} | body
        return await self.service.ask(method, target, key=self.key, json=sent)

    async def made(self, path: str, **body: Any) -> Any:
        answer = await self.ask("POST", path, **body)
        assert answer.status == 201, answer.body
        return answer.json

    async def got(self, path: str) -> Any:
        answer = await self.ask("GET", path)
        assert answer.status == 200, answer.body
        return answer.json

    async def institution(self) -> int:
        number: int = (await self.made("institutions", name="Lembaga Uji"))["id"]
        return number

    async def caller(self, **terms: Any) -> Caller:
        """An institution with an agreement and a key, all made over HTTP."""
        institution = await self.institution()
        wanted = {**TERMS, "institution": institution, **terms}
        agreement = (await self.made("agreements", **wanted))["id"]
        key = await self.made("keys", institution=institution)
        return Caller(institution, agreement, key["id"], key["key"])

    async def entry(self, answer: Answer) -> Entry:
        """The one entry of an answer."""
        assert answer.access_id is not None
        recent = await entries(
            self.service.auditor_dsn, "e.at > now() - interval '5 seconds'"
        )
        (entry,) = [one for one in recent if one["access_id"] == answer.access_id]
        return entry
