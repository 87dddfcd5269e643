"""Connections that ask nothing, by which one caller could shut out all others."""

from contextlib import AsyncExitStack
from typing import Final

import pytest

from tests.acceptance.service import Service
from tests.acceptance.wire import Connection

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("whole")]

IDLE: Final = 2_000
ANSWER_SECONDS: Final = 1.0


async def test_a_caller_is_answered_beside_two_thousand_idle_connections(
    service: Service,
) -> None:
    async with AsyncExitStack() as idle:
        for _ in range(IDLE):
            await idle.enter_async_context(Connection.opened(service.gateway.port))
        answer = await service.ask("GET", "/health/live", within=ANSWER_SECONDS)
        assert answer.status == 200
