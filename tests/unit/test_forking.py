"""Workers are forked from one that has imported what they need, and nothing else."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere workers are spawned"
)

BEGUN: Final = """
import gc, os, signal, sys
import gateway.nursery

print(gc.isenabled(), gc.get_freeze_count() > 100_000)
print("gateway.app" in sys.modules, "gateway.cli" in sys.modules)
print(os.listdir("/proc/self/task") == [str(os.getpid())])
print(signal.getsignal(signal.SIGTERM) == signal.SIG_IGN)
"""
# A supervisor that begins a worker, has its code changed, and begins two more.
RELOADED: Final = """
import os, pathlib
from gateway import forking

def begin(after):
    os.environ[forking.BEGINS_AFTER] = after
    worker = forking.mp.WorkerProcess(None, 0, say, ())
    worker.interrupt_by_parent = True
    worker.start()
    worker.inner.join()

def say():
    import installed

    print(os.environ[forking.BEGINS_AFTER], installed.said, os.getppid(), flush=True)

if __name__ == "__main__":
    code = pathlib.Path("installed.py")
    code.write_text("said = 'old'")
    forking._NURSERY = "installed"
    forking.fork_workers()
    begin("start")
    code.write_text("said = 'newer'")
    begin("death")
    forking.import_anew()
    begin("reload")
    begin("death")
"""

# What forks dies while it begins, but not twice.
DYING: Final = """
import os, pathlib

if not pathlib.Path("died").exists():
    pathlib.Path("died").touch()
    os._exit(1)
"""
BEGUN_AGAIN: Final = (
    RELOADED.partition("if __name__")[0]
    + """
if __name__ == "__main__":
    forking._NURSERY = "dying"
    forking.fork_workers()
    begin("start")
"""
)


def run(*told: str, folder: Path | None = None, complaint: str = "") -> str:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, *told],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        timeout=60,
    )
    assert done.stderr == complaint
    return done.stdout


def test_what_forks_workers_has_imported_theirs_and_holds_nothing() -> None:
    said = run("-c", BEGUN).splitlines()
    assert said == ["False True", "True False", "True", "True"]


def test_workers_share_what_was_imported_until_a_reload(tmp_path: Path) -> None:
    supervisor = tmp_path / "supervisor.py"
    supervisor.write_text(RELOADED)
    lines = run(str(supervisor), folder=tmp_path).splitlines()
    begun = [line.split(" ") for line in lines]
    assert [after for after, *_ in begun] == ["start", "death", "reload", "death"]
    assert [code for _, code, _ in begun] == ["old", "old", "newer", "newer"]
    forked_by = [forker for *_, forker in begun]
    assert forked_by[0] == forked_by[1] != forked_by[2] == forked_by[3]


def test_a_worker_is_forked_although_what_forks_died(tmp_path: Path) -> None:
    (tmp_path / "dying.py").write_text(DYING)
    (tmp_path / "installed.py").write_text("said = 'it'")
    supervisor = tmp_path / "supervisor.py"
    supervisor.write_text(BEGUN_AGAIN)
    complaint = "No worker was forked (EOFError); again\n"
    lines = run(str(supervisor), folder=tmp_path, complaint=complaint)
    after, said, _ = lines.split(" ")
    assert (tmp_path / "died").exists()
    assert (after, said) == ("start", "it")
