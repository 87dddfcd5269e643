"""What still comes of a body is read after an answer that did not wait for it."""

import asyncio
from typing import Any

import pytest
from litestar.enums import ScopeType

from gateway.edge import lingering
from gateway.edge.lingering import Lingering

JOBS = {"type": ScopeType.HTTP, "path": "/v1/jobs"}
MORE = {"type": "http.request", "body": b"{}\n", "more_body": True}
LAST = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}


class Coming:
    """A connection: what comes on it, and then nothing more."""

    def __init__(self, *messages: Any) -> None:
        self.messages = list(messages)

    async def __call__(self) -> Any:
        if not self.messages:
            await asyncio.Event().wait()
        return self.messages.pop(0)


async def refuse(_: Any, __: Any, send: Any) -> None:
    await send("refused")


async def read_one(_: Any, receive: Any, send: Any) -> None:
    await receive()
    await send("answered")


async def answered(app: Any, coming: Coming, scope: Any = JOBS) -> list[object]:
    """What was sent by the time that the application was over."""
    sent: list[object] = []

    async def send(message: object) -> None:
        sent.append(message)

    await Lingering(app)(scope, coming, send)
    return sent


@pytest.mark.parametrize("last", [LAST, GONE])
async def test_a_body_that_nobody_read_is_read_to_its_end(last: Any) -> None:
    coming = Coming(MORE, MORE, last, MORE)
    assert await answered(refuse, coming) == ["refused"]
    assert coming.messages == [MORE]


async def test_so_is_one_of_which_a_part_was_read() -> None:
    coming = Coming(MORE, MORE, LAST)
    assert await answered(read_one, coming) == ["answered"]
    assert coming.messages == []


@pytest.mark.parametrize("last", [LAST, GONE])
async def test_nothing_is_waited_for_after_a_body_that_was_read(last: Any) -> None:
    async with asyncio.timeout(lingering.LINGER_SECONDS / 2):
        assert await answered(read_one, Coming(last)) == ["answered"]


async def test_nor_on_any_route_with_short_bodies() -> None:
    coming = Coming(MORE)
    assert await answered(refuse, coming, {**JOBS, "path": "/v1/verify"}) == ["refused"]
    assert coming.messages == [MORE]


async def test_who_goes_on_for_ever_is_not_read_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 0.05)
    async with asyncio.timeout(5):
        assert await answered(refuse, Coming(MORE)) == ["refused"]
