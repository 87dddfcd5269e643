"""How long a body is waited for: so long, and longer for what of it has come."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from litestar import Request

from gateway.edge import caller
from gateway.edge.caller import BodyPieces, read_body
from gateway.problems import RequestTimeout

PATIENCE = 0.2
RATE = 1_000


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller, "BODY_SECONDS", PATIENCE)
    monkeypatch.setattr(caller, "BYTES_A_SECOND", RATE)


def sent(pieces: Iterable[tuple[float, bytes]]) -> Request[Any, Any, Any]:
    """A request whose body comes so: each piece after a pause of so many seconds."""
    coming = list(pieces)

    async def receive() -> Any:
        if not coming:
            await asyncio.Event().wait()
        pause, piece = coming.pop(0)
        await asyncio.sleep(pause)
        return {"type": "http.request", "body": piece, "more_body": piece != b"}"}

    scope: Any = {"type": "http", "headers": []}
    return Request(scope, receive)


async def test_a_body_that_does_not_come_is_given_up() -> None:
    with pytest.raises(RequestTimeout):
        await read_body(sent([]), 100)


async def test_a_body_that_comes_drop_by_drop_is_given_up() -> None:
    drops = [(PATIENCE / 4, b" ")] * 40
    with pytest.raises(RequestTimeout):
        await read_body(sent([*drops, (0, b"}")]), 100)


async def test_a_body_that_comes_as_fast_as_it_must_is_read_whole() -> None:
    # Three times as long as one of which nothing comes is waited for.
    pieces = [(PATIENCE / 2, b" " * RATE)] * 6
    body = await read_body(sent([*pieces, (0, b"}")]), 10 * RATE)
    assert len(body) == 6 * RATE + 1


async def test_what_the_gateway_does_between_two_pieces_takes_nothing_from_the_caller() -> (
    None
):
    pieces = BodyPieces(sent([(0, b" "), (0, b" "), (0, b"}")]), 100)
    read = b""
    async for piece in pieces:
        read += piece
        await asyncio.sleep(PATIENCE)
    assert read == b"  }"


async def test_a_deadline_of_the_callers_own_is_no_slow_body() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(PATIENCE / 4):
            await read_body(sent([]), 100)
