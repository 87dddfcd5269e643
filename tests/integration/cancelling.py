"""Calls that are cancelled at any await of theirs."""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any

from gateway.calls import Call, Question
from gateway.lookup import Lookups
from tests.integration.desks import Desk

Work = Callable[[Lookups, Call[Question]], Coroutine[Any, Any, Any]]


@types.coroutine
def cancelled_from(
    coroutine: Coroutine[Any, Any, Any], first: int, last: int, taken: list[int]
) -> Generator[Any, Any, Any]:
    """Awaits it; cancels its task at each suspension from the first to the last."""
    go_on = partial(coroutine.send, None)
    while True:
        try:
            awaited = go_on()
        except StopIteration as ended:
            return ended.value
        taken.append(len(taken) + 1)
        task = asyncio.current_task()
        if task is not None and first <= taken[-1] <= last:
            task.cancel()
        try:
            yield awaited
        except BaseException as thrown:  # noqa: BLE001 - handed on to the coroutine
            go_on = partial(coroutine.throw, thrown)
        else:
            go_on = partial(coroutine.send, None)


async def suspensions(desk: Desk, work: Work, first: int, last: int) -> list[int]:
    """How many there were, when it is cancelled between these."""
    taken: list[int] = []

    async def call() -> None:
        await cancelled_from(work(desk.lookups, desk.call()), first, last, taken)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(call())
        await asyncio.wait([task])
    assert task.cancelled() == (first > 0)
    return taken
