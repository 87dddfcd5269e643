"""Workers are forked from one that has imported what they need, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere workers are spawned"
)

BEGUN: Final = """
import contextlib, gc, os, signal, sys
import gateway.nursery

print(gc.isenabled(), gc.get_freeze_count() > 100_000)
print("gateway.app" in sys.modules, "gateway.cli" in sys.modules)
print(os.listdir("/proc/self/task") == [str(os.getpid())])
held = set()
for fd in map(int, os.listdir("/proc/self/fd")):
    # The last is that of the listing.
    with contextlib.suppress(FileNotFoundError):
        held |= {os.path.dirname(os.readlink(f"/proc/self/fd/{fd}"))} if fd > 2 else set()
print(held == {os.environ["PROMETHEUS_MULTIPROC_DIR"]})
print({signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)} == {signal.SIG_IGN})
"""
# A supervisor, whose workers say what they are of, and at their end that it came.
SUPERVISOR: Final = """
import atexit, os, pathlib
from gateway import forking

def begin(after):
    os.environ[forking.BEGINS_AFTER] = after
    worker = forking.mp.WorkerProcess(None, 0, say, ())
    worker.interrupt_by_parent = True
    worker.start()
    worker.inner.join()

def say():
    import installed

    said = (os.environ[forking.BEGINS_AFTER], installed.said, str(os.getppid()))
    atexit.register(print, *said, flush=True)

def supervise(nursery):
    forking._NURSERY = nursery
    forking.fork_workers()
"""
RELOADED: Final = """
if __name__ == "__main__":
    code = pathlib.Path("installed.py")
    code.write_text("said = 'old'")
    supervise("installed")
    begin("start")
    code.write_text("said = 'newer'")
    begin("death")
    forking.import_anew()
    begin("reload")
    begin("death")
"""
STARTED: Final = """
if __name__ == "__main__":
    supervise("dying")
    begin("start")
    print(os.getpid())
"""
DYING_ONCE: Final = """
import os, pathlib

if not pathlib.Path("died").exists():
    pathlib.Path("died").touch()
    os._exit(1)
"""
DYING: Final = "raise RuntimeError"


def run(*told: str, folder: Path) -> tuple[list[str], str]:
    """The lines that it wrote, and its complaints."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, *told],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)},
        timeout=60,
    )
    return done.stdout.splitlines(), done.stderr


def supervised(folder: Path, what: str) -> tuple[list[list[str]], str]:
    (folder / "supervisor.py").write_text(SUPERVISOR + what)
    lines, complaints = run("supervisor.py", folder=folder)
    return [line.split(" ") for line in lines], complaints


def test_what_forks_workers_has_imported_theirs_and_holds_nothing(
    tmp_path: Path,
) -> None:
    lines, complaints = run("-c", BEGUN, folder=tmp_path)
    assert lines == ["False True", "True False", "True", "True", "True"]
    assert not complaints


def test_workers_share_what_was_imported_until_a_reload(tmp_path: Path) -> None:
    begun, complaints = supervised(tmp_path, RELOADED)
    assert not complaints
    assert [after for after, *_ in begun] == ["start", "death", "reload", "death"]
    assert [code for _, code, _ in begun] == ["old", "old", "newer", "newer"]
    forked_by = [forker for *_, forker in begun]
    assert forked_by[0] == forked_by[1] != forked_by[2] == forked_by[3]


@pytest.mark.parametrize(("dying", "times"), [(DYING_ONCE, 1), (DYING, 3)])
def test_a_worker_begins_although_what_forks_died(
    tmp_path: Path, dying: str, times: int
) -> None:
    (tmp_path / "dying.py").write_text(dying)
    (tmp_path / "installed.py").write_text("said = 'it'")
    ((after, said, begun_by), (supervisor,)), complaints = supervised(tmp_path, STARTED)
    assert (after, said) == ("start", "it")
    assert complaints.count("No worker was forked") == times
    # After as many tries as there are it is spawned.
    assert (begun_by == supervisor) is (times == 3)
