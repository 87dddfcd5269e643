"""Processes that stand still for a while, and servers that are gone at once."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

import psutil

from gateway.embedded.supervision import Supervised


def family(pid: int | None) -> list[psutil.Process]:
    """A process and all below it, the parent first: it can then start nothing new."""
    if pid is None:
        return []
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


@asynccontextmanager
async def frozen(processes: Iterable[psutil.Process]) -> AsyncIterator[None]:
    """They are there and do nothing (SIGSTOP); at the end they go on (SIGCONT)."""
    stopped = list(processes)
    for process in stopped:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in reversed(stopped):
            with suppress(psutil.NoSuchProcess):
                process.resume()


@asynccontextmanager
async def killed(server: Supervised) -> AsyncIterator[None]:
    """The server is gone at once (SIGKILL); at the end it is started again."""
    await asyncio.to_thread(server.kill)
    try:
        yield
    finally:
        await asyncio.to_thread(server.start)
