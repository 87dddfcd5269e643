"""Workers are forked from a process that has imported all that they need.

To import it anew takes more than a second of CPU: under load, one that follows a dead one
was there after three. That process (Python's fork server) has one thread, holds nothing
open, and is replaced on a reload, so that what follows is of the code installed by then.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing import forkserver
from typing import Any, Final

from granian.log import logger as log
from granian.server import mp
from typing_extensions import override

# Elsewhere workers share a socket, which Granian hands on to spawned ones alone.
_CONTEXT: Final = (
    multiprocessing.get_context("forkserver")
    if sys.platform == "linux"
    else multiprocessing.get_context("spawn")
)
_PAUSE_SECONDS: Final = 0.3
# What the fork server imports: gateway/nursery.py.
_NURSERY: Final = "gateway.nursery"
# A worker is told by its environment what it begins after: start, death or reload.
BEGINS_AFTER: Final = "GATEWAY_WORKER_BEGINS_AFTER"
# Tells a worker that it is about to be ended: gateway/edge/leaving.py.
LEAVE: Final = signal.SIGUSR1


def fork_workers() -> None:
    """Has Granian's supervisor begin workers so, from now on."""
    # Under a spawned one Python imports the main module anew, which is the command line.
    multiprocessing.set_start_method("spawn", force=True)
    multiprocessing.set_forkserver_preload([_NURSERY])
    # Granian takes the class of its workers from here, and lets nobody name another.
    mp.WorkerProcess = Forked  # type: ignore[misc]  # it is no variable to mypy


def import_anew() -> None:
    """Workers begun from now on have the code that is installed now.

    The old fork server ends with the last of its workers: it is not told to, since they
    end with it.
    """
    server: Any = forkserver._forkserver  # noqa: SLF001 - Python itself begins anew only where it died
    with server._lock:  # noqa: SLF001 - as above
        old, server._forkserver_pid = server._forkserver_pid, None  # noqa: SLF001 - as above
        if old is not None:
            os.close(server._forkserver_alive_fd)  # noqa: SLF001 - as above
            collected = threading.Thread(target=os.waitpid, args=(old, 0), daemon=True)
            collected.start()


class Forked(mp.WorkerProcess):
    """A worker of Granian's, forked from the nursery."""

    @override
    def _spawn(self, target: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.inner = _CONTEXT.Process(
            name="granian-worker",
            target=_begin,
            args=(os.environ[BEGINS_AFTER], target, args),
        )

    @override
    def start(self) -> None:
        while True:
            try:
                super().start()  # type: ignore[no-untyped-call]  # Granian's
            except (EOFError, ConnectionError) as error:
                # The fork server died just now: Python begins another for the next.
                log.error("No worker was forked (%s); again", type(error).__name__)
                threading.Event().wait(_PAUSE_SECONDS)
            else:
                return


def _begin(after: str, target: Callable[..., None], args: tuple[Any, ...]) -> None:
    # The nursery is deaf to it, and its environment is that of its own start.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ[BEGINS_AFTER] = after
    target(*args)
