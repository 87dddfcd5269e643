"""Work that goes on beside the calls: it restarts itself, and says so."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from gateway import telemetry

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
