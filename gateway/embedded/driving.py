"""Load from a process of its own, so that making it takes nothing from who measures."""

import asyncio
import random
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Final

import uvloop

from gateway.embedded.load import Heard, Load

SEED: Final = 17_08_1945


@dataclass(frozen=True, slots=True)
class Kind:
    """Requests to a port, one of which is taken at random each time."""

    port: int
    requests: list[bytes]


@dataclass(frozen=True, slots=True)
class Drive:
    """How a kind is asked: as fast as it answers, or `rate` calls a second.

    Another `seed` takes the requests in another order, and others where there are many.
    """

    connections: int
    seconds: float
    rate: float | None = None
    seed: int = SEED


def drive(driver: Executor, kind: Kind, how: Drive) -> Future[Heard]:
    return driver.submit(_drive, kind, how)


def _drive(kind: Kind, how: Drive) -> Heard:
    async def run() -> Heard:
        chance = random.Random(how.seed)  # noqa: S311 - a sample, no secret
        load = Load(kind.port, lambda: chance.choice(kind.requests), rate=how.rate)
        return await load.run(connections=how.connections, seconds=how.seconds)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())
