"""Tests that count within a window keep clear of its turn."""

import asyncio
import time
from typing import Final

MINUTE: Final = 60
DAY: Final = 86_400
_JAKARTA: Final = 7 * 3600


def seconds_left(window: int) -> float:
    """Until the window turns, at the full minute or at midnight in Jakarta."""
    return window - (time.time() + _JAKARTA) % window


async def clear_of_turn(window: int, *, seconds: float) -> None:
    """Waits past the window's turn if it is nearer than that."""
    left = seconds_left(window)
    if left < seconds:
        await asyncio.sleep(left + 0.1)
