"""A small HTTP/1.1 client: kept connections from chosen source addresses.

Its answers are what came over the wire, with the time they took, so that tens of
thousands of calls can be made and judged one by one. `gateway chaos` and the tests ask
with it.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

HERE: Final = "127.0.0.1"
LONGEST_HEAD: Final = 64 * 1024
# Longer than any promise: a call that hangs is told of, and does not hang who asked.
PATIENCE: Final = 20.0


class Lost(Exception):
    """The connection ended after the call was sent: its fate is not known."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Header names are in small letters; `seconds` from the sending.

    Of a header that came more than once each value is a line.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def is_last(self) -> bool:
        """Whether the server closes the connection after it (RFC 9112 §9.6)."""
        return self.headers.get("connection", "").lower() == "close"

    @property
    def access_id(self) -> str | None:
        return self.headers.get("access-id")

    @property
    def reason(self) -> str | None:
        """The slug of the problem, if this is one."""
        if self.headers.get("content-type") != "application/problem+json":
            return None
        slug: str = self.json["type"].replace("#", "/").rpartition("/")[2]
        return slug


@dataclass(slots=True)
class Connection:
    """One kept connection; one call at a time."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    @asynccontextmanager
    async def opened(cls, port: int, *, source: str = HERE) -> AsyncIterator[Self]:
        reader, writer = await asyncio.open_connection(
            HERE, port, limit=LONGEST_HEAD, local_addr=(source, 0)
        )
        try:
            yield cls(reader, writer)
        finally:
            # Not awaited to the end: the far side may be stopped.
            writer.transport.abort()

    @property
    def local_port(self) -> int:
        port: int = self.writer.get_extra_info("sockname")[1]
        return port

    async def ask(
        self,
        method: str,
        target: str,
        *,
        key: str | None = None,
        json: object = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        within: float = PATIENCE,
    ) -> Answer:
        """One call. `json` is sent as such; `body` as it is, with no type of its own.

        Raises:
            Lost: the connection ended before the answer was whole.
            TimeoutError: there was no answer `within` so many seconds.
        """
        if json is not None:
            body = _encoded(json)
            headers = {"Content-Type": "application/json", **(headers or {})}
        request = _request(method, target, key, body, headers or {})
        began = time.monotonic()
        try:
            self.writer.write(request)
            await self.writer.drain()
            async with asyncio.timeout(within):
                return await self._answer(method, began)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            raise Lost from error

    async def _answer(self, method: str, began: float) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.strip().split("\r\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, value = line.split(":", 1)
            before = headers.get(name.lower())
            told = value.strip()
            headers[name.lower()] = told if before is None else f"{before}\n{told}"
        length = 0 if method == "HEAD" else int(headers.get("content-length", "0"))
        if "transfer-encoding" in headers:
            msg = "answers are sent with their length"
            raise ValueError(msg)
        body = await self.reader.readexactly(length)
        seconds = time.monotonic() - began
        return Answer(int(status.split(" ", 2)[1]), headers, body, seconds)


def _encoded(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


def _request(
    method: str,
    target: str,
    key: str | None,
    body: bytes | None,
    headers: Mapping[str, str],
) -> bytes:
    sent = {"Host": "gateway", **headers}
    if key is not None:
        sent["Authorization"] = f"Bearer {key}"
    if body is not None and "Transfer-Encoding" not in sent:
        sent["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + (body or b"")
