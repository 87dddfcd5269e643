"""No reader is led to take the body of one request for another request."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance import hostile, nginx
from tests.acceptance.callers import Caller
from tests.acceptance.hostile import Outcome
from tests.acceptance.ledger import of_institution
from tests.acceptance.service import Service
from tests.acceptance.wire import Connection

pytestmark = [pytest.mark.acceptance]

Open = Callable[[], AbstractAsyncContextManager[Connection]]
AT_ONCE: Final = 24
CASES: Final = 160
PIPELINED: Final = 50
# nginx ends a chunk by LF alone, and answers HTTP/0.9 as that wants it, without a head.
# The gateway does neither, and is asked anew by nginx, in its own words.
NGINX_READS: Final = ("chunk last ended by LF", "HTTP/0.9")


def hidden(caller: Caller) -> bytes:
    """A request that leaves an entry of this caller wherever it is taken for one."""
    head = f"Host: gateway.example\r\nAuthorization: Bearer {caller.key}\r\n"
    return f"GET /v1/account HTTP/1.1\r\n{head}\r\n".encode()


def fault(outcome: Outcome) -> str | None:
    """What is wrong about the answer to one request that nobody should understand."""
    if len(outcome.statuses) > 1:
        return f"more answers than requests: {outcome.statuses}"
    if not outcome.statuses and not outcome.closed:
        return "neither answered nor closed"
    if any(not (400 <= s < 500 or s in {501, 505}) for s in outcome.statuses):
        return f"not refused: {outcome.statuses}"
    return f"no whole answer: {outcome.rest[:40]!r}" if outcome.rest else None


async def try_all(
    service: Service, opened: Open, without: tuple[str, ...] = ()
) -> None:
    caller = service.newcomer()
    places = asyncio.Semaphore(AT_ONCE)

    async def outcome(sent: bytes) -> Outcome:
        async with places, opened() as connection:
            return await hostile.send(connection, sent)

    cases = hostile.corpus(hidden(caller))
    assert len(cases) > CASES
    async with asyncio.TaskGroup() as tasks:
        tried = {
            name: tasks.create_task(outcome(sent))
            for name, sent in cases.items()
            if name not in without
        }
    faults = {name: fault(task.result()) for name, task in tried.items()}
    assert {name: what for name, what in faults.items() if what} == {}
    # The gateway answers as ever, and by this one it would have been seen.
    assert (await outcome(hidden(caller))).statuses == (200,)
    made = await of_institution(service.auditor_dsn, caller.institution)
    assert [entry["operation"] for entry in made] == ["account"]


async def test_no_body_is_taken_for_a_request(service: Service) -> None:
    await try_all(service, lambda: Connection.opened(service.gateway.port))


async def test_no_body_is_taken_for_a_request_behind_nginx(
    service: Service, tmp_path: Path
) -> None:
    async with nginx.running(tmp_path, service.gateway.port) as front:
        await try_all(service, front.connection, without=NGINX_READS)


@pytest.mark.parametrize("front", ["gateway", "nginx"])
async def test_requests_sent_at_once_are_answered_each_and_in_order(
    service: Service, tmp_path: Path, front: str
) -> None:
    caller = service.newcomer()
    lost = b"POST /v1/verify HTTP/1.1\r\nHost: gateway.example\r\n"
    refused = lost + f"Content-Length: {len(hidden(caller))}\r\n\r\n".encode()
    sent = (hidden(caller) + refused + hidden(caller)) * PIPELINED

    async def outcome(opened: Open) -> Outcome:
        async with opened() as connection:
            return await hostile.send(connection, sent)

    if front == "gateway":
        got = await outcome(lambda: Connection.opened(service.gateway.port))
    else:
        async with nginx.running(tmp_path, service.gateway.port) as one:
            got = await outcome(one.connection)
    assert got.statuses == (200, 401) * PIPELINED
    assert got.rest == b""
