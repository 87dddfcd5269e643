"""Ports for the embedded servers: no two starts are given the same."""

import subprocess
import sys

import pytest

from gateway.embedded import ports
from gateway.embedded.processes import ServerError

# Of the four, an odd one out is missed in fifty tries once in a million.
FEW = range(19_500, 19_504)
TAKE_HALF = f"""
import sys
from gateway.embedded import ports
ports.PORTS = {FEW!r}
print(ports.free_port(), ports.free_port(), flush=True)
sys.stdin.read()
"""


def test_no_port_is_given_twice_while_its_process_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ports, "PORTS", FEW)
    with subprocess.Popen(  # noqa: S603 - our own interpreter and text
        [sys.executable, "-c", TAKE_HALF],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        theirs = {int(word) for word in other.stdout.readline().split()}
        ours = {ports.free_port(), ports.free_port()}
        assert theirs | ours == set(FEW)
        with pytest.raises(ServerError, match="No free port"):
            ports.free_port()
        other.communicate()
    assert {ports.free_port(), ports.free_port()} == theirs
