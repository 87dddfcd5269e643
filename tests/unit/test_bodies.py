"""How long a body is waited for: so long, and longer for what of it has come."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from litestar import Request

from gateway.edge import caller
from gateway.edge.caller import BodyPieces, read_body
from gateway.problems import PayloadTooLarge, RequestTimeout

PATIENCE = 0.2
RATE = 1_000


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller, "BODY_SECONDS", PATIENCE)
    monkeypatch.setattr(caller, "BYTES_A_SECOND", RATE)


def sent(
    pieces: Iterable[tuple[float, bytes]], **headers: str
) -> Request[Any, Any, Any]:
    """A request whose body comes so: each piece after a pause of so many seconds."""
    coming = list(pieces)

    async def receive() -> Any:
        if not coming:
            await asyncio.Event().wait()
        pause, piece = coming.pop(0)
        await asyncio.sleep(pause)
        return {"type": "http.request", "body": piece, "more_body": piece != b"}"}

    told = [(n.replace("_", "-").encode(), v.encode()) for n, v in headers.items()]
    scope: Any = {"type": "http", "headers": told}
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


async def test_a_task_that_is_cancelled_while_it_waits_is_cancelled() -> None:
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(read_body(sent([]), 100))
        await asyncio.sleep(0)
        reading.cancel()
    assert reading.cancelled()


async def test_a_body_of_announced_length_ends_with_its_last_byte() -> None:
    # Nothing more comes, not even that nothing more comes.
    pieces = [(0, b'{"nik"'), (0, b":1 ")]
    assert await read_body(sent(pieces, content_length="9"), 100) == b'{"nik":1 '


async def test_no_sooner_than_that() -> None:
    with pytest.raises(RequestTimeout):
        await read_body(sent([(0, b'{"nik"')], content_length="9"), 100)


async def test_a_length_beside_chunks_is_not_believed() -> None:
    pieces = [(0, b'{"nik":1 '), (0, b"}")]
    coming = sent(pieces, content_length="9", transfer_encoding="chunked")
    assert await read_body(coming, 100) == b'{"nik":1 }'


@pytest.mark.parametrize("announced", [{}, {"content_length": "101"}])
async def test_a_body_that_is_too_long_is_read_no_further(
    announced: dict[str, str],
) -> None:
    coming = sent([(0, b" " * 60), (0, b" " * 41)], **announced)
    with pytest.raises(PayloadTooLarge):
        await read_body(coming, 100)
