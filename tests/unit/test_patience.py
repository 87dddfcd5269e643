"""A wait that is ended in time, and only by its own end or by who cancels it."""

import asyncio
import threading
import time

import pytest

from gateway.patience import Patience, PatienceUntil

SOON = 0.02
# What a busy test machine may add to waking up.
SLACK = 0.15


async def test_a_wait_that_is_too_long_is_ended_in_time() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError), Patience(SOON):
        await asyncio.sleep(5)
    assert SOON * 0.9 <= time.monotonic() - began < 1


async def test_afterwards_the_task_is_as_it_was() -> None:
    with pytest.raises(TimeoutError), Patience(SOON):
        await asyncio.sleep(5)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_wait_that_was_over_before_is_never_ended() -> None:
    with Patience(SOON):
        await asyncio.sleep(0)
    await asyncio.sleep(SOON * 3)


async def test_no_time_at_all_is_enough_for_what_is_there_already() -> None:
    with Patience(-1):
        pass
    await asyncio.sleep(SOON)


async def test_an_error_of_what_is_waited_for_is_told_as_it_is() -> None:
    with pytest.raises(ValueError, match="odd"), Patience(SOON):
        raise ValueError("odd")


async def hold(seconds: float) -> None:
    with Patience(seconds):
        await asyncio.sleep(5)


async def test_a_task_that_another_cancels_in_the_same_moment_is_cancelled() -> None:
    async with asyncio.TaskGroup() as tasks:
        holding = tasks.create_task(hold(0))
        await asyncio.sleep(0)
        # Both timers go off in one pass of the loop, before the task runs again.
        asyncio.get_running_loop().call_later(0, holding.cancel)
    assert holding.cancelled()


async def test_a_task_that_another_cancels_first_is_cancelled() -> None:
    async with asyncio.TaskGroup() as tasks:
        holding = tasks.create_task(hold(5))
        await asyncio.sleep(0)
        holding.cancel()
    assert holding.cancelled()


async def test_an_answer_that_came_while_the_loop_stood_still_is_heard() -> None:
    loop = asyncio.get_running_loop()
    answered = loop.create_future()
    threading.Timer(0.02, loop.call_soon_threadsafe, [answered.set_result, 1]).start()
    with PatienceUntil(loop.time() + 0.05):
        await asyncio.sleep(0)
        time.sleep(0.15)  # noqa: ASYNC251 - that is the matter
        assert await answered == 1


async def test_patience_ends_at_its_deadline_while_the_loop_is_free() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(TimeoutError), PatienceUntil(began + 0.05):
        await asyncio.sleep(10)
    assert 0.05 <= loop.time() - began < 0.05 + SLACK
    with PatienceUntil(loop.time() + 0.05):
        pass
    await asyncio.sleep(0.1)
