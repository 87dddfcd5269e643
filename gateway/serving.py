"""Runs the workers: one application each, on one port, respawned when they die."""

import ctypes
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from granian.constants import Interfaces, Loops, RuntimeModes
from granian.log import LogLevels
from granian.server.mp import MPServer
from litestar import Litestar
from typing_extensions import override

from gateway.app import create_app
from gateway.settings import NumberedKeys, ServeSettings, read_settings

DRAIN_SECONDS = 10
RESPAWN_PAUSE = 0.3
_PR_SET_PDEATHSIG = 1


class Workers(MPServer):
    """Granian's supervisor, which does not give up on a worker that dies twice.

    Its own ends everything when one dies again within 5.5 s of its respawn.
    """

    @override
    def _respawn_workers(self, *args: Any, **kwargs: Any) -> None:
        # One that dies at every start must not take a core with it.
        time.sleep(RESPAWN_PAUSE)
        super()._respawn_workers(*args, **kwargs)
        self.respawned_wrks.clear()


def serve() -> None:
    """Serves until SIGTERM or SIGINT, then lets calls under way end.

    Raises:
        BadSetting: before anything is started.
    """
    settings = read_settings(ServeSettings)
    NumberedKeys.read(settings.pepper_file, setting="GATEWAY_PEPPER_FILE")
    NumberedKeys.read(settings.subject_keys_file, setting="GATEWAY_SUBJECT_KEYS_FILE")
    # A worker begins afresh: a fork would inherit modules that chose at their import
    # how to count, before the folder for it was named.
    multiprocessing.set_start_method("spawn", force=True)
    metrics = Path(tempfile.mkdtemp(prefix="gateway-metrics-"))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
    try:
        Workers(
            "gateway.serving:worker",
            factory=True,
            address=str(settings.host),
            port=settings.port,
            interface=Interfaces.ASGI,
            workers=settings.workers or os.cpu_count() or 1,
            runtime_mode=RuntimeModes.st,
            loop=Loops.uvloop,
            websockets=False,
            respawn_failed_workers=True,
            workers_kill_timeout=DRAIN_SECONDS,
            log_level=LogLevels.warning,
        ).serve()
    finally:
        shutil.rmtree(metrics, ignore_errors=True)


def worker() -> Litestar:
    """The application of one worker, which ends with its supervisor."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    return create_app()
