"""Long work of one call beside the short work of others.

What has a thousand parts is made part by part, and whoever else has something to do goes
first in between: a lookup never waits for a batch.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Final, TypeVar

from gateway.gathering import Outcome, settled

# Seconds that long work goes on before others are let go first.
SLICE: Final = 0.001
T = TypeVar("T")


async def at_leisure(made: Iterable[T], *, lasting: bool = False) -> list[T]:
    """All of them, in order.

    Args:
        made: makes each of them when it is asked for the next.
        lasting: it goes on if it is cancelled, as all does that comes after admission.
    """
    done: list[T] = []
    ends = time.perf_counter() + SLICE
    for one in made:
        done.append(one)
        if time.perf_counter() >= ends:
            await (_others_first() if lasting else asyncio.sleep(0))
            ends = time.perf_counter() + SLICE
    return done


async def _others_first() -> None:
    loop = asyncio.get_running_loop()
    turn: Outcome[None] = Outcome(loop=loop)
    loop.call_soon(turn.set_result, None)
    await settled(turn)
