"""Bodies that come drop by drop, by which a caller could keep connections for ever."""

import asyncio
import time
from contextlib import suppress
from typing import Final

import pytest

from gateway.edge.caller import BODY_SECONDS
from gateway.edge.lingering import LINGER_SECONDS
from tests.acceptance import hostile, questions
from tests.acceptance.ledger import of_institution
from tests.acceptance.service import Service
from tests.acceptance.wire import Connection

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.slow,
    pytest.mark.usefixtures("whole"),
]

DROP_SECONDS: Final = 0.5
# And what a busy machine takes for it.
ENDED_WITHIN: Final = BODY_SECONDS + LINGER_SECONDS + 15
JSON: Final = "Content-Type: application/json\r\n"
NDJSON: Final = "Content-Type: application/x-ndjson\r\n"
FORM: Final = "Content-Type: application/x-www-form-urlencoded\r\n"
JOB: Final = "/v1/jobs?operation=verify&purpose=treatment"
LENGTH: Final = "Content-Length: 9999\r\n"
CHUNKED: Final = "Transfer-Encoding: chunked\r\n"


async def dripped(
    service: Service, target: str, head: str, drop: bytes
) -> tuple[list[int], float]:
    """What came back for a call whose body is sent so; seconds until the server's end."""
    async with Connection.opened(service.gateway.port) as connection:
        start = f"POST {target} HTTP/1.1\r\nHost: gateway.example\r\n{head}\r\n"
        connection.writer.write(start.encode())
        began = time.monotonic()
        async with asyncio.timeout(3 * ENDED_WITHIN), asyncio.TaskGroup() as tasks:
            dripping = tasks.create_task(drip(connection, drop))
            received = await read_to_its_end(connection)
            dripping.cancel()
        statuses, rest = hostile.parted(received)
        assert rest == b"", received
        return statuses, time.monotonic() - began


async def read_to_its_end(connection: Connection) -> bytes:
    received = b""
    with suppress(ConnectionError):
        while piece := await connection.reader.read(65_536):
            received += piece
    return received


async def drip(connection: Connection, drop: bytes) -> None:
    with suppress(ConnectionError):
        while True:
            connection.writer.write(drop)
            await connection.writer.drain()
            await asyncio.sleep(DROP_SECONDS)


async def test_whose_body_comes_drop_by_drop_is_told_and_ended(
    service: Service,
) -> None:
    caller = service.newcomer()
    for pid in service.gateway.workers():
        # Each has its connections then, and is not asked to make one on a busy machine.
        async with service.gateway.connection_to(pid) as connection:
            asked = questions.account(service.sample("bank"))
            assert (await asked.put(connection)).status == 200
    key = f"Authorization: Bearer {caller.key}\r\n"
    ways = [
        ("/v1/verify", key + JSON + LENGTH, b" "),
        ("/v1/verify", key + JSON + CHUNKED, b"1\r\n \r\n"),
        # The way through Litestar.
        ("/v1/batch", key + JSON + LENGTH, b" "),
        (JOB, key + NDJSON + LENGTH, b" "),
        ("/console/session", FORM + LENGTH, b"a"),
    ]
    async with asyncio.TaskGroup() as tasks:
        tried = [tasks.create_task(dripped(service, *way)) for way in ways]
    for (target, _, _), one in zip(ways, tried, strict=True):
        statuses, seconds = one.result()
        assert statuses == [408], target
        assert BODY_SECONDS - 0.5 < seconds < ENDED_WITHIN, target
    made = await of_institution(service.auditor_dsn, caller.institution)
    told = [(entry["outcome"], entry["reason"], entry["charged"]) for entry in made]
    assert told == [("refused", "request-timeout", 0)] * 4


async def test_a_job_that_comes_steadily_is_read_however_long_it_takes(
    service: Service,
) -> None:
    """Not its end: that it is still read long after a body that stands still is not."""
    caller = service.newcomer()
    async with Connection.opened(service.gateway.port) as connection:
        head = (
            f"POST {JOB} HTTP/1.1\r\nHost: gateway.example\r\n"
            f"Authorization: Bearer {caller.key}\r\n{NDJSON}{CHUNKED}\r\n"
        )
        connection.writer.write(head.encode())
        line = b"{}" + b" " * 15_000 + b"\n"
        chunk = f"{len(line):x}\r\n".encode() + line + b"\r\n"
        until = time.monotonic() + 2 * BODY_SECONDS
        while time.monotonic() < until:
            connection.writer.write(chunk)
            await connection.writer.drain()
            await asyncio.sleep(DROP_SECONDS)
        connection.writer.write(b"0\r\n\r\n")
        answer = await connection.reader.readuntil(b"\r\n")
    # Every line of it was read, and found wanting.
    assert answer.startswith(b"HTTP/1.1 400 ")
