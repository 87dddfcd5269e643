"""How the gateway does just now, from what the workers of this host have counted.

Nothing is read while nobody watches, and once for all who do.
"""

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

from gateway.audit.condition import Condition
from gateway.edge import operations
from gateway.edge.caller import Services
from gateway.quota.overview import Order
from gateway.telemetry import Distribution, Reading

# Seconds between two readings, and over how many figures are told.
EVERY: Final = 2.0
OVER: Final = 10.0
# A first look waits for so long, to have two readings.
AT_FIRST: Final = 1.0
# Seconds for which what is read of all institutions, or of the log, is told again.
KEPT: Final = 10.0
FIRST: Final = 5
STAGES: Final = ("limiter", "reserve", "registry", "journal", "claims")
DEPENDENCIES: Final = ("postgres", "registry", "redis")

Rates = list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Pace:
    """Of one operation: calls a second, and upper bounds of seconds; None: above all."""

    name: str
    a_second: float
    p50: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Stage:
    """Of one gathered stage: flushes a second, calls carried by one, seconds taken."""

    name: str
    a_second: float
    size: float | None
    p50: float | None
    p99: float | None
    failed: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the last seconds; what is a rate is of one second, the largest first."""

    seconds: float
    all: Pace
    operations: list[Pace]
    outcomes: Rates
    reasons: Rates
    policies: Rates
    stages: list[Stage]
    up: dict[str, bool]
    workers: int
    in_postgres: bool
    directory_age: float


class Pulse:
    """One worker's; all who watch through it share what it reads.

    `tasks` is the worker's group, for what is read though nobody waits for it.

    Raises, from every method: what reading raises, for one panel to tell.
    """

    def __init__(self, held: Services, tasks: asyncio.TaskGroup) -> None:
        self._held = held
        self.tasks = tasks
        self._readings = deque[Reading](maxlen=int(OVER / EVERY) + 1)
        self._turn = asyncio.Lock()
        self._turn_of_all = asyncio.Lock()
        self._kept: dict[str, tuple[float, object]] = {}
        self._figures: Figures

    async def figures(self) -> Figures:
        """Over the last ten seconds, or as many as somebody has been watching."""
        async with self._turn:
            now = time.monotonic()
            while self._readings and now - self._readings[0].at > 2 * OVER:
                self._readings.popleft()
            if not self._readings:
                self._readings.append(await asyncio.to_thread(Reading))
                await asyncio.sleep(AT_FIRST)
            newest = self._readings[-1]
            if len(self._readings) == 1 or now - newest.at >= EVERY / 2:
                newest = await asyncio.to_thread(Reading)
                # Once for all panels and all who watch: it costs more than to draw them.
                self._figures = figures(self._readings[0], newest)
                self._readings.append(newest)
            return self._figures

    async def institutions(self, order: Order) -> list[dict[str, object]]:
        """The first few, as GET /ops/limits tells of them."""
        async with self._turn_of_all:
            now = time.monotonic()
            at, kept = self._kept.get(order, (0.0, None))
            if kept is None or now - at > KEPT:
                kept = await operations.first(self._held, order, FIRST)
                self._kept[order] = now, kept
        return kept  # type: ignore[return-value]  # of this order nothing else is kept

    def suspects(self) -> list[dict[str, object]]:
        """Who seems to harvest, as GET /ops/limits tells of them."""
        return operations.harvesting(self._held)

    async def condition(self) -> Condition:
        """Of the log, as GET /ops/journal tells of it."""
        now = time.monotonic()
        at, kept = self._kept.get("condition", (0.0, None))
        if not isinstance(kept, Condition) or now - at > KEPT:
            kept = await self._held.conditions.now()
            self._kept["condition"] = now, kept
        return kept


def figures(before: Reading, now: Reading) -> Figures:
    """What was counted between two readings."""
    seconds = max(now.at - before.at, 0.001)

    def rates(name: str, label: str, *, without: frozenset[str]) -> Rates:
        counted: Counter[str] = now.by(name, label)
        counted.subtract(before.by(name, label))
        return [
            (one, times / seconds)
            for one, times in counted.most_common()
            if times > 0 and one not in without
        ]

    def between(name: str, **labels: str) -> Distribution:
        earlier = before.distribution(name, **labels)
        return now.distribution(name, **labels).since(earlier)

    def pace(name: str, **labels: str) -> Pace:
        taken = between("gateway_call_seconds", **labels)
        return Pace(
            name, taken.count / seconds, taken.quantile(0.5), taken.quantile(0.99)
        )

    def stage(name: str) -> Stage:
        taken = between("gateway_flush_seconds", stage=name)
        size = between("gateway_flush_size", stage=name)
        failures = "gateway_flush_failures_total"
        failed = now.value(failures, stage=name) - before.value(failures, stage=name)
        return Stage(
            name,
            taken.count / seconds,
            size.total / size.count if size.count else None,
            taken.quantile(0.5),
            taken.quantile(0.99),
            int(failed),
        )

    asked = rates("gateway_calls_total", "operation", without=frozenset())
    return Figures(
        seconds=seconds,
        all=pace(""),
        operations=[pace(name, operation=name) for name, _ in asked],
        outcomes=rates("gateway_calls_total", "outcome", without=frozenset()),
        reasons=rates("gateway_calls_total", "reason", without=frozenset(("none", ""))),
        policies=rates(
            "gateway_admissions_total", "result", without=frozenset(("admitted",))
        ),
        stages=[found for name in STAGES if (found := stage(name)).a_second],
        up={
            one: now.value("gateway_dependency_up", dependency=one) == 1
            for one in DEPENDENCIES
        },
        workers=int(now.value("gateway_workers")),
        in_postgres=now.value("gateway_limits_in_postgres") == 1,
        directory_age=now.value("gateway_directory_age_seconds"),
    )
