"""One flush under way while the next collects; bounded in time and in number."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.gathering import Gatherer, Unanswered

PATIENCE = 0.2
# What a busy test machine may add to waking up.
SLACK = 0.15


class Server:
    """Answers ten times the number asked, once it is let; keeps what it was sent."""

    def __init__(self) -> None:
        self.flushes: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.broken: set[int] = set()

    async def answer(self, asks: list[int]) -> list[int]:
        self.flushes.append(asks)
        await self.open.wait()
        if self.broken.intersection(asks):
            raise ConnectionError("the flush failed")
        return [ask * 10 for ask in asks]


@asynccontextmanager
async def gathering(
    flush: Callable[[list[int]], Awaitable[list[int]]],
    *,
    most: int = 100,
    capacity: int = 1000,
) -> AsyncIterator[tuple[Gatherer[int, int], asyncio.TaskGroup]]:
    async with asyncio.TaskGroup() as tasks:
        gatherer = Gatherer[int, int](
            flush,
            stage="test",
            tasks=tasks,
            most=most,
            capacity=capacity,
            patience=PATIENCE,
        )
        yield gatherer, tasks


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def fate(ask: Awaitable[int]) -> bool | None:
    """None for an answer, else whether the ask was sent."""
    try:
        await ask
    except Unanswered as unanswered:
        return unanswered.sent
    return None


async def test_while_one_flush_is_under_way_the_next_collects() -> None:
    server = Server()
    server.open.clear()
    async with gathering(server.answer) as (gatherer, tasks):
        asks = [tasks.create_task(gatherer.ask(0))]
        await turns()
        asks += [tasks.create_task(gatherer.ask(n)) for n in range(1, 8)]
        await turns()
        assert server.flushes == [[0]]
        server.open.set()
        assert await asyncio.gather(*asks) == [n * 10 for n in range(8)]
    assert server.flushes == [[0], list(range(1, 8))]


async def test_an_idle_gatherer_answers_without_waiting_for_others() -> None:
    async with gathering(Server().answer) as (gatherer, tasks):
        ask = tasks.create_task(gatherer.ask(7))
        await turns()
        assert ask.done()
        assert await ask == 70


async def test_a_flush_carries_no_more_than_the_most_it_may() -> None:
    server = Server()
    async with gathering(server.answer, most=3) as (gatherer, _):
        await asyncio.gather(*(gatherer.ask(n) for n in range(8)))
    assert [len(flush) for flush in server.flushes] == [3, 3, 2]


async def test_one_flush_is_under_way_at_a_time() -> None:
    server = Server()
    server.open.clear()
    async with gathering(server.answer, most=2) as (gatherer, tasks):
        asks = [tasks.create_task(gatherer.ask(n)) for n in range(9)]
        await turns(20)
        assert len(server.flushes) == 1
        server.open.set()
        await asyncio.gather(*asks)
    assert [ask for flush in server.flushes for ask in flush] == list(range(9))


async def test_patience_bounds_an_ask_although_the_flush_hangs() -> None:
    server = Server()
    server.open.clear()
    async with gathering(server.answer) as (gatherer, _):
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await fate(gatherer.ask(1)) is True
        assert PATIENCE <= loop.time() - began < PATIENCE + SLACK


async def test_patience_counts_from_the_ask_and_not_from_its_turn() -> None:
    async def slow(asks: list[int]) -> list[int]:
        await asyncio.sleep(PATIENCE * 0.8)
        return asks

    async with gathering(slow) as (gatherer, tasks):
        first = tasks.create_task(fate(gatherer.ask(1)))
        await turns()
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await fate(gatherer.ask(2)) is True
        assert loop.time() - began < PATIENCE + SLACK
        assert await first is None


async def test_an_ask_too_late_when_its_turn_came_was_never_sent() -> None:
    sent: list[int] = []

    async def deaf(asks: list[int]) -> list[int]:
        sent.extend(asks)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            # It takes its time to notice that its deadline is over.
            await asyncio.sleep(PATIENCE)
            raise
        return asks

    async with gathering(deaf) as (gatherer, _):
        fates = asyncio.gather(fate(gatherer.ask(1)), fate(_later(gatherer, 2)))
        assert list(await fates) == [True, False]
    assert sent == [1]


async def _later(gatherer: Gatherer[int, int], ask: int) -> int:
    await asyncio.sleep(0.01)
    return await gatherer.ask(ask)


async def test_an_ask_beyond_the_capacity_is_told_at_once_and_not_sent() -> None:
    server = Server()
    server.open.clear()
    async with gathering(server.answer, most=1, capacity=2) as (gatherer, tasks):
        first = tasks.create_task(gatherer.ask(0))
        await turns()
        waiting = [tasks.create_task(gatherer.ask(n)) for n in (1, 2)]
        await turns()
        assert await fate(gatherer.ask(3)) is False
        server.open.set()
        assert await asyncio.gather(first, *waiting) == [0, 10, 20]
    assert server.flushes == [[0], [1], [2]]


async def test_a_failing_flush_fails_its_own_asks_alone() -> None:
    server = Server()
    server.broken = {3}
    async with gathering(server.answer, most=2) as (gatherer, _):
        fates = await asyncio.gather(*(fate(gatherer.ask(n)) for n in range(6)))
    assert fates == [None, None, True, True, None, None]


async def test_the_flushs_own_error_is_the_cause() -> None:
    server = Server()
    server.broken = {1}
    async with gathering(server.answer) as (gatherer, _):
        with pytest.raises(Unanswered) as unanswered:
            await gatherer.ask(1)
    assert isinstance(unanswered.value.__cause__, ConnectionError)


async def test_a_flush_that_answers_fewer_than_were_asked_answers_nobody() -> None:
    async def short(asks: list[int]) -> list[int]:
        await asyncio.sleep(0)
        return asks[1:]

    async with gathering(short) as (gatherer, _):
        fates = await asyncio.gather(*(fate(gatherer.ask(n)) for n in range(3)))
    assert fates == [True, True, True]


async def test_a_flush_after_a_failed_one_is_answered() -> None:
    server = Server()
    server.broken = {1}
    async with gathering(server.answer) as (gatherer, _):
        assert await fate(gatherer.ask(1)) is True
        assert await gatherer.ask(2) == 20


async def test_a_cancelled_waiter_gets_its_answer_first() -> None:
    server = Server()
    server.open.clear()
    heard: list[int] = []

    async def caller(gatherer: Gatherer[int, int]) -> None:
        heard.append(await gatherer.ask(1))
        await asyncio.sleep(60)
        heard.append(-1)

    async with gathering(server.answer) as (gatherer, tasks):
        call = tasks.create_task(caller(gatherer))
        await turns()
        for _ in range(3):
            call.cancel()
            await turns()
        assert not call.done()
        server.open.set()
        await asyncio.wait([call])
    assert heard == [10]
    assert call.cancelled()


async def test_a_cancelled_waiter_is_counted_out_by_nobody_else() -> None:
    server = Server()
    server.open.clear()
    async with gathering(server.answer) as (gatherer, tasks):
        calls = [tasks.create_task(gatherer.ask(n)) for n in range(3)]
        await turns()
        calls[1].cancel()
        server.open.set()
        await asyncio.wait(calls)
        assert (calls[0].result(), calls[2].result()) == (0, 20)


async def test_no_waiter_hangs_when_its_flush_is_cancelled() -> None:
    server = Server()
    server.open.clear()
    asked: list[asyncio.Task[bool | None]] = []

    async def application(callers: asyncio.TaskGroup) -> None:
        async with gathering(server.answer) as (gatherer, _):
            asked.append(callers.create_task(fate(gatherer.ask(1))))
            await turns()
            raise RuntimeError("the application ends while a flush is under way")

    async with asyncio.TaskGroup() as callers:
        with pytest.raises(ExceptionGroup):
            await application(callers)
    assert asked[0].result() is True


async def test_nobody_who_waits_for_a_flight_hangs_when_it_is_cancelled() -> None:
    server = Server()
    server.open.clear()
    asked: list[asyncio.Task[bool | None]] = []

    async def application(callers: asyncio.TaskGroup, *, begun: bool) -> None:
        async with gathering(server.answer) as (gatherer, _):
            asked.append(callers.create_task(fate(gatherer.ask(1))))
            await turns(5 if begun else 1)
            asked.append(callers.create_task(fate(gatherer.ask(2))))
            await asyncio.sleep(0)
            raise RuntimeError("the application ends")

    for begun in (True, False):
        async with asyncio.TaskGroup() as callers:
            with pytest.raises(ExceptionGroup):
                await application(callers, begun=begun)
        assert asked.pop().result() is False
    assert server.flushes


async def test_who_asks_once_the_application_has_ended_is_told_at_once() -> None:
    server = Server()
    async with gathering(server.answer) as (gatherer, _):
        assert await gatherer.ask(1) == 10
    for _ in range(2):
        assert await fate(gatherer.ask(1)) is False


async def test_a_group_is_carried_by_one_flush_and_fails_together() -> None:
    server = Server()
    server.open.clear()
    async with gathering(server.answer, most=10) as (gatherer, tasks):
        first = tasks.create_task(gatherer.ask(0))
        await turns()
        single = [tasks.create_task(gatherer.ask(n)) for n in range(1, 8)]
        group = tasks.create_task(gatherer.ask_all(list(range(10, 16))))
        later = tasks.create_task(gatherer.ask(20))
        await turns()
        server.open.set()
        assert await group == [n * 10 for n in range(10, 16)]
        await asyncio.gather(first, later, *single)
        assert server.flushes[1:] == [[*range(1, 8)], [*range(10, 16), 20]]
        server.broken = {32}
        with pytest.raises(Unanswered) as unanswered:
            await gatherer.ask_all([30, 31, 32])
        assert unanswered.value.sent
        assert await gatherer.ask_all([]) == []


async def test_a_group_is_asked_whole_or_not_at_all() -> None:
    server = Server()
    server.open.clear()
    async with gathering(server.answer, capacity=4) as (gatherer, tasks):
        first = tasks.create_task(gatherer.ask(0))
        await turns()
        waiting = tasks.create_task(gatherer.ask_all([1, 2]))
        await turns()
        with pytest.raises(Unanswered) as unanswered:
            await gatherer.ask_all([3, 4, 5])
        assert not unanswered.value.sent
        server.open.set()
        await asyncio.gather(first, waiting)
    assert [3, 4, 5] not in server.flushes


async def test_what_a_flush_and_the_queue_hold_goes_by_weight() -> None:
    server = Server()
    server.open.clear()
    async with gathering(server.answer, most=10, capacity=40) as (gatherer, tasks):
        first = tasks.create_task(gatherer.ask(0))
        await turns()
        weights = [5, 5, 6, 11, 1]
        waiting = [
            tasks.create_task(gatherer.ask(number, weight=weight))
            for number, weight in enumerate(weights, 1)
        ]
        await turns()
        assert await fate(gatherer.ask(6, weight=13)) is False
        server.open.set()
        assert await asyncio.gather(first, *waiting) == [0, 10, 20, 30, 40, 50]
    # What weighs more than a flush may carry is carried alone.
    assert server.flushes == [[0], [1, 2], [3], [4], [5]]


async def test_a_busy_loop_does_not_use_up_an_asks_patience() -> None:
    server = Server()
    async with gathering(server.answer) as (gatherer, tasks):
        ask = tasks.create_task(gatherer.ask(1))
        await asyncio.sleep(0)
        # A burst's other calls, none of which lets go of the loop.
        time.sleep(PATIENCE * 1.5)  # noqa: ASYNC251 - that is the matter
        assert await ask == 10
