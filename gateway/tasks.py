"""Work that goes on beside the calls: it restarts itself, and says so."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from gateway import telemetry

COLLECT_AFTER: Final = 50_000
log = structlog.get_logger()


async def keep_running(
    name: str, work: Callable[[], Awaitable[None]], *, pause: float = 1.0
) -> None:
    """Runs `work` again whenever it fails or returns, `pause` seconds later.

    One that fails never takes anything else with it; each failure is counted and
    logged by the error's type (its text may hold what must not be logged).
    """
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - any failure restarts the work
            telemetry.BACKGROUND_FAILURES.labels(name).inc()
            log.warning("background_failed", task=name, error=type(error).__name__)
        await asyncio.sleep(pause)


def collect_seldom() -> None:
    """Once all is there that stays for the life of the process, such as the directory."""
    # No collection need walk it again: that takes up to a tenth of a second.
    gc.collect()
    gc.freeze()
    # A call or an entry leaves next to nothing that refers to itself: at Python's 700 a
    # twentieth of all CPU went into looking for it.
    gc.set_threshold(COLLECT_AFTER)
    gc.enable()
