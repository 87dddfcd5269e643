"""Latencies are counted truly: also those of calls that could not even be sent."""

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.embedded.histogram import Histogram
from gateway.embedded.load import Load

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER = b"HTTP/1.1 %d X\r\ncontent-length: 5\r\n\r\nhello"


@given(st.lists(st.integers(0, 10**9), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_true_to_one_in_128(values: list[int], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    true = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
    assert true <= histogram.quantile(share) <= true * (1 + 1 / 128)


def test_merged_is_as_counted_together() -> None:
    chance = random.Random(1)  # noqa: S311 - a sample, no secret
    one, other, both = Histogram(), Histogram(), Histogram()
    for number in range(1000):
        value = chance.randrange(10**6)
        (one if number % 2 else other).add(value)
        both.add(value)
    one.merge(other)
    assert (one.counts, one.total) == (both.counts, both.total)


def test_of_nothing_no_quantile_is_told() -> None:
    assert Histogram().quantile(0.99) == 0


class Server:
    """Answers at once, but for one silence; `answers` in pieces if told so."""

    def __init__(self) -> None:
        self.silent_until = 0.0
        self.asked = 0
        self.piece = 1000

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.asked += 1
                await asyncio.sleep(max(0.0, self.silent_until - time.monotonic()))
                answer = ANSWER % (200 if self.asked % 10 else 429)
                for start in range(0, len(answer), self.piece):
                    writer.write(answer[start : start + self.piece])
                    if self.piece < len(answer):
                        await asyncio.sleep(0)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Server, int]]:
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listening:
        yield server, listening.sockets[0].getsockname()[1]


@pytest.mark.parametrize("piece", [1000, 7])
async def test_every_answer_is_counted_by_its_status(piece: int) -> None:
    async with serving() as (server, port):
        server.piece = piece
        heard = await Load(port, lambda: REQUEST).run(connections=4, seconds=0.3)
    assert heard.lost == 0
    assert heard.statuses.keys() == {200, 429}
    total = heard.statuses.total()
    assert total == heard.latencies.total
    # What was still under way at the end is answered and not counted.
    assert total <= server.asked <= total + 4
    assert heard.rate > 10


async def test_a_server_that_stands_still_is_felt_by_all_who_were_due_meanwhile() -> (
    None
):
    async with serving() as (server, port):
        server.silent_until = time.monotonic() + 0.5
        load = Load(port, lambda: REQUEST, rate=200)
        heard = await load.run(connections=2, seconds=1)
    # Two calls were with the server; a hundred were due, and waited for as long.
    assert heard.statuses.total() == 200
    assert heard.latencies.quantile(0.4) < 300_000
    assert 200_000 <= heard.latencies.quantile(0.75) <= 700_000
    assert heard.latencies.quantile(1) >= 400_000


async def test_what_is_due_is_asked_in_its_time() -> None:
    async with serving() as (server, port):
        began = time.monotonic()
        load = Load(port, lambda: REQUEST, rate=100)
        heard = await load.run(connections=8, seconds=0.5)
    assert server.asked == 50
    assert heard.statuses.total() == 50
    assert time.monotonic() - began >= 0.49
