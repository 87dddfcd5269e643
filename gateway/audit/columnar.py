"""DuckDB at arm's length: statements over Parquet, run in processes of their own.

A question has a deadline, a bound on its memory and at most two beside it; a process
that overruns is killed. Nothing of a question is in its arguments or its environment.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from gateway.postgres import queries
from gateway.problems import ArchiveUnavailable

SQL = queries("gateway.audit", "archive.sql")
PROGRAM: Final = Path(__file__).with_name("columnar_process.py")
AT_ONCE: Final = 2
DEADLINE: Final = 10.0
QUESTION_MEMORY: Final = "512MB"
WRITER_MEMORY: Final = "1GB"
_PIECE: Final = 256 * 1024
_TOO_LONG: Final = "The archive took too long to answer; ask for a shorter time."


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A statement of archive.sql, and what its process may use.

    `folder` is all of the disk that it may reach; None is nothing. What does not fit
    into `memory` goes to `spill`; without it the task fails. With
    `rows` its answer comes as lines of JSON arrays, else it writes to /dev/stdout itself.
    """

    statement: str
    parameters: Sequence[object] = ()
    folder: Path | None = None
    spill: Path | None = None
    memory: str = QUESTION_MEMORY
    rows: bool = False
    cpu_seconds: int = 0

    @property
    def framed(self) -> bytes:
        described = json.dumps(
            {
                "statement": self.statement,
                "parameters": list(self.parameters),
                "folder": None if self.folder is None else str(self.folder),
                "spill": None if self.spill is None else str(self.spill),
                "memory": self.memory,
                "rows": self.rows,
                "cpu_seconds": self.cpu_seconds,
            }
        ).encode()
        return b"%08d%s" % (len(described), described)


class Columnar:
    """Asks questions, at most `AT_ONCE` at once."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def ask(
        self, statement: str, parameters: Sequence[object], folder: Path
    ) -> list[bytes]:
        """The rows of the answer, each a JSON array.

        Raises:
            ArchiveUnavailable: too many ask, or it took longer than `DEADLINE`, or a
                file is missing or broken.
        """
        task = Task(
            statement=statement,
            parameters=parameters,
            folder=folder,
            rows=True,
            # Twice what two threads can use of it: only for one that nobody awaits.
            cpu_seconds=int(4 * DEADLINE),
        )
        await self._take_slot()
        work = asyncio.get_running_loop().run_in_executor(None, _run, task)
        # Not when the caller leaves, but when the process has ended.
        work.add_done_callback(lambda _: self._slots.release())
        return await asyncio.shield(work)

    async def _take_slot(self) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                await self._slots.acquire()
        except TimeoutError:
            raise ArchiveUnavailable(
                "Too many questions to the archive at once; ask again."
            ) from None


def _run(task: Task) -> list[bytes]:
    try:
        done = subprocess.run(  # noqa: S603 - our own program, its task on standard input
            [sys.executable, "-I", str(PROGRAM)],
            input=task.framed,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ArchiveUnavailable(_TOO_LONG) from None
    if done.returncode != 0:
        raise ArchiveUnavailable(_failed(done.stderr))
    return done.stdout.splitlines()


def _failed(told: bytes) -> str:
    kind = told.decode("ascii", "replace").strip()
    return f"The archive could not be read ({kind or 'ended'})."


async def stream(
    task: Task, feeding: AsyncIterator[bytes]
) -> AsyncGenerator[bytes, None]:
    """What a statement writes to /dev/stdout while it is fed /dev/stdin.

    Raises:
        ArchiveUnavailable: it ended before its end. Whatever came is then not whole.
        Exception: what `feeding` raises; the process is killed, so that what it wrote
            cannot be taken for whole.
    """
    process = _start()
    feeder: asyncio.Future[None] | None = None
    read: asyncio.ReadTransport | None = None
    try:
        if process.stdin is None or process.stdout is None:
            raise TypeError("a process was asked for with pipes")
        out, read = await _reader(process.stdout)
        feeder = asyncio.ensure_future(_feed(process.stdin, task.framed, feeding))
        # A feeder that fails ends the process, and so what is read.
        feeder.add_done_callback(lambda done: _kill_if_failed(done, process))
        while piece := await out.read(_PIECE):
            yield piece
        await feeder
        if await asyncio.to_thread(process.wait) != 0:
            raise ArchiveUnavailable("The Parquet file could not be made.")
    finally:
        process.kill()
        if read is not None:
            read.close()
        if feeder is not None:
            feeder.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await feeder
        await asyncio.to_thread(process.wait)


def _start() -> "subprocess.Popen[bytes]":
    # Real pipes: what asyncio makes of its own accord are sockets, which cannot be
    # opened as /dev/stdin.
    return subprocess.Popen(  # noqa: S603 - our own program, its task on standard input
        [sys.executable, "-I", str(PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _kill_if_failed(
    feeder: "asyncio.Future[None]", process: "subprocess.Popen[bytes]"
) -> None:
    if feeder.cancelled() or feeder.exception() is not None:
        process.kill()


async def _feed(pipe: IO[bytes], task: bytes, feeding: AsyncIterator[bytes]) -> None:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, pipe
    )
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    try:
        writer.write(task)
        async for piece in feeding:
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        # It ended early; its exit code says so.
        return
    finally:
        writer.close()


async def _reader(
    pipe: IO[bytes],
) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    return reader, transport
