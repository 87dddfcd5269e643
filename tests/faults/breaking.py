"""Ways to take a server away and to give it back."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import pytest

from gateway.embedded.breaking import family, frozen, killed
from gateway.embedded.postgres import PostgresServer
from gateway.embedded.valkey import ValkeyServer
from tests.acceptance import questions
from tests.acceptance.callers import Caller
from tests.acceptance.service import Service
from tests.acceptance.wire import Answer

How = Literal["stopped", "frozen"]
# The second is the slower one to be noticed, and goes to make test-all.
WAYS: Final = ("stopped", pytest.param("frozen", marks=pytest.mark.slow))


@asynccontextmanager
async def away(server: PostgresServer | ValkeyServer, how: How) -> AsyncIterator[None]:
    """The server is gone at once, or there but answering nothing; then it is back."""
    gone = killed(server) if how == "stopped" else frozen(family(server.pid))
    async with gone:
        yield


async def answer_when(
    ask: Callable[[], Awaitable[Answer]],
    wanted: Callable[[Answer], bool],
    *,
    since: float,
    within: float,
) -> Answer:
    """The first answer that is as wanted; fails if there is none `within` seconds."""
    while True:
        answer = await ask()
        if wanted(answer):
            return answer
        assert time.monotonic() < since + within, f"still {answer.body!r}"
        await asyncio.sleep(0.05)


async def account_once_back(service: Service, caller: Caller, *, within: float) -> Any:
    """The caller's account, by the first worker that can tell it again."""
    answer = await answer_when(
        lambda: service.put(questions.account(caller)),
        lambda answer: answer.status == 200,
        since=time.monotonic(),
        within=within,
    )
    return answer.json
