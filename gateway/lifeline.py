"""Ties a process of ours to the one that started it."""

import ctypes
import os
import signal
import sys
import threading
import time
from typing import Final

_PR_SET_PDEATHSIG = 1
# Longer than a worker may take for the calls under way.
PATIENCE_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 1.0


def end_with_parent(patience: float = PATIENCE_SECONDS) -> None:
    """Has this process end in order when its parent dies (Linux only), or else at once.

    The kernel sends SIGTERM. A server that does not come to its end by that after
    `patience` seconds would spin on, orphaned: it is ended without further words.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    parent = os.getppid()
    threading.Thread(target=_outlive, args=(parent, patience), daemon=True).start()


def _outlive(parent: int, patience: float) -> None:
    while os.getppid() == parent:
        time.sleep(min(patience, LOOK_SECONDS))
    time.sleep(patience)
    os._exit(1)
