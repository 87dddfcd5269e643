"""Ties a process of ours to the one that started it."""

import ctypes
import faulthandler
import os
import signal
import sys
import threading
from typing import Final

_PR_SET_PDEATHSIG = 1
# Longer than a worker may take for the calls under way.
PATIENCE_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 1.0
# By this a process is told whose child it is: its parent may die before it can look.
_PARENT: Final = "GATEWAY_PARENT"


def be_parent() -> None:
    """What this process starts from now on ends with it, if it so wishes."""
    os.environ[_PARENT] = str(os.getpid())


def end_with_parent(patience: float = PATIENCE_SECONDS) -> None:
    """Has this process end in order when its parent dies (Linux only), or else at once.

    The kernel sends SIGTERM. A server that does not come to its end by that after
    `patience` seconds would spin on, orphaned, or hang with its sessions open: it is
    ended, and says where it was.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    parent = int(os.environ.get(_PARENT, os.getppid()))
    if os.getppid() != parent:
        # It died before the kernel was asked to tell. Nowhere else: told a second time,
        # Granian's worker waits for a lock for ever, and holds the interpreter with it.
        os.kill(os.getpid(), signal.SIGTERM)
    threading.Thread(target=_outlive, args=(parent, patience), daemon=True).start()


def _outlive(parent: int, patience: float) -> None:
    # Not time.sleep, which libfaketime refuses: a clock set wrong is tried by it.
    waiting = threading.Event()
    while os.getppid() == parent:
        waiting.wait(min(patience, LOOK_SECONDS))
    # By a thread of C's, which does not need the interpreter.
    faulthandler.dump_traceback_later(patience, exit=True)
