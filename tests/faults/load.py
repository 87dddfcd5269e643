"""Callers that keep asking while something breaks, and remember what came of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.acceptance.questions import Question
from tests.acceptance.service import Service
from tests.acceptance.wire import Answer, Connection, Lost

PAUSE: Final = 0.005


@dataclass(frozen=True, slots=True)
class Answered:
    """One call and what came back; `at` is the moment it was sent."""

    question: Question
    answer: Answer
    at: float

    @property
    def until(self) -> float:
        return self.at + self.answer.seconds


@dataclass(slots=True)
class Load:
    """The clients' own ledger: every call is in `answered`, in `lost` or in flight."""

    port: int
    make: Callable[[], Question]
    most: float
    asked: int = 0
    in_flight: int = 0
    ending: bool = False
    answered: list[Answered] = field(default_factory=list)
    lost: list[Question] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return self.ending or self.asked >= self.most

    async def keep_asking(self) -> None:
        while not self.over:
            try:
                async with Connection.opened(self.port) as connection:
                    last = False
                    while not (self.over or last):
                        last = await self._ask(connection)
            except Lost:
                # Noted; the next call goes over a new connection.
                continue
            except OSError:
                await asyncio.sleep(PAUSE)

    async def _ask(self, connection: Connection) -> bool:
        """One call; whether it was the connection's last."""
        question, at = self.make(), time.monotonic()
        self.asked += 1
        self.in_flight += 1
        try:
            answer = await question.put(connection)
        except Lost:
            self.lost.append(question)
            raise
        finally:
            self.in_flight -= 1
        self.answered.append(Answered(question, answer, at))
        return answer.is_last

    async def reach(self, calls: int) -> None:
        """Waits until that many calls have been sent."""
        while self.asked < calls:  # noqa: ASYNC110 - no event counts calls
            await asyncio.sleep(0.01)

    def sent_between(self, start: float, end: float) -> list[Answered]:
        return [one for one in self.answered if start <= one.at < end]

    async def first_success(self, *, after: float, within: float) -> float:
        """Seconds from `after` to the first 200 that was asked for since."""
        deadline = time.monotonic() + within + 1
        while time.monotonic() < deadline:
            good = [
                one.until
                for one in self.answered
                if one.at >= after and one.answer.status == 200
            ]
            if good:
                return min(good) - after
            await asyncio.sleep(0.02)
        raise AssertionError("nobody was served again")


@asynccontextmanager
async def under_load(
    service: Service,
    make: Callable[[], Question],
    *,
    callers: int = 16,
    most: float = float("inf"),
) -> AsyncIterator[Load]:
    """While this is open, that many callers ask what `make` makes, up to `most` calls."""
    load = Load(service.gateway.port, make, most)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(callers):
            tasks.create_task(load.keep_asking())
        try:
            yield load
        finally:
            load.ending = load.most == float("inf")
