"""What is awaited to its end through cancellation, and for how long it is awaited."""

import asyncio
import threading
import time

import pytest

from gateway.gathering import Outcome, PatienceUntil, settled

# What a busy test machine may add to waking up.
SLACK = 0.15


async def test_a_timeout_around_what_is_settled_comes_when_it_is() -> None:
    loop = asyncio.get_running_loop()
    future = Outcome[int](loop=loop)
    loop.call_later(0.05, future.set_result, 5)
    heard: list[int] = []

    async def impatient() -> None:
        async with asyncio.timeout(0.01):
            heard.append(await settled(future))
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        await impatient()
    assert heard == [5]


async def test_what_is_settled_is_not_cancelled_by_who_waits_for_it() -> None:
    loop = asyncio.get_running_loop()
    future = Outcome[int](loop=loop)
    heard: list[int] = []

    async def wait() -> None:
        heard.append(await settled(future))
        await asyncio.sleep(60)

    waiting = loop.create_task(wait())
    for _ in range(3):
        await asyncio.sleep(0.01)
        waiting.cancel()
    await asyncio.sleep(0.01)
    assert not waiting.done()
    future.set_result(5)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert heard == [5]


async def test_an_answer_that_came_while_the_loop_stood_still_is_heard() -> None:
    loop = asyncio.get_running_loop()
    answered = loop.create_future()
    threading.Timer(0.02, loop.call_soon_threadsafe, [answered.set_result, 1]).start()
    async with PatienceUntil(loop.time() + 0.05):
        await asyncio.sleep(0)
        time.sleep(0.15)  # noqa: ASYNC251 - that is the matter
        assert await answered == 1


async def test_patience_ends_at_its_deadline_while_the_loop_is_free() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(TimeoutError):
        async with PatienceUntil(began + 0.05):
            await asyncio.sleep(10)
    assert 0.05 <= loop.time() - began < 0.05 + SLACK
    async with PatienceUntil(loop.time() + 0.05):
        pass
    await asyncio.sleep(0.1)
