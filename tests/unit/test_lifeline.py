"""What is started by us ends when we do, though it may not want to."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DEAF = """
import signal, time
from gateway.lifeline import end_with_parent

signal.signal(signal.SIGTERM, signal.SIG_IGN)
end_with_parent(0.2)
print(flush=True)
time.sleep(600)
"""
HANGING = """
import ctypes, signal, time
from gateway.lifeline import end_with_parent

# PyDLL: nothing else of this interpreter runs meanwhile.
signal.signal(signal.SIGTERM, lambda *_: ctypes.PyDLL(None).sleep(600))
end_with_parent(0.2)
print(flush=True)
time.sleep(600)
"""
LATE = """
import time
from gateway.lifeline import end_with_parent

end_with_parent(5)
time.sleep(600)
"""
PARENT = """
import subprocess, sys, time

child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("child_text", [DEAF, HANGING], ids=["deaf", "hanging"])
def test_a_child_that_does_not_come_to_its_end_ends_all_the_same(
    child_text: str,
) -> None:
    parent = subprocess.Popen(  # noqa: S603 - our own Python
        [sys.executable, "-c", PARENT, child_text], stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        time.sleep(0.5)
        os.kill(child, 0)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_whose_parent_was_gone_before_it_looked_ends_too() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    late = subprocess.run(  # noqa: S603 - our own Python
        [sys.executable, "-c", LATE],
        env={**os.environ, "GATEWAY_PARENT": str(ended.pid)},
        check=False,
        timeout=60,
    )
    assert late.returncode == -signal.SIGTERM


def is_alive(pid: int) -> bool:
    """Not gone, and not waiting to be collected by nobody."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
