"""Ways to take a server away and to give it back."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, Literal

import psutil

from gateway.embedded.postgres import PostgresServer
from gateway.embedded.valkey import ValkeyServer
from tests.acceptance.wire import Answer

How = Literal["stopped", "frozen"]
WAYS: Final[tuple[How, ...]] = ("stopped", "frozen")


@asynccontextmanager
async def away(server: PostgresServer | ValkeyServer, how: How) -> AsyncIterator[None]:
    """The server is gone at once, or there but answering nothing; then it is back."""
    if how == "stopped":
        await asyncio.to_thread(server.kill)
        try:
            yield
        finally:
            await asyncio.to_thread(server.start)
        return
    assert server.pid is not None
    # The parent first, so that it can start nothing new.
    parent = psutil.Process(server.pid)
    processes = [parent, *parent.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in reversed(processes):
            with suppress(psutil.NoSuchProcess):
                process.resume()


async def seconds_until(
    ask: Callable[[], Awaitable[Answer]],
    wanted: Callable[[Answer], bool],
    *,
    since: float,
    within: float,
) -> float:
    """How long after `since` an answer was first as wanted; fails if it never is."""
    while True:
        answer = await ask()
        if wanted(answer):
            return time.monotonic() - since
        assert time.monotonic() < since + within, f"still {answer.body!r}"
        await asyncio.sleep(0.05)
