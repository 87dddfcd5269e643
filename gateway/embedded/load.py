"""A load generator: closed loop for throughput, open loop for latency.

In the open loop calls are due at instants that were fixed before: one that had to wait for
the answer before it is late from its due instant on, so a server that stands still shows
up in the percentiles as it would to its users (no coordinated omission).
"""

import asyncio
import re
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

from typing_extensions import override

from gateway.embedded.histogram import Histogram

MICROS: Final = 1_000_000
# A connection that gets no answer for so long is given up.
PATIENCE: Final = 30.0
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_STATUS: Final = slice(9, 12)


@dataclass(slots=True)
class Heard:
    """What came of a run: answers by status, how long each took, and over what time.

    `late` are those of a closed loop that came after its end, and count for nothing else.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    late: Counter[int] = field(default_factory=Counter)
    latencies: Histogram = field(default_factory=Histogram)
    lost: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.latencies.total / self.seconds


class Connection(asyncio.Protocol):
    """One kept connection, one call at a time; tells its owner of every answer."""

    def __init__(self, owner: "Load") -> None:
        self._owner = owner
        self._received = bytearray()
        self._awaited = 0
        self._due = 0.0
        self.transport: asyncio.WriteTransport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one in all but its bases.
        self.transport = cast(asyncio.WriteTransport, transport)
        self._owner.is_free(self)

    def ask(self, request: bytes, due: float) -> None:
        self._due, self._awaited = due, 0
        if self.transport is not None:
            self.transport.write(request)

    @override
    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._awaited:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            found = _LENGTH.search(self._received, 0, end + 2)
            self._awaited = end + 4 + (int(found[1]) if found else 0)
        if len(self._received) >= self._awaited:
            status = int(self._received[_STATUS])
            self._received.clear()
            self._owner.answered(self, status, self._due)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.is_lost()


class Load:
    """Calls to 127.0.0.1:`port`, each as `make` gives it.

    Args:
        rate: calls a second that are due, whatever becomes of them; None: each
            connection asks again as soon as it has been answered.
    """

    def __init__(
        self, port: int, make: Callable[[], bytes], *, rate: float | None = None
    ) -> None:
        self._port = port
        self._make = make
        self._rate = rate
        self._free: deque[Connection] = deque()
        self._due: deque[float] = deque()
        self._loop = asyncio.get_running_loop()
        self._waiting = 0
        self._over = False
        self._idle = asyncio.Event()
        self.heard = Heard()

    async def run(self, *, connections: int, seconds: float) -> Heard:
        """What was heard of calls that were due within so many seconds."""
        opened = [
            await self._loop.create_connection(
                lambda: Connection(self), "127.0.0.1", self._port
            )
            for _ in range(connections)
        ]
        began = self._loop.time()
        if self._rate is None:
            self._ask_again()
            await asyncio.sleep(seconds)
        else:
            await self._keep_due(self._rate, began, seconds)
        self._over = True
        self.heard.seconds = self._loop.time() - began
        await self._last_answers()
        for transport, _ in opened:
            transport.abort()
        return self.heard

    async def _keep_due(self, rate: float, began: float, seconds: float) -> None:
        for number in range(int(rate * seconds)):
            due = began + number / rate
            if (wait := due - self._loop.time()) > 0:
                await asyncio.sleep(wait)
            self._due.append(due)
            self._ask_again()

    async def _last_answers(self) -> None:
        while self._waiting or self._due:
            self._idle.clear()
            async with asyncio.timeout(PATIENCE):
                await self._idle.wait()

    def _ask_again(self) -> None:
        while self._free and (self._due or (self._rate is None and not self._over)):
            due = self._due.popleft() if self._due else self._loop.time()
            self._waiting += 1
            self._free.popleft().ask(self._make(), due)

    def is_free(self, connection: Connection) -> None:
        self._free.append(connection)

    def is_lost(self) -> None:
        self.heard.lost += not self._over
        self._idle.set()

    def answered(self, connection: Connection, status: int, due: float) -> None:
        self._waiting -= 1
        # Whoever was due before the end is counted, however late it is answered.
        if self._rate is not None or not self._over:
            self.heard.statuses[status] += 1
            self.heard.latencies.add(round((self._loop.time() - due) * MICROS))
        else:
            self.heard.late[status] += 1
        self._free.append(connection)
        self._ask_again()
        self._idle.set()
