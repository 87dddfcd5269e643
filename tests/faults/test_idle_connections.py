"""Connections that ask nothing, by which one caller could shut out all others."""

import asyncio
from contextlib import AsyncExitStack
from typing import Final

import pytest

from tests.acceptance.service import Service
from tests.acceptance.wire import Connection

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("whole")]

IDLE: Final = 2_000
SLOW: Final = 400
HEAD_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 1.0


async def test_a_caller_is_answered_beside_two_thousand_idle_connections(
    service: Service,
) -> None:
    async with AsyncExitStack() as idle:
        for _ in range(IDLE):
            await idle.enter_async_context(Connection.opened(service.gateway.port))
        answer = await service.ask("GET", "/health/live", within=ANSWER_SECONDS)
        assert answer.status == 200


# What a slow-loris sends, and then no more.
HEAD: Final = "POST /v1/verify HTTP/1.1\r\nHost: gateway.example\r\n"
LENGTH: Final = "Content-Type: application/json\r\nContent-Length: 999\r\n"
HALVES: Final = {
    "head": f"{HEAD}X: ",
    "body": f"{HEAD}{LENGTH}Authorization: Bearer {{key}}\r\n\r\n{{{{",
}


@pytest.mark.parametrize("half", HALVES)
async def test_a_caller_is_answered_beside_hundreds_of_half_sent_calls(
    service: Service, half: str
) -> None:
    sent = HALVES[half].format(key=service.newcomer().key).encode()
    async with AsyncExitStack() as slow:
        for _ in range(SLOW):
            opening = Connection.opened(service.gateway.port)
            connection = await slow.enter_async_context(opening)
            connection.writer.write(sent)
        answer = await service.ask("GET", "/health/live", within=ANSWER_SECONDS)
        assert answer.status == 200


@pytest.mark.slow
async def test_a_head_that_does_not_come_is_waited_for_for_half_a_minute(
    service: Service,
) -> None:
    async def waited_for(sent: str) -> None:
        async with Connection.opened(service.gateway.port) as connection:
            connection.writer.write(sent.encode())
            async with asyncio.timeout(2 * HEAD_SECONDS):
                assert await connection.reader.read() == b""

    async with asyncio.TaskGroup() as tasks:
        # Nothing, what HTTP/2 begins with, and half a head.
        for sent in ("", "P", "PRI", HALVES["head"]):
            tasks.create_task(waited_for(sent))
