"""Whether this worker lives, whether it is ready, and its metrics."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import structlog
from litestar import Request, Response, get
from prometheus_client.openmetrics import exposition

from gateway import telemetry
from gateway.audit.batch import SQL as AUDIT_SQL
from gateway.audit.journal import Journal
from gateway.audit.room import Room, judge, share_free
from gateway.clock import from_datetime
from gateway.edge.clocks import Clocks, now_here
from gateway.postgres import Link
from gateway.registry.residents import SQL as REGISTRY_SQL

log = structlog.get_logger()

PROBE_SECONDS: Final = 0.4
# Two missed probes and their deadlines stay within the 2 s the contract promises.
STALE_SECONDS: Final = 1.5
DEADLINE: Final = 0.8
# Sealing may lag, never silently.
ALERT_LAG: Final = 60.0
ROOM_WORDS: Final = {Room.LITTLE: ["disk-filling"], Room.NONE: ["disk-full"]}


class Health:
    """Probes what a worker depends on, about twice a second, off the calls' path.

    Ready needs PostgreSQL (writable, with room on its disk, where `disk` names a folder
    there) and the registry; without Redis it is degraded.
    """

    def __init__(
        self,
        *,
        log: Link,
        registry: Link,
        redis: Callable[[], Awaitable[int]],
        journal: Journal,
        disk: Path | None = None,
    ) -> None:
        self._disk = disk
        self._room = Room.ENOUGH
        self._clocks = Clocks()
        self._journal = journal
        self._log = log
        self._registry = registry
        self._redis = redis
        self._sealing_lag = 0.0
        self._default_rows = 0
        probed = ["postgres", "registry", "redis", *(["disk"] if disk else [])]
        self._well_at = dict.fromkeys(probed, -STALE_SECONDS)

    def degraded(self) -> list[str]:
        """What has not answered well lately, or lags, by name."""
        now = time.monotonic()
        stale = [name for name, at in self._well_at.items() if now - at > STALE_SECONDS]
        lagging = ["sealing"] if self._sealing_lag > ALERT_LAG else []
        misplaced = ["default-partition"] if self._default_rows else []
        return [*stale, *lagging, *misplaced, *ROOM_WORDS.get(self._room, [])]

    @staticmethod
    def ready(degraded: list[str]) -> bool:
        return not {"postgres", "registry", "disk-full"}.intersection(degraded)

    async def watch(self) -> None:
        """For ever: probes side by side, so that one that hangs hides no other."""
        async with asyncio.TaskGroup() as probes:
            probes.create_task(self._keep("postgres", self._ask_postgres))
            probes.create_task(self._keep("registry", self._ask_registry))
            probes.create_task(self._keep("redis", self._ask_redis))
            if self._disk is not None:
                probes.create_task(self._keep("disk", self._look_at_disk))

    async def _keep(self, name: str, ask: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                async with asyncio.timeout(DEADLINE):
                    await ask()
                self._well_at[name] = time.monotonic()
                telemetry.UP.labels(name).set(1)
            except Exception:  # noqa: BLE001 - any failure means: not well
                telemetry.UP.labels(name).set(0)
            telemetry.READY.labels("worker").set(self.ready(self.degraded()))
            await asyncio.sleep(PROBE_SECONDS)

    async def _ask_postgres(self) -> None:
        async with self._log.connection() as connection:
            if await connection.fetchval("SHOW transaction_read_only") == "on":
                raise ConnectionError("PostgreSQL takes no writes")
            asked_at = now_here()
            told = from_datetime(await connection.fetchval("SELECT clock_timestamp()"))
            self._clocks.told("postgres", told, asked_at, now_here())
            lag = await connection.fetchval(AUDIT_SQL["sealing_lag"])
            self._found_default_rows(
                await connection.fetchval(AUDIT_SQL["default_rows"])
            )
        self._journal.found_writable()
        self._sealing_lag = max(0.0, lag or 0.0)
        self._journal.found_sealing_lag(self._sealing_lag)
        telemetry.SEALING_LAG.set(self._sealing_lag)

    def _found_default_rows(self, rows: int) -> None:
        if rows and not self._default_rows:
            # No partition was there for them: `gateway audit partitions` moves them.
            log.error("default_partition_has_rows", rows=rows)
        self._default_rows = rows
        telemetry.DEFAULT_ROWS.set(rows)

    async def _look_at_disk(self) -> None:
        if self._disk is None:
            return
        free = await asyncio.to_thread(share_free, self._disk)
        telemetry.LOG_DISK_FREE.labels("log").set(free)
        found = judge(free)
        if found != self._room:
            tell = log.info if found is Room.ENOUGH else log.error
            tell("log_disk", room=found.value, free=round(free, 3))
        self._room = found
        self._journal.found_room(enough=found is not Room.NONE)

    async def _ask_redis(self) -> None:
        asked_at = now_here()
        told = await self._redis()
        self._clocks.told("redis", told, asked_at, now_here())

    async def _ask_registry(self) -> None:
        async with self._registry.connection() as connection:
            await connection.fetchval(REGISTRY_SQL["answers"])


@get("/health/live", include_in_schema=False)
async def live() -> dict[str, bool]:
    return {"live": True}


@get("/health/ready", include_in_schema=False)
async def ready(
    request: Request[Any, Any, Any],
) -> Response[dict[str, object]]:
    health: Health = request.app.state["services"].health
    degraded = health.degraded()
    is_ready = health.ready(degraded)
    return Response(
        {"ready": is_ready, "degraded": degraded}, status_code=200 if is_ready else 503
    )


@get("/metrics", include_in_schema=False, sync_to_thread=False)
def metrics() -> Response[bytes]:
    """OpenMetrics of all workers together."""
    return Response(
        exposition.generate_latest(telemetry.of_all_workers()),
        media_type=exposition.CONTENT_TYPE_LATEST,
    )
