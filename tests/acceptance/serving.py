"""`gateway serve` as a process of its own, and connections to each of its workers."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

from gateway.embedded.gateways import GatewayProcess
from gateway.embedded.ports import free_port
from tests.acceptance.wire import Connection

READY_SECONDS: Final = 30.0
# Connections opened at once in search of one that a given worker has accepted.
HANDFUL: Final = 16


class Gateway(GatewayProcess):
    """One running `gateway serve`; `log_file` holds all it printed.

    Without a port it has a free one; several may share one.
    """

    def __init__(
        self, environment: Mapping[str, str], log_file: Path, *, port: int | None = None
    ) -> None:
        port = port or free_port()
        path = {"PATH": os.environ["PATH"]}
        super().__init__({**path, **environment, "GATEWAY_PORT": str(port)}, log_file)

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
        assert self.running, f"the gateway ended: {said}"
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
