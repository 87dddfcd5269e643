"""Child processes that end when we do, under an account that may do little.

Any thread may start a child: a thread of its own forks it, waits for it and ends
with it. That thread is what the kernel's parent-death signal watches, and because
it always waits, a child that dies is never left as a zombie whose pid looks alive.
"""

import os
import pwd
import signal
import stat
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Final

LAUNCHER: Final = Path(__file__).with_name("launch.py")
OUTPUT_BYTES: Final = 2_000
# setgid, setuid, setpcap and dac_read_search: what lending the last one takes.
CAPABILITIES_TO_LEND_REACH: Final = 1 << 6 | 1 << 7 | 1 << 8 | 1 << 2

# Nothing of ours is inherited: our environment may hold secrets, and PG* variables
# in it would change what the servers do.
ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class ServerError(Exception):
    """An embedded server cannot be run; the text is for the person who started it."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a server runs as."""

    uid: int
    gid: int

    def has(self, right: int, path: Path) -> bool:
        """Whether the mode bits of `path` grant `right` (4 read, 2 write, 1 enter)."""
        info = path.stat()
        if info.st_uid == self.uid:
            return bool(stat.S_IMODE(info.st_mode) >> 6 & right)
        if info.st_gid == self.gid:
            return bool(stat.S_IMODE(info.st_mode) >> 3 & right)
        return bool(info.st_mode & right)

    def barrier(self, path: Path) -> Path | None:
        """The first folder above `path` that this account cannot enter."""
        above = reversed(path.resolve().parents)
        return next((folder for folder in above if not self.has(1, folder)), None)


def account_for(folder: Path) -> Account:
    """Whom the server of `folder` runs as: us, or as root someone who may do less.

    As root it is the owner of an existing folder, so that nobody's data changes
    hands, and `nobody` for a new one: PostgreSQL refuses to run as root.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    if folder.exists() and (owner := folder.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise ServerError(
            "This machine has no account `nobody` to run the servers as: "
            "start the gateway as an ordinary user."
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


class Child:
    """A running program, in a session of its own: a terminal's Ctrl-C misses it.

    Args:
        command: the program's absolute path and its arguments; no secrets, since
            every user of the machine can read them.
        account: whom it runs as.
        last_signal: what the kernel sends it when this process dies (Linux only).
        folder: where it keeps its data; with the program, what it must reach.

    Raises:
        ServerError: the account can neither reach the folder or the program nor
            be lent the right to.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        account: Account,
        last_signal: signal.Signals,
        folder: Path,
    ) -> None:
        reach = _must_lend_reach(account, Path(command[0]), folder)
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # closed with us
        weakref.finalize(self, self._output.close)
        launch = [
            *(sys.executable, "-I", "-S", str(LAUNCHER)),
            *(str(account.uid), str(account.gid), "reach" if reach else "plain"),
            *(str(int(last_signal)), str(os.getpid())),
            *command,
        ]
        started: Future[subprocess.Popen[bytes]] = Future()
        Thread(target=self._keep, args=(launch, started), daemon=True).start()
        self._process = started.result()

    def _keep(
        self, launch: list[str], started: "Future[subprocess.Popen[bytes]]"
    ) -> None:
        try:
            process = subprocess.Popen(  # noqa: S603  # our own argv, no shell
                launch,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except BaseException as error:  # noqa: BLE001  # raised by result() instead
            started.set_exception(error)
            return
        started.set_result(process)
        process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def finish(self) -> int:
        """Wait for a program that ends by itself; its exit status."""
        try:
            return self._process.wait()
        except BaseException:
            self._process.kill()
            raise

    def output(self) -> str:
        """The end of what it printed, read without moving the child's own offset."""
        size = os.fstat(self._output.fileno()).st_size
        start = max(0, size - OUTPUT_BYTES)
        text = os.pread(self._output.fileno(), OUTPUT_BYTES, start)
        return text.decode(errors="replace").strip()


def _must_lend_reach(account: Account, program: Path, folder: Path) -> bool:
    """Whether the child needs CAP_DAC_READ_SEARCH to get at its files.

    It does when root keeps the clone or the data below a private folder, such as
    /root. The child may then read and search everywhere, but write nowhere new.
    """
    if account.uid == os.geteuid():
        return False
    if not account.has(1, program):
        raise ServerError(
            f"User {account.uid} may not execute {program}: "
            f"run `chmod -R go+rX {program.parents[1]}`."
        )
    barrier = account.barrier(program) or account.barrier(folder)
    if barrier is not None and not _can_lend_reach():
        raise ServerError(
            f"As root the servers run as user {account.uid}, who cannot enter "
            f"{barrier}, and this container does not allow CAP_DAC_READ_SEARCH: "
            f"start the gateway as an ordinary user, keep the clone and the data "
            f"elsewhere, or run `chmod o+x {barrier}`."
        )
    return barrier is not None


def _can_lend_reach() -> bool:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    held = next((int(line[7:], 16) for line in lines if line.startswith("CapEff:")), 0)
    return held & CAPABILITIES_TO_LEND_REACH == CAPABILITIES_TO_LEND_REACH


def command_line(pid: int) -> str:
    """The command line of a process; empty for one that is gone or a zombie."""
    words = b""
    if sys.platform == "linux":
        with suppress(FileNotFoundError, ProcessLookupError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
    else:
        words = subprocess.run(  # noqa: S603  # fixed program and a number
            ["/bin/ps", "-o", "command=", "-p", str(pid)],
            capture_output=True,
            check=False,
        ).stdout
    return words.replace(b"\0", b" ").decode(errors="replace")
