"""`gateway serve` as a process of its own, seen from outside."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from gateway.embedded.ports import HOST
from gateway.embedded.processes import LAUNCHER, ServerError

READY_SECONDS: Final = 60.0
STOP_SECONDS: Final = 15.0
# By this the process that forks workers is known: gateway/forking.py.
FORKS: Final = "multiprocessing.forkserver"


class GatewayProcess:
    """One running `gateway serve`; it ends with this process, however that ends.

    Args:
        environment: all of it, settings among them.
        log_file: what it prints is added to it.
    """

    def __init__(self, environment: Mapping[str, str], log_file: Path) -> None:
        self.port = int(environment["GATEWAY_PORT"])
        self.log_file = log_file
        launch = [
            *(sys.executable, "-I", "-S", str(LAUNCHER)),
            *(str(os.geteuid()), str(os.getegid()), "plain"),
            *(str(int(signal.SIGTERM)), str(os.getpid())),
        ]
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [*launch, sys.executable, "-m", "gateway", "serve"],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Its own session: the terminal's Ctrl-C is ours to pass on, in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Waits until a worker answers that it is.

        Raises:
            ServerError: it ended, or none did for a minute.
        """
        deadline = time.monotonic() + READY_SECONDS
        while self.running and time.monotonic() < deadline:
            with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                url = f"http://{HOST}:{self.port}/health/ready"
                with urllib.request.urlopen(url, timeout=2):
                    return
            time.sleep(0.1)
        raise ServerError(f"The gateway did not start; see {self.log_file}.")

    def stop(self) -> None:
        """SIGTERM, and what of it has not ended in 15 s is killed.

        Raises:
            TimeoutExpired: it did not end by itself.
        """
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        finally:
            self.kill_all()

    def kill(self) -> None:
        """SIGKILL of the parent alone; its workers and its sealer find out."""
        self._process.kill()
        self._process.wait()

    def kill_all(self) -> None:
        """Whatever is left of it, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def workers(self) -> set[int]:
        """The pids of its workers: children of the process that forks them."""
        found = set()
        for child in self._children():
            with suppress(psutil.NoSuchProcess):
                if FORKS in " ".join(child.cmdline()):
                    found |= {worker.pid for worker in child.children()}
        return found

    def listening(self) -> int:
        """How many of them take connections: one that was just begun does not yet."""
        return sum(_listens(pid) for pid in self.workers())

    def sealer(self) -> int | None:
        """The pid of its sealer, while there is one."""
        for child in self._children():
            with suppress(psutil.NoSuchProcess):
                if child.cmdline()[-1:] == ["seal"]:
                    return child.pid
        return None

    def _children(self) -> list[psutil.Process]:
        return psutil.Process(self._process.pid).children()


def _listens(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        held = psutil.Process(pid).net_connections("tcp")
        return any(one.status == psutil.CONN_LISTEN for one in held)
    return False
