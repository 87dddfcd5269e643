"""`asyncio.timeout` for one await and nothing else: it costs a quarter of that.

Every body is waited for so, and of a lookup the whole of asyncio's took a fiftieth of its CPU.
"""

import asyncio
from types import TracebackType
from typing import Self


class Patience:
    """So many seconds, in a task. What was cancelled by others too stays cancelled.

    Raises:
        TimeoutError: on the way out, where they passed first.
    """

    __slots__ = ("_before", "_passed", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._passed = False

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("only a task can be told that its time is over")
        self._task, self._before = task, task.cancelling()
        self._timer = loop.call_later(max(0.0, self._seconds), self._pass)
        return self

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
