"""What is awaited to its end through cancellation."""

import asyncio

import pytest

from gateway.gathering import Outcome, settled


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
