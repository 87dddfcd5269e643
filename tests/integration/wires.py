"""A wire to a server that a test can stop: answers withheld, or everything cut."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from gateway.embedded.passage import Passage


@asynccontextmanager
async def wire_to(dsn: str) -> AsyncIterator[tuple[Passage, str]]:
    """The wire, and the DSN that goes over it."""
    there = urlsplit(dsn)
    assert there.port is not None
    async with Passage(there.port).open() as wire:
        yield wire, dsn.replace(f":{there.port}/", f":{wire.port}/")
