"""A way to a server does to a connection what a network can, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from gateway.embedded.passage import Passage
from gateway.embedded.ports import HOST

SOON = 0.2
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Echo:
    """A server that remembers what it was sent, and says it again."""

    port: int = 0
    heard: bytearray = field(default_factory=bytearray)

    async def answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(1 << 16):
            self.heard += data
            writer.write(data)
        writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Echo"]:
        server = await asyncio.start_server(self.answer, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    async with Echo().running() as echo:
        yield echo


@pytest.fixture
async def way(echo: Echo) -> AsyncIterator[Passage]:
    async with Passage(echo.port).open() as way:
        yield way


@asynccontextmanager
async def joined(way: Passage) -> AsyncIterator[Ends]:
    reader, writer = await asyncio.open_connection(HOST, way.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def say(ends: Ends, data: bytes) -> bytes:
    """What comes back within a moment; fails where nothing does."""
    ends[1].write(data)
    return await asyncio.wait_for(ends[0].read(1 << 16), SOON)


async def is_cut(ends: Ends) -> bool:
    try:
        return await asyncio.wait_for(ends[0].read(1), 5) == b""
    except ConnectionError:
        return True


async def test_what_is_said_passes_both_ways(way: Passage) -> None:
    async with joined(way) as ends:
        assert await say(ends, b"hello") == b"hello"


async def test_all_connections_are_cut_and_new_ones_are_not(way: Passage) -> None:
    async with joined(way) as one, joined(way) as other:
        assert await say(one, b"1") + await say(other, b"2") == b"12"
        way.cut()
        assert await is_cut(one)
        assert await is_cut(other)
    async with joined(way) as ends:
        assert await say(ends, b"3") == b"3"


async def test_what_is_held_up_passes_when_it_is_released(
    way: Passage, echo: Echo
) -> None:
    async with joined(way) as ends:
        assert await say(ends, b"1") == b"1"
        way.hold()
        with pytest.raises(TimeoutError):
            await say(ends, b"2")
        assert echo.heard == b"1"
        way.release()
        assert await say(ends, b"") == b"2"


async def test_a_question_is_lost_half_sent(way: Passage, echo: Echo) -> None:
    async with joined(way) as ends, joined(way) as other:
        assert await say(ends, b"named") + await say(other, b"else") == b"namedelse"
        assert way.lose("question", of=b"named") == 1
        ends[1].write(b"12345678")
        assert await is_cut(ends)
        assert await say(other, b"x") == b"x"
    assert bytes(echo.heard).removeprefix(b"namedelse") in (b"1234x", b"x", b"x1234")


async def test_an_answer_is_lost_whose_question_was_heard(
    way: Passage, echo: Echo
) -> None:
    async with joined(way) as ends:
        assert await say(ends, b"named") == b"named"
        assert way.lose("answer", of=b"named") == 1
        ends[1].write(b"12345678")
        assert await is_cut(ends)
    assert echo.heard == b"named12345678"


async def test_it_leads_to_another_server(way: Passage) -> None:
    async with Echo().running() as other, joined(way) as ends:
        assert await say(ends, b"1") == b"1"
        way.lead(other.port)
        assert await is_cut(ends)
        async with joined(way) as again:
            assert await say(again, b"2") == b"2"
        assert other.heard == b"2"
