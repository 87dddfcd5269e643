"""Which port a server of ours is given."""

import secrets
import socket
from typing import Final

from gateway.embedded.processes import ServerError

HOST: Final = "127.0.0.1"
# Below the ports that outgoing connections borrow (from 32768 on Linux, 49152 on
# macOS). In that range a client that keeps asking for a stopped server can be given
# the server's own port, connect to itself, and keep it from starting again.
PORTS: Final = range(20_000, 30_000)
ATTEMPTS: Final = 50


def free_port() -> int:
    """A port of HOST that nobody listens on and no other call has been given.

    In whatever process the other call was: until this one ends the port is its own,
    also while no server listens there, since a server takes seconds to and may be
    stopped and started again. What holds it is the UDP port of the same number.

    Raises:
        ServerError: no port was found.
    """
    for _ in range(ATTEMPTS):
        port = secrets.choice(PORTS)
        if is_free(port) and _claimed(port):
            return port
    raise ServerError(f"No free port on {HOST}.")


def is_free(port: int) -> bool:
    """Whether a server could listen here (as the servers do, ignoring TIME_WAIT)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return False
    return True


def _claimed(port: int) -> bool:
    claim = socket.socket(type=socket.SOCK_DGRAM)
    try:
        claim.bind((HOST, port))
    except OSError:
        claim.close()
        return False
    claim.detach()  # open until the process ends
    return True
