"""A worker that is about to leave: it answers all that comes, and says goodbye with it.

A connection that is kept open may be closed in the very moment in which its caller asks
again, who then cannot know whether the call was made. So for a while before a worker ends
each of its answers closes its connection, in order, and new ones go to another worker.
"""

import ctypes
import os
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway.forking import LEAVE

log = structlog.get_logger()

CLOSE: Final = (b"connection", b"close")
# From <asm-generic/socket.h> and <linux/bpf_common.h>.
SO_ATTACH_REUSEPORT_CBPF: Final = 51
BPF_RET_K: Final = 0x06


class Leaving:
    """An ASGI application: `app`, which says goodbye once it has been told to leave.

    Args:
        app: answers.
        newest: the number, in the order in which the workers began to listen on their
            port, of the one that takes over.
    """

    def __init__(self, app: ASGIApp, *, newest: int) -> None:
        self._app = app
        self._newest = newest
        self._leaving = False
        signal.signal(LEAVE, self._leave)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._leaving or scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return

        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], CLOSE]
            await send(message)

        await self._app(scope, receive, send_last)

    def _leave(self, *_: object) -> None:
        self._leaving = True
        if sys.platform == "linux":
            for listener in listeners():
                try:
                    lead(listener, self._newest)
                except OSError as error:
                    # They still come here, and are told goodbye with their answer.
                    log.warning("not_led_elsewhere", error=type(error).__name__)


def listeners() -> Iterator[socket.socket]:
    """This process's listening sockets, each under a descriptor of its own."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError), _socket(int(entry.name)) as one:
            if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                yield one


def _socket(descriptor: int) -> socket.socket:
    """Raises OSError where it is none, or none any more."""
    own = os.dup(descriptor)
    try:
        return socket.socket(fileno=own)
    except OSError:
        os.close(own)
        raise


def lead(listener: socket.socket, number: int) -> None:
    """New connections go to one of the sockets that share its port (socket(7)).

    Where there is none of that number any more, the kernel chooses as before.
    """
    code = ctypes.create_string_buffer(struct.pack("HBBI", BPF_RET_K, 0, 0, number))
    program = struct.pack("HP", 1, ctypes.addressof(code))
    listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)
