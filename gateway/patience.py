"""`asyncio.timeout` for one await and nothing else: it costs a quarter of that.

Every body is waited for so, and every flush.
"""

import asyncio
from types import TracebackType
from typing import Final, Self

from typing_extensions import override

# A loop that comes so much later than it should was busy.
STOOD_STILL: Final = 0.01
MOMENT: Final = 0.05


class Patience:
    """So many seconds, in a task. What was cancelled by others too stays cancelled.

    Raises:
        TimeoutError: on the way out, where they passed first.
    """

    __slots__ = ("_before", "_passed", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("only a task can be told that its time is over")
        self._task, self._before = task, task.cancelling()
        self._passed = False
        self._timer = self._begin(loop)
        return self

    def _begin(self, loop: asyncio.AbstractEventLoop) -> asyncio.TimerHandle:
        return loop.call_later(max(0.0, self._seconds), self._pass)

    def _pass(self) -> None:
        self._passed = True
        self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if not self._passed:
            return
        ours_alone = self._task.uncancel() <= self._before
        if ours_alone and kind is asyncio.CancelledError:
            raise TimeoutError from error


class PatienceUntil(Patience):
    """Until a deadline of the loop's clock; what the loop itself stood still does not count.

    Where it comes late, an answer may have come as well meanwhile, and nobody has had the
    time to read it: there is a moment more for that.

    Raises:
        TimeoutError: at the deadline, or that moment later.
    """

    __slots__ = ()

    @override
    def _begin(self, loop: asyncio.AbstractEventLoop) -> asyncio.TimerHandle:
        # Its seconds are the deadline, not how long it is until then.
        return loop.call_at(self._seconds, self._come, loop)

    def _come(self, loop: asyncio.AbstractEventLoop) -> None:
        late = loop.time() - self._seconds > STOOD_STILL
        # Not at once either: first the loop reads what is there.
        self._timer = loop.call_later(MOMENT if late else 0.0, self._pass)
