"""One data folder, one server, one supervisor: starting it, ending it, its leftovers.

Beside FOLDER lies FOLDER.lock, held (flock) by the process that supervises it. The
kernel frees it however that process ends, so under the lock whatever still runs in
the folder is a leftover: a server started by hand, or one whose supervisor was
killed and which is still shutting down. A start ends it first, then starts afresh.
"""

import fcntl
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

import structlog

from gateway.embedded.ports import free_port, is_free
from gateway.embedded.processes import (
    Account,
    Child,
    ServerError,
    account_for,
    command_line,
)

log = structlog.get_logger(__name__)

QUIET_S: Final = 60.0
POLL_S: Final = 0.02

Step = tuple[signal.Signals, float]


class Supervised(ABC):
    """The life of one embedded server. Not for two threads at once.

    A server outlives neither `stop` nor this process: if the process is killed, the
    kernel ends the server (Linux); elsewhere the next start does.
    """

    title: ClassVar[str]
    last_signal: ClassVar[signal.Signals]
    orderly: ClassVar[tuple[Step, ...]]

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        """Name the server; nothing is touched before `start`.

        Args:
            folder: its data, made at the first start, kept between starts.
            port: on 127.0.0.1. Without one a free port is taken at the first
                start and kept for as long as it is free at each start.
        """
        self.folder = folder.resolve()
        self._wanted_port = port
        self._child: Child | None = None
        self._lock: int | None = None

    @abstractmethod
    def _make_folder(self, account: Account) -> None:
        """Make the data folder if there is none; a crash leaves none or all of it."""

    @abstractmethod
    def _write_settings(self, account: Account, port: int) -> None: ...

    @abstractmethod
    def _remembered_port(self) -> int | None: ...

    @abstractmethod
    def _command(self) -> list[str]: ...

    @abstractmethod
    def _recorded_pid(self) -> int | None:
        """The server of this folder that is running, whoever started it."""

    @abstractmethod
    def _clear_leftovers(self) -> None:
        """Put right what a killed server left in the folder."""

    @abstractmethod
    def _is_ready(self, pid: int) -> bool: ...

    @abstractmethod
    def _progress(self) -> int:
        """A number that changes as long as a long start (recovery) moves on."""

    @property
    def pid(self) -> int | None:
        if self._child is not None and self._child.running:
            return self._child.pid
        return self._recorded_pid()

    @property
    def running(self) -> bool:
        return self.pid is not None

    @property
    def port(self) -> int:
        port = self._remembered_port()
        if port is None:
            raise ServerError(f"{self.title} in {self.folder} was never started.")
        return port

    def start(self) -> None:
        """Start the server and wait until it answers, however long recovery takes.

        A server of ours that runs is left alone. On failure nothing is left running.

        Raises:
            ServerError: another process supervises the folder, the port is taken,
                the account cannot reach the folder, or the server ended or made no
                progress for 60 seconds while starting.
        """
        if self._child is not None and self._child.running:
            return
        account = account_for(self.folder)
        if self._lock is None:
            self._lock = self._claim(account)
        try:
            self._launch(account)
        except BaseException:
            self._end(*self.orderly)
            self._release()
            raise

    def stop(self) -> None:
        """End the server, also one restarted by hand meanwhile, and free the folder.

        Does nothing if this object did not start it.
        """
        if self._lock is not None:
            self._end(*self.orderly)
            self._release()

    def kill(self) -> None:
        """SIGKILL, as a fault would; the folder stays ours, `start` recovers it.

        Does nothing if this object did not start it.
        """
        if self._lock is not None:
            self._end((signal.SIGKILL, 10.0))

    def _launch(self, account: Account) -> None:
        self._end(*self.orderly)
        self._make_folder(account)
        self._clear_leftovers()
        self._write_settings(account, self._choose_port())
        self._child = Child(
            self._command(),
            account=account,
            last_signal=self.last_signal,
            folder=self.folder,
        )
        self._await_ready(self._child)

    def _await_ready(self, child: Child) -> None:
        progress, moved = self._progress(), time.monotonic()
        while not self._is_ready(child.pid):
            if not child.running:
                raise ServerError(
                    f"{self.title} in {self.folder} ended while starting; its log is "
                    f"in that folder. It said: {child.output()}"
                )
            if (current := self._progress()) != progress:
                progress, moved = current, time.monotonic()
            if time.monotonic() - moved > QUIET_S:
                raise ServerError(
                    f"{self.title} in {self.folder} made no progress for "
                    f"{QUIET_S:.0f} s while starting; its log is in that folder."
                )
            time.sleep(POLL_S)

    def _end(self, *steps: Step) -> None:
        """Send each signal in turn to what runs here, until it is gone."""
        for step, patience in steps:
            pid = self.pid
            if pid is None:
                return
            try:
                os.kill(pid, step)
            except ProcessLookupError:
                continue
            except PermissionError as error:
                raise ServerError(
                    f"{self.title} in {self.folder} is run by another user "
                    f"(process {pid})."
                ) from error
            if wait_until(partial(self._is_over, pid), patience):
                return
            log.warning(
                "embedded_server_slow_to_end", server=self.title, signal=step.name
            )
        if self.running:
            raise ServerError(
                f"{self.title} in {self.folder} (process {self.pid}) does not end."
            )

    def _is_over(self, pid: int) -> bool:
        """PostgreSQL takes its file away before its process, and its port, are gone."""
        return not self.running and command_line(pid) == ""

    def _choose_port(self) -> int:
        if self._wanted_port is not None:
            if not is_free(self._wanted_port):
                raise ServerError(
                    f"Port {self._wanted_port}, wanted for {self.title}, is taken."
                )
            return self._wanted_port
        remembered = self._remembered_port()
        if remembered is not None and is_free(remembered):
            return remembered
        return free_port()

    def _refuse_foreign_folder(self, account: Account) -> None:
        owner = owner_of_content(self.folder)
        if owner not in (None, account.uid):
            raise ServerError(
                f"{self.folder} belongs to user {owner}, but {self.title} would run "
                f"as user {account.uid}: give it the folder with chown -R."
            )

    def _claim(self, account: Account) -> int:
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self._refuse_foreign_folder(account)
            path = beside(self.folder, "lock")
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except PermissionError as error:
            raise ServerError(
                f"We may not use {error.filename}, where {self.title} keeps its data."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 20, 0).decode().strip()
            os.close(lock)
            raise ServerError(
                f"{self.title} in {self.folder} is already run by process {holder}."
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return lock

    def _release(self) -> None:
        # The file stays: removing it would let two processes lock two files.
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def beside(folder: Path, ending: str) -> Path:
    return folder.with_name(f"{folder.name}.{ending}")


def owner_of_content(folder: Path) -> int | None:
    """The uid of a folder that is there and not empty."""
    if not folder.exists() or not any(folder.iterdir()):
        return None
    return folder.stat().st_uid


def wait_until(condition: Callable[[], bool], patience: float) -> bool:
    """Poll a condition for at most `patience` seconds; whether it came true."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def make_private_folder(path: Path, account: Account) -> None:
    path.mkdir(mode=0o700, exist_ok=True)
    os.chown(path, account.uid, account.gid)


def write_private(path: Path, text: str, account: Account) -> None:
    """Replace a file whole, 0600 and owned by the account; a crash leaves the old one.

    The folder may belong to an account that root does not trust, so the new file is
    made afresh and never through a link that someone put there.
    """
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with open(os.open(fresh, flags, 0o600), "w") as file:  # noqa: PTH123  # a descriptor
        os.fchown(file.fileno(), account.uid, account.gid)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
