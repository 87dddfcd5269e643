"""Workers are forked from a process that has imported all that they need.

To import it anew takes more than a second of CPU: under load, one that follows a dead one
was there after three. That process (Python's fork server) has one thread, holds nothing
open but its metrics, and is replaced on a reload, so that what follows is of the code that
is installed by then.
"""

import atexit
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any, Final

from granian.log import logger as log
from granian.server import mp
from typing_extensions import override

# Elsewhere workers share a socket, which Granian hands on to spawned ones alone.
_SPAWNING: Final = multiprocessing.get_context("spawn")
_FORKING: Final = (
    multiprocessing.get_context("forkserver") if sys.platform == "linux" else _SPAWNING
)
_NOT_FORKED: Final = (EOFError, OSError)
_TIMES: Final = 3
_PAUSE_SECONDS: Final = 0.3
# What the fork server imports: gateway/nursery.py.
_NURSERY: Final = "gateway.nursery"
# A worker is told by its environment what it begins after: start, death or reload.
BEGINS_AFTER: Final = "GATEWAY_WORKER_BEGINS_AFTER"
# Tells a worker that it is about to be ended: gateway/edge/leaving.py.
LEAVE: Final = signal.SIGUSR1


def fork_workers() -> None:
    """Has Granian's supervisor begin workers so, from now on."""
    multiprocessing.set_start_method("spawn", force=True)
    multiprocessing.set_forkserver_preload([_NURSERY])
    # Granian takes the class of its workers from here, and lets nobody name another.
    mp.WorkerProcess = Forked  # type: ignore[misc]  # it is no variable to mypy


def import_anew() -> None:
    """Workers begun from now on have the code that is installed now.

    Takes as long as importing it. The old fork server ends with the last of its workers:
    it is not told to, since they end with it.
    """
    server: Any = forkserver._forkserver  # noqa: SLF001 - Python itself begins anew only where it died
    with server._lock:  # noqa: SLF001 - as above
        old, server._forkserver_pid = server._forkserver_pid, None  # noqa: SLF001 - as above
        if old is not None:
            os.close(server._forkserver_alive_fd)  # noqa: SLF001 - as above
            collected = threading.Thread(target=os.waitpid, args=(old, 0), daemon=True)
            collected.start()
    # What begins a worker says goodbye to the old one meanwhile: it is not to wait.
    with suppress(*_NOT_FORKED):
        first = _FORKING.Process(target=int)
        first.start()
        first.join()


class Forked(mp.WorkerProcess):
    """A worker of Granian's, forked from the nursery."""

    @override
    def _spawn(self, target: Callable[..., None], args: tuple[Any, ...]) -> None:
        self._told = (os.environ[BEGINS_AFTER], target, args)
        self._make(_FORKING)

    def _make(self, context: ForkServerContext | SpawnContext) -> None:
        self.inner = context.Process(
            name="granian-worker", target=_begin, args=self._told
        )

    @override
    def start(self) -> None:
        """Spawned where it cannot be forked, whatever ails the fork server."""
        for _ in range(_TIMES):
            try:
                super().start()  # type: ignore[no-untyped-call]  # Granian's
            except _NOT_FORKED as error:
                # It died just now: Python begins another for the next.
                log.error("No worker was forked: %s", type(error).__name__)
                threading.Event().wait(_PAUSE_SECONDS)
            else:
                return
        self._make(_SPAWNING)
        super().start()  # type: ignore[no-untyped-call]  # Granian's


def _begin(after: str, target: Callable[..., None], args: tuple[Any, ...]) -> None:
    # The nursery is deaf to them, and its environment is that of its own start.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ[BEGINS_AFTER] = after
    try:
        target(*args)
    finally:
        # The last log lines are written by one of them. Python 3.11 ends what it forked
        # without.
        atexit._run_exitfuncs()  # noqa: SLF001 - as Python 3.13 does
