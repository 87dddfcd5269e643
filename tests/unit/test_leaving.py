"""A worker that leaves closes its connections in order, and is given no new ones."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from litestar.enums import ScopeType

from gateway.edge.leaving import Leaving, lead, listeners
from gateway.forking import LEAVE

HERE = "127.0.0.1"


@pytest.fixture(autouse=True)
def usual_signal() -> Iterator[None]:
    before = signal.getsignal(LEAVE)
    yield
    signal.signal(LEAVE, before)


async def answer(_: Any, __: Any, send: Any) -> None:
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def headers_of(app: Any) -> list[tuple[bytes, bytes]]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": ScopeType.HTTP}, None, send)
    start, body = sent
    assert (start["status"], body["more_body"]) == (200, False)
    return [*start["headers"]]


async def test_answers_close_their_connection_once_it_was_told_to_leave() -> None:
    app = Leaving(answer, newest=2)
    usual = [(b"content-length", b"0")]
    assert await headers_of(app) == usual
    os.kill(os.getpid(), LEAVE)
    assert await headers_of(app) == [*usual, (b"connection", b"close")]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own choice elsewhere")
def test_new_connections_go_to_the_one_that_is_named() -> None:
    with ExitStack() as held:
        sharing: list[socket.socket] = []
        for _ in range(3):
            one = held.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind((HERE, sharing[0].getsockname()[1] if sharing else 0))
            one.listen()
            one.settimeout(5)
            sharing.append(one)
        lead(sharing[0], 2)
        for _ in range(20):
            held.enter_context(socket.create_connection(sharing[0].getsockname()))
            held.enter_context(sharing[2].accept()[0])
        found = [one.getsockname() for one in listeners()]
        assert found.count(sharing[0].getsockname()) == len(sharing)
