"""A wire to a server that a test can stop: answers withheld, or everything cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Wire:
    """A way to PostgreSQL on which answers can be withheld, or everything cut."""

    dsn: str
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    joined: set[asyncio.Task[None]] = field(default_factory=set)

    async def join(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        if task is not None:
            self.joined.add(task)
        there = urlsplit(self.dsn)
        up, down = await asyncio.open_connection(there.hostname, there.port)
        self.writers += [writer, down]
        async with asyncio.TaskGroup() as both:
            both.create_task(self.pump(reader, down))
            both.create_task(self.pump(up, writer, self.heard))

    @staticmethod
    async def pump(
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        gate: asyncio.Event | None = None,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if gate is not None:
                    await gate.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self) -> None:
        for writer in self.writers:
            writer.close()
        self.heard.set()


@asynccontextmanager
async def wire_to(dsn: str) -> AsyncIterator[tuple[Wire, str]]:
    """The wire, and the DSN that goes over it."""
    wire = Wire(dsn)
    wire.heard.set()
    server = await asyncio.start_server(wire.join, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    there = urlsplit(dsn)
    try:
        yield wire, dsn.replace(f":{there.port}/", f":{port}/")
    finally:
        server.close()
        wire.cut()
        if wire.joined:
            await asyncio.wait(wire.joined)
