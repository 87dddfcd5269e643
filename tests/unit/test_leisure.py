"""Long work lets short work go first, in the middle of it and not at its end."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from gateway.leisure import SLICE, at_leisure

PARTS, EACH = 40, SLICE / 2


def busily(done: list[int]) -> Iterator[int]:
    for number in range(PARTS):
        until = time.perf_counter() + EACH
        while time.perf_counter() < until:
            pass
        done.append(number)
        yield number


async def test_others_go_first_after_every_slice() -> None:
    done: list[int] = []
    seen: list[int] = []

    async def short() -> None:
        for _ in range(5):
            seen.append(len(done))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        long = tasks.create_task(at_leisure(busily(done)))
        tasks.create_task(short())
    assert long.result() == list(range(PARTS))
    # Two parts fill a slice; a busy machine may take one for it.
    assert seen[-1] <= 2 * len(seen)


async def test_what_lasts_is_made_whole_and_who_waits_is_cancelled_then() -> None:
    done: list[int] = []
    after: list[str] = []

    async def long() -> None:
        after.extend(map(str, await at_leisure(busily(done), lasting=True)))
        await asyncio.sleep(0)
        after.append("not cancelled")

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(long())
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()
    assert after == [str(number) for number in range(PARTS)]


async def test_what_need_not_last_ends_where_it_is_cancelled() -> None:
    done: list[int] = []
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await at_leisure(busily(done))
    assert len(done) < PARTS


async def test_short_work_is_done_at_once() -> None:
    others: list[str] = []
    asyncio.get_running_loop().call_soon(others.append, "went first")
    assert await at_leisure(iter(range(3))) == [0, 1, 2]
    assert others == []
