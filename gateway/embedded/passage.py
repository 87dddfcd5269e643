"""A way to a server on this machine that can be cut, held up, or led to another.

Everything that the gateway says to a server and hears of it goes through here, so that
a network's faults can be made where there is none.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Literal, Self

from gateway.embedded.ports import HOST

AT_ONCE: Final = 1 << 16
# Of what a client says first: in PostgreSQL's greeting its application's name.
GREETING_BYTES: Final = 1024

Lost = Literal["question", "answer"]


@dataclass(eq=False, slots=True)
class Joint:
    """One connection: to the client, and on to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    greeting: bytes = b""
    # What is to be lost next; and that its question has passed.
    losing: Lost | None = None
    asked: bool = False

    def abort(self) -> None:
        """Both ends hear a reset at once; what was on the way is lost."""
        self.client.transport.abort()
        self.server.transport.abort()


@dataclass(eq=False)
class Passage:
    """The way to the server at port `to`. Its own `port` is free, and known once open.

    Questions pass while `asked` is set, answers while `heard` is. What is held up passes
    when it is set again, also on a connection that its client has left meanwhile.
    """

    to: int
    port: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    _joints: set[Joint] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Self]:
        self.release()
        server = await asyncio.start_server(self._join, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            if self._tasks:
                await asyncio.wait(self._tasks)

    def lead(self, port: int) -> None:
        """To another server; whoever spoke with the one before is cut off."""
        self.to = port
        self.cut()

    def cut(self) -> None:
        """Ends every connection at once; what was held up is lost with it."""
        for joint in self._joints:
            joint.abort()
        self.release()

    def hold(self) -> None:
        """Nothing passes any more, and nobody is told: a black hole."""
        self.asked.clear()
        self.heard.clear()

    def release(self) -> None:
        self.asked.set()
        self.heard.set()

    def lose(self, what: Lost, *, of: bytes) -> int:
        """The next question, half of it sent, or the answer to it is lost with its wire.

        Args:
            what: is lost.
            of: whose greeting holds this, such as PostgreSQL's `gateway-journal`.

        Returns:
            How many connections there are of which it will be so.
        """
        chosen = [joint for joint in self._joints if of in joint.greeting]
        for joint in chosen:
            joint.losing = what
        return len(chosen)

    async def _join(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            up, down = await asyncio.open_connection(HOST, self.to)
        except OSError:
            writer.transport.abort()
            return
        joint = Joint(writer, down)
        self._joints.add(joint)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_questions(reader, joint))
                both.create_task(self._pass_answers(up, joint))
        finally:
            self._joints.discard(joint)

    async def _pass_questions(self, reader: asyncio.StreamReader, joint: Joint) -> None:
        with suppress(OSError):
            while data := await reader.read(AT_ONCE):
                if len(joint.greeting) < GREETING_BYTES:
                    joint.greeting += data
                await self.asked.wait()
                if joint.losing == "question":
                    joint.server.write(data[: len(data) // 2])
                    await joint.server.drain()
                    joint.abort()
                    return
                joint.asked = joint.losing == "answer"
                joint.server.write(data)
                await joint.server.drain()
        joint.server.close()

    async def _pass_answers(self, reader: asyncio.StreamReader, joint: Joint) -> None:
        with suppress(OSError):
            while data := await reader.read(AT_ONCE):
                await self.heard.wait()
                if joint.asked:
                    joint.abort()
                    return
                joint.client.write(data)
                await joint.client.drain()
        joint.client.close()
