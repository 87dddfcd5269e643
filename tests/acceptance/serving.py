"""`gateway serve` as a process of its own, seen from outside."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

from gateway.embedded.processes import LAUNCHER
from gateway.embedded.supervision import PORTS, is_free
from tests.acceptance.wire import Connection

READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 15.0
# Connections opened at once in search of one that a given worker has accepted.
HANDFUL: Final = 16


class Gateway:
    """One running `gateway serve`; `log_file` holds all it printed."""

    def __init__(self, environment: Mapping[str, str], log_file: Path) -> None:
        self.port = next(port for _ in PORTS if is_free(port := secrets.choice(PORTS)))
        self.log_file = log_file
        settings = {**environment, "GATEWAY_PORT": str(self.port)}
        # Ends with this process, however that ends.
        launch = [
            *(sys.executable, "-I", "-S", str(LAUNCHER)),
            *(str(os.geteuid()), str(os.getegid()), "plain"),
            *(str(int(signal.SIGTERM)), str(os.getpid())),
        ]
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [*launch, sys.executable, "-m", "gateway", "serve"],
                env={"PATH": os.environ["PATH"], **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """Ends it, and whatever of it does not end by itself."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill_all()
            raise
        self._kill_all()

    def _kill_all(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def workers(self) -> set[int]:
        """The pids of its workers (not of Python's own helper beside them)."""
        children = psutil.Process(self._process.pid).children()
        found = set()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                if "spawn_main" in " ".join(child.cmdline()):
                    found.add(child.pid)
        return found

    def sealer(self) -> int | None:
        """The pid of its sealer, while there is one."""
        for child in psutil.Process(self._process.pid).children():
            with suppress(psutil.NoSuchProcess):
                if child.cmdline()[-1:] == ["seal"]:
                    return child.pid
        return None

    async def ready(self, workers: int) -> None:
        """Waits until that many workers answer that they are ready."""
        deadline = time.monotonic() + READY_SECONDS
        while len(self.workers()) < workers:
            self._check(deadline)
            await asyncio.sleep(0.05)
        for pid in self.workers():
            async with self.connection_to(pid) as connection:
                while (await connection.ask("GET", "/health/ready")).status != 200:
                    self._check(deadline)
                    await asyncio.sleep(0.05)

    def _check(self, deadline: float) -> None:
        said = self.log_file.read_text("utf-8")[-2000:]
        assert self._process.poll() is None, f"the gateway ended: {said}"
        assert time.monotonic() < deadline, f"the gateway did not start: {said}"

    @asynccontextmanager
    async def connection_to(
        self, pid: int, *, within: float = READY_SECONDS
    ) -> AsyncIterator[Connection]:
        """A connection that this worker has accepted."""
        deadline = time.monotonic() + within
        while True:
            async with AsyncExitStack() as stack:
                handful = []
                with suppress(ConnectionError):
                    for _ in range(HANDFUL):
                        opening = Connection.opened(self.port)
                        handful.append(await stack.enter_async_context(opening))
                await asyncio.sleep(0.02)
                ports = _peers(pid)
                mine = [one for one in handful if one.local_port in ports]
                if mine:
                    yield mine[0]
                    return
            assert time.monotonic() < deadline, "the worker accepts no connection"


def _peers(pid: int) -> set[int]:
    """The ports from which the connections of this process come."""
    with suppress(psutil.NoSuchProcess):
        held = psutil.Process(pid).net_connections("tcp")
        return {one.raddr.port for one in held if one.raddr}
    return set()
