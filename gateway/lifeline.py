"""Ties a process of ours to the one that started it."""

import faulthandler
import multiprocessing
import os
import signal
import threading
from multiprocessing.process import BaseProcess
from typing import Final

# Longer than a worker may take for the calls under way.
PATIENCE_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 0.25
# By this a process is told whose child it is: its parent may die before it can look.
_PARENT: Final = "GATEWAY_PARENT"


def be_parent() -> None:
    """What this process starts from now on ends with it, if it so wishes."""
    os.environ[_PARENT] = str(os.getpid())


def end_with_parent(patience: float = PATIENCE_SECONDS) -> None:
    """Has this process end in order when its parent dies, or else `patience` seconds later.

    The kernel could send SIGTERM (prctl, PR_SET_PDEATHSIG), and at once. But Granian's
    worker may hang at that: a thread of its own waits for the interpreter, and holds a
    lock for which its handler waits with the interpreter. So nobody is told to end
    before it is certain to: by a thread of C's, which needs no interpreter and says where
    all others were.
    """
    # A worker is asked for by another than the one that forks it: it ends with either.
    asker = multiprocessing.parent_process()
    told = os.getppid() if asker else os.environ.get(_PARENT, os.getppid())
    watch = threading.Thread(
        target=_outlive, args=(int(told), asker, patience), daemon=True
    )
    watch.start()


def _outlive(parent: int, asker: BaseProcess | None, patience: float) -> None:
    # Not time.sleep, which libfaketime refuses: a clock set wrong is tried by it.
    waiting = threading.Event()
    while os.getppid() == parent and (asker is None or asker.is_alive()):
        waiting.wait(LOOK_SECONDS)
    faulthandler.dump_traceback_later(patience, exit=True)
    os.kill(os.getpid(), signal.SIGTERM)
