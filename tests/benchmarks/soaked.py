"""What was heard and seen in a soak, and what is told of it."""

import json
import os
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from gateway.embedded.histogram import Histogram
from gateway.embedded.load import Heard
from tests.benchmarks.parts import Held

BATCH: Final = 20
# Of all calls, by kind; and what may be the answer.
MIX: Final = {
    "verify": (0.60, {200}),
    "fetch": (0.20, {200}),
    "batch": (0.05, {200}),
    "not granted": (0.10, {403}),
    "over the limit": (0.05, {200, 429}),
}
MOST_MB_AN_HOUR: Final = 5.0
MEGA: Final = 1e6
console = Console(stderr=True, highlight=False, width=150)


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds since the beginning, what each part held, bytes that Valkey used."""

    seconds: float
    held: dict[str, Held]
    used: int


@dataclass(slots=True)
class Window:
    """Ten minutes."""

    statuses: dict[str, Counter[int]] = field(
        default_factory=lambda: {name: Counter() for name in MIX}
    )
    latencies: dict[str, Histogram] = field(
        default_factory=lambda: {name: Histogram() for name in MIX}
    )
    wrong: int = 0
    samples: list[Sample] = field(default_factory=list)

    def hear(self, name: str, due: int, heard: Heard) -> None:
        """Of so many calls that were due."""
        self.statuses[name] += heard.statuses
        self.latencies[name].merge(heard.latencies)
        self.wrong += due - sum(heard.statuses[status] for status in MIX[name][1])

    @property
    def charged(self) -> int:
        answered = sum(counted[200] for counted in self.statuses.values())
        return answered + self.statuses["batch"][200] * (BATCH - 1)


def megabytes_an_hour(seconds: Sequence[float], sizes: Sequence[float]) -> float:
    """The slope of bytes over the last two thirds, by least squares; 0 of less than three."""
    last = len(seconds) // 3
    hours = [one / 3600 for one in seconds[last:]]
    if len(hours) < 3:
        return 0.0
    megabytes = [one / MEGA for one in sizes[last:]]
    return statistics.linear_regression(hours, megabytes).slope


def slopes(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """MB an hour of each part that was there from the beginning to the end."""
    seconds = [one.seconds for one in samples]
    found = {
        part: {
            kind: megabytes_an_hour(
                seconds, [getattr(one.held[part], kind) for one in samples]
            )
            # What processes share is counted for each that has touched it.
            for kind in (("uss",) if part == "PostgreSQL" else ("rss", "uss"))
        }
        for part in samples[0].held
        if all(part in one.held for one in samples)
    }
    used = megabytes_an_hour(seconds, [one.used for one in samples])
    return {**found, "Valkey": found["Valkey"] | {"used": used}}


def show(windows: list[Window]) -> None:
    known = list(windows[0].samples[0].held)
    table = Table("min", "calls", "wrong", "verify p50, p99 ms", "batch p50, p99 ms")
    for part in known:
        table.add_column(f"{part}: MB, files")
    for window in windows:
        table.add_row(
            f"{window.samples[-1].seconds / 60:.1f}",
            f"{sum(one.total() for one in window.statuses.values()):,}",
            str(window.wrong),
            *(_latency(window.latencies[name]) for name in ("verify", "batch")),
            *(_holds(window.samples, part) for part in known),
        )
    console.print(table)


def _latency(taken: Histogram) -> str:
    return ", ".join(f"{taken.quantile(one) / 1000:.1f}" for one in (0.5, 0.99))


def _holds(samples: Sequence[Sample], part: str) -> str:
    """The median, and the most files that were open."""
    found = [one.held[part] for one in samples if part in one.held]
    if not found:
        return "gone"
    of_part = {
        "Valkey": [one.used for one in samples],
        "PostgreSQL": [one.uss for one in found],
    }
    sizes = of_part.get(part, [one.rss for one in found])
    return f"{statistics.median(sizes) / MEGA:.1f}, {max(one.files for one in found)}"


def faults(
    windows: list[Window], found: Mapping[str, Mapping[str, float]], charged: int
) -> list[str]:
    """What makes it fail, in sentences."""
    told = []
    if wrong := sum(window.wrong for window in windows):
        told.append(f"{wrong:,} answers were not what was due.")
    due = sum(window.charged for window in windows)
    if charged != due:
        told.append(f"{due:,} charged answers, and {charged:,} charges in the log.")
    ever = {part for window in windows for one in window.samples for part in one.held}
    if gone := ever - found.keys():
        told.append(f"Not there all the time: {', '.join(sorted(gone))}.")
    told += [
        f"{part} grows by {slope['rss']:.1f} MB an hour."
        for part, slope in found.items()
        if part.startswith("worker") and slope["rss"] > MOST_MB_AN_HOUR
    ]
    return told


def as_json(window: Window) -> dict[str, Any]:
    return {
        "statuses": window.statuses,
        "wrong": window.wrong,
        "ms": {
            name: {str(one): taken.quantile(one) / 1000 for one in (0.5, 0.99, 0.999)}
            for name, taken in window.latencies.items()
        },
        "samples": [asdict(one) for one in window.samples],
    }


def report(windows: list[Window], charged: int, json_file: Path | None) -> None:
    show(windows)
    found = slopes([one for window in windows for one in window.samples])
    console.print("MB an hour over the last two thirds:", found)
    told = faults(windows, found, charged)
    if json_file:
        document: dict[str, Any] = {
            "load_average": os.getloadavg(),
            "slopes": found,
            "faults": told,
            "charged": charged,
            "windows": [as_json(one) for one in windows],
        }
        json_file.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    for sentence in told:
        console.print(f"[red]{sentence}")
    raise SystemExit(bool(told))
