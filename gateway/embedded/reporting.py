"""What `gateway bench` measured, as a table, as JSON and as a picture."""

import json
import os
import platform
import statistics
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from gateway.embedded import budget, picture
from gateway.embedded.latency import Beside, Point
from gateway.embedded.processes import ServerError

BATCH: Final = 100
console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Size:
    """How long, how often and how large."""

    seconds: float
    rounds: int
    residents: int
    institutions: int


@dataclass(slots=True)
class Measured:
    """Of one kind: answers a second of each round, and what they were."""

    rates: list[float]
    statuses: Counter[int]
    micros: list[float]

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)


@dataclass(frozen=True, slots=True)
class Figures:
    """`bare` is pgbench's lookups a second, `memory` bytes of the largest worker."""

    size: Size
    measured: dict[str, Measured]
    bare: float
    points: list[Point]
    beside: Beside
    memory: int


def report(figures: Figures, json_file: Path | None, against: Path | None) -> None:
    """Prints, writes, and compares with committed figures.

    Raises:
        ServerError: a call costs more than they allow.
    """
    _table(figures)
    _latencies(figures)
    kinds = {
        name: {"rates": one.rates, "cpu_micros": one.micros}
        for name, one in figures.measured.items()
    }
    if json_file is not None:
        _write(figures, kinds, json_file)
    if against is not None and (dearer := budget.dearer(kinds, against)):
        told = ", ".join(
            f"{name} {before:.1f} -> {now:.1f}"
            for name, (before, now) in dearer.items()
        )
        raise ServerError(f"Dearer by over a quarter, in constant calls: {told}.")


def _table(figures: Figures) -> None:
    measured, bare = figures.measured, figures.bare
    constant, verify = measured["constant"].rate, measured["verify"].rate
    table = Table("", "answers/s", "x constant", "x pgbench", "CPU µs", "statuses")
    for name, one in measured.items():
        table.add_row(
            name if name != "batch" else f"batch of {BATCH}",
            f"{one.rate:,.0f}",
            f"{one.rate / constant:.2f}",
            f"{one.rate / bare:.2f}",
            "" if name == "constant" else f"{statistics.median(one.micros):,.0f}",
            ", ".join(f"{status}: {n:,}" for status, n in sorted(one.statuses.items())),
        )
    table.add_row("pgbench, two statements", f"{bare:,.0f}", "", "1.00", "", "")
    console.print(table)
    subjects = measured["batch"].rate * BATCH
    console.print(
        f"subjects/s in batches: {subjects:,.0f}, {subjects / verify:.1f} x verify"
    )


def _latencies(figures: Figures) -> None:
    table = Table("verify, open loop", "due/s", "p50 ms", "p99 ms", "p99.9 ms")
    for point in figures.points:
        table.add_row(
            f"{point.share:.0%} of saturation",
            f"{point.offered:,.0f}",
            *(f"{one:.1f}" for one in (point.p50, point.p99, point.p999)),
        )
    console.print(table)
    beside = figures.beside
    console.print(
        f"p99 at {beside.offered:,.0f}/s: alone {beside.alone:.1f} ms, beside batches of a "
        f"thousand without pause {beside.beside:.1f} ms, {beside.ratio:.2f} x "
        f"({beside.subjects:,.0f} subjects/s)"
    )
    console.print(f"the largest worker holds {figures.memory / 1e6:.0f} MB")


def _write(figures: Figures, kinds: dict[str, Any], json_file: Path) -> None:
    document = {
        "machine": {
            "cpus": os.cpu_count(),
            "processor": platform.machine(),
            "python": platform.python_version(),
        },
        "size": asdict(figures.size),
        "pgbench": figures.bare,
        "kinds": kinds,
        "latency": [asdict(point) for point in figures.points],
        "beside": asdict(figures.beside),
        "memory": figures.memory,
    }
    json_file.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    title = f"latency of verify on {os.cpu_count()} cores with everything on them"
    drawn = picture.latency(figures.points, title)
    json_file.with_suffix(".svg").write_text(drawn, "utf-8")
