"""Collects concurrent asks into one flush.

While one flush is under way the next collects; there is no timer, so an idle
gateway adds no latency and a busy one pays one round trip for many calls. The
queue is bounded: when it is full the caller is told, and memory is not spent.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from typing_extensions import override

from gateway import spans
from gateway.patience import PatienceUntil

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")
T = TypeVar("T")


class Unanswered(Exception):
    """The ask got no answer.

    `sent` is False where no flush ever carried it (queue full, or too late when its
    turn came): it had no effect. It is True where a flush failed underway: its effect
    is unknown. The flush's own error is the `__cause__`.
    """

    def __init__(self, *, sent: bool) -> None:
        super().__init__("sent, but not answered" if sent else "not sent")
        self.sent = sent


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Ask, Answer]):
    """Asks that go into one flush together, and the answer to each of them.

    Where they get none there may be a single `Failed` for all.
    """

    asks: Sequence[Ask]
    weight: int
    deadline: float
    outcome: "Outcome[Sequence[Answer | Failed]]"


@dataclass(slots=True, frozen=True)
class Failed:
    """What an ask comes to that gets no answer: see Unanswered."""

    sent: bool
    cause: BaseException | None = None


class Outcome(asyncio.Future[T]):
    """A future that cancelling the task which waits for it leaves as it is.

    `flight` is which flush carried it, where traces are wanted.
    """

    flight: spans.Flight | None = None

    @override
    def cancel(self, msg: object = None) -> bool:
        return False


async def settled(outcome: Outcome[T]) -> T:
    """Awaits to the end, even if the waiting task is cancelled on the way.

    From admission on a call runs to its end as if the caller had stayed, so that its
    charge and its entry agree; what it waits for is bounded by deadlines of its own.
    The cancellation is put off, not lost: it comes at the next await that is not this.
    """
    put_off = False
    while True:
        try:
            result = await outcome
        except asyncio.CancelledError:
            put_off = True
            continue
        if put_off and (task := asyncio.current_task()) is not None:
            # Asked for once: what counts the asking (asyncio.timeout) has to find one.
            task.uncancel()
            task.cancel()
        return result


async def to_its_end(tasks: asyncio.TaskGroup, work: Coroutine[Any, Any, T]) -> T:
    """Awaits work that goes on even if the waiting task is cancelled; see `settled`.

    Raises:
        whatever the work does; RuntimeError, if the group ends before it.
    """
    return await settled(_begun(tasks, work))


async def within(
    seconds: float, tasks: asyncio.TaskGroup, work: Coroutine[Any, Any, T]
) -> T:
    """What the work gives. If it takes longer, it is left to end by itself.

    To cancel what asks a database waits for the database, and one that hangs keeps silent.

    Raises:
        TimeoutError: after so many seconds; whatever the work does before, as above.
    """
    outcome = _begun(tasks, work)
    # Also where nobody waits for it any more: else it would be told as lost.
    outcome.add_done_callback(asyncio.Future.exception)
    done, _ = await asyncio.wait({outcome}, timeout=seconds)
    if not done:
        raise TimeoutError
    return outcome.result()


def _begun(tasks: asyncio.TaskGroup, work: Coroutine[Any, Any, T]) -> Outcome[T]:
    outcome: Outcome[T] = Outcome(loop=asyncio.get_running_loop())

    async def tell() -> None:
        try:
            outcome.set_result(await work)
        except Exception as error:  # noqa: BLE001 - given to whoever waits
            outcome.set_exception(error)
        finally:
            if not outcome.done():
                outcome.set_exception(RuntimeError("the application ends"))

    tasks.create_task(tell())
    return outcome


class Gatherer(Generic[Ask, Answer]):
    """One queue, and one flush under way at a time.

    Args:
        flush: answers a list of asks, in order, or says of some that they failed. If it
            raises, only its own asks fail.
        stage: what it is called in traces.
        tasks: the group that owns the flushes.
        most: asks a flush may carry, by weight; what weighs more is carried alone.
        capacity: asks that may wait, by weight.
        patience: seconds to an answer or `Unanswered`, from asking, or from when a
            free flight could first carry the ask.
    """

    def __init__(
        self,
        flush: Callable[[list[Ask]], Awaitable[Sequence[Answer | Failed]]],
        *,
        stage: str,
        tasks: asyncio.TaskGroup,
        most: int,
        capacity: int,
        patience: float,
    ) -> None:
        self._flush = flush
        self._stage = stage
        self._tasks = tasks
        self._most = most
        self._capacity = capacity
        self._patience = patience
        self._flying = False
        self._queue: deque[_Waiting[Ask, Answer]] = deque()
        self._queued = 0

    async def ask(self, item: Ask, *, weight: int = 1) -> Answer:
        """Waits for the answer, through cancellation.

        Args:
            item: what is asked.
            weight: as how many asks it counts.

        Raises:
            Unanswered: within `patience`, if there is none.
        """
        (answer,) = await self._answers(self._enqueue((item,), weight))
        if isinstance(answer, Failed):
            raise Unanswered(sent=answer.sent) from answer.cause
        return answer

    async def ask_all(self, items: Sequence[Ask]) -> list[Answer]:
        """The answers to items that one flush carries, all of them: at most `most`.

        Raises:
            Unanswered: within `patience`, if one of them has none.
        """
        told: list[Answer] = []
        for answer in await self._answers(self._enqueue(items, len(items))):
            if isinstance(answer, Failed):
                raise Unanswered(sent=answer.sent) from answer.cause
            told.append(answer)
        return told

    def _answers(
        self, outcome: "Outcome[Sequence[Answer | Failed]]"
    ) -> Awaitable[Sequence[Answer | Failed]]:
        # Where nobody wants traces no layer for them is waited through.
        told_to = spans.told_to
        return settled(outcome) if told_to is None else self._traced(outcome, told_to)

    async def _traced(
        self, outcome: "Outcome[Sequence[Answer | Failed]]", told_to: spans.Recorder
    ) -> Sequence[Answer | Failed]:
        began = time.time_ns()
        answers = await settled(outcome)
        answered = not any(isinstance(answer, Failed) for answer in answers)
        told_to.stage(self._stage, began, outcome.flight, answered=answered)
        return answers

    def _enqueue(
        self, asks: Sequence[Ask], weight: int
    ) -> "Outcome[Sequence[Answer | Failed]]":
        if self._queued + weight > self._capacity:
            raise Unanswered(sent=False)
        loop = asyncio.get_running_loop()
        # Plain classes: to subscript one takes longer than to make one of it.
        outcome: Outcome[Sequence[Answer | Failed]] = Outcome(loop=loop)
        deadline = loop.time() + self._patience
        self._queue.append(_Waiting(asks, weight, deadline, outcome))
        self._queued += weight
        self._see_that_it_flies()
        return outcome

    def _see_that_it_flies(self) -> None:
        if self._queue and not self._flying:
            self._take_off()

    def _take_off(self) -> None:
        flight = self._fly()
        try:
            task = self._tasks.create_task(flight)
        except RuntimeError:
            # The application ends: its group takes in no more.
            flight.close()
            self._abandon()
            return
        self._flying = True
        task.add_done_callback(self._landed)

    def _landed(self, flight: "asyncio.Task[None]") -> None:
        if flight.cancelled():
            # Maybe before it began, and then it has not said so itself.
            self._flying = False
            self._abandon()

    def _abandon(self) -> None:
        """What waits is carried by nobody any more: no waiter may hang."""
        while self._queue:
            self._next().outcome.set_result((Failed(sent=False),))

    def _next(self) -> _Waiting[Ask, Answer]:
        waiting = self._queue.popleft()
        self._queued -= waiting.weight
        return waiting

    async def _fly(self) -> None:
        try:
            self._begin_patience()
            # Calls that came in with the first one join it: their tasks run before this.
            await asyncio.sleep(0)
            while asks := self._take():
                await self._carry(asks)
        finally:
            self._flying = False

    def _begin_patience(self) -> None:
        """What waited for nothing but this loop has not waited on the other side.

        A burst of hundreds of calls keeps the loop busy for longer than a limiter may
        take to answer: that is no sign that it does not.
        """
        deadline = asyncio.get_running_loop().time() + self._patience
        for waiting in self._queue:
            waiting.deadline = deadline

    def _take(self) -> list[_Waiting[Ask, Answer]]:
        now = asyncio.get_running_loop().time()
        taken: list[_Waiting[Ask, Answer]] = []
        weight = 0
        while self._queue:
            if taken and weight + self._queue[0].weight > self._most:
                break
            waiting = self._next()
            if waiting.deadline <= now:
                waiting.outcome.set_result((Failed(sent=False),))
            else:
                taken.append(waiting)
                weight += waiting.weight
        return taken

    async def _carry(self, carried: list[_Waiting[Ask, Answer]]) -> None:
        cause: BaseException | None = None
        asks = [ask for waiting in carried for ask in waiting.asks]
        if spans.told_to is not None:
            flight = spans.Flight(time.time_ns(), len(asks))
            for waiting in carried:
                waiting.outcome.flight = flight
        answers: Sequence[Answer | Failed] = ()
        try:
            # The queue is in order of deadlines: the first is the nearest.
            with PatienceUntil(carried[0].deadline):
                answers = await self._flush(asks)
        except Exception as error:  # noqa: BLE001 - given to every waiter as the cause
            cause = error
        finally:
            # Also on the way out of a cancelled flush: no waiter may hang.
            if cause is None and len(answers) == len(asks):
                begins = 0
                for waiting in carried:
                    ends = begins + len(waiting.asks)
                    waiting.outcome.set_result(answers[begins:ends])
                    begins = ends
            else:
                for waiting in carried:
                    waiting.outcome.set_result((Failed(sent=True, cause=cause),))
