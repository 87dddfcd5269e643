"""Whether a gateway that is asked for an hour holds more and more, or slows, or errs.

`python -m tests.benchmarks.soak --minutes 60 --rate 600`: verify, fetch, batches of 20 and
refused calls in a mix, so many calls a second whatever becomes of them (open loop). Every half
minute is noted what each worker, the sealer, PostgreSQL and Valkey hold in memory and in open
files. At the end: all of it by ten minutes, the slope of each by least squares over the last
two thirds (before, caches fill), latencies, and whether the log has as many charges as there
were charged answers. It fails where a worker grows by over 5 MB an hour, where one was
replaced, or where any answer was not the one that was due.

PostgreSQL's is what its processes do not share. Valkey's is what it says that it uses: that
grows with the subjects that institutions ask about on a day.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from gateway.embedded import callers
from gateway.embedded.demo import Standing, standing
from gateway.embedded.driving import SEED, Drive, Kind, drive
from gateway.embedded.histogram import Histogram
from gateway.embedded.load import Heard
from gateway.embedded.supervision import free_port
from gateway.registry import synthetic
from tests.benchmarks.parts import Held, held, parts, used_memory

RESIDENTS: Final = 200_000
INSTITUTIONS: Final = 1_000
CONNECTIONS: Final = 32
BATCH: Final = 20
# Of each kind, to be taken from.
REQUESTS: Final = 20_000
BATCHES: Final = 2_000
# Of all calls, by kind; and what may be the answer.
MIX: Final = {
    "verify": (0.60, {200}),
    "fetch": (0.20, {200}),
    "batch": (0.05, {200}),
    "not granted": (0.10, {403}),
    "over the limit": (0.05, {200, 429}),
}
# So short that the load generator, which begins anew each time, stays small.
CHUNK_S: Final = 30.0
WINDOW_CHUNKS: Final = 20
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


def kinds(all_of: Standing, keys: list[str]) -> dict[str, Kind]:
    chance = random.Random(SEED)  # noqa: S311 - a sample, no secret
    sample = synthetic.sample(RESIDENTS, REQUESTS, seed=SEED)
    niks = [str(resident["nik"]) for resident in sample]
    tight = all_of.credentials["institutions"]["tight"]["key"]
    pairs = list(zip(callers.by_zipf(chance, keys, len(niks)), niks, strict=True))
    requests = {
        "verify": [callers.verify(key, nik) for key, nik in pairs],
        "fetch": [callers.fetch(key, nik) for key, nik in pairs],
        "batch": [
            callers.batch(key, chance.sample(niks, BATCH)) for key, _ in pairs[:BATCHES]
        ],
        # By all alike: whose key is refused too often a minute is refused altogether.
        "not granted": [
            callers.verify(key, nik, "kyc")
            for key, nik in zip(cycle(keys), niks, strict=False)
        ],
        "over the limit": [callers.verify(tight, nik, "kyc") for nik in niks],
    }
    return {name: Kind(all_of.port, made) for name, made in requests.items()}


def chunk(
    driver: Executor, asked: dict[str, Kind], rate: float, number: int, window: Window
) -> Iterable[None]:
    """Comes by in the middle of half a minute of calls, and notes what was heard."""
    rates = {name: rate * share for name, (share, _) in MIX.items()}
    waited = {
        name: drive(
            driver, asked[name], Drive(CONNECTIONS, CHUNK_S, one, SEED + number)
        )
        for name, one in rates.items()
    }
    time.sleep(CHUNK_S / 2)
    yield
    for name, future in waited.items():
        try:
            heard = future.result()
        except (TimeoutError, OSError) as error:
            # Its calls were not answered, or nobody knows how.
            console.print(f"[red]{name}: {error!r}")
            heard = Heard()
        window.hear(name, int(rates[name] * CHUNK_S), heard)


def run(
    driver: Executor, all_of: Standing, asked: dict[str, Kind], how: argparse.Namespace
) -> list[Window]:
    windows: list[Window] = []
    began = time.monotonic()
    for number in range(max(1, round(how.minutes * 60 / CHUNK_S))):
        if not number % WINDOW_CHUNKS:
            windows.append(Window())
        window = windows[-1]
        for _ in chunk(driver, asked, how.rate, number, window):
            found = {part: held(pids) for part, pids in parts(all_of).items()}
            seconds = time.monotonic() - began
            window.samples.append(Sample(seconds, found, used_memory(all_of.valkey)))
        show([window])
    return windows


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=600)
    parser.add_argument("--json", type=Path)
    how = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="bench-soak-") as folder,
        standing(
            port=free_port(), data=Path(folder), residents=RESIDENTS, workers=2
        ) as all_of,
        ProcessPoolExecutor(len(MIX), mp_context=get_context("spawn")) as driver,
    ):
        keys = asyncio.run(callers.take_on(all_of, INSTITUTIONS))
        # Until every worker knows them.
        time.sleep(2)
        windows = run(driver, all_of, kinds(all_of, keys), how)
        charged = asyncio.run(callers.charged(all_of))
    show(windows)
    found = slopes([one for window in windows for one in window.samples])
    console.print("MB an hour over the last two thirds:", found)
    told = faults(windows, found, charged)
    if how.json:
        document: dict[str, Any] = {
            "load_average": os.getloadavg(),
            "slopes": found,
            "faults": told,
            "charged": charged,
            "windows": [as_json(one) for one in windows],
        }
        how.json.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    for sentence in told:
        console.print(f"[red]{sentence}")
    raise SystemExit(bool(told))


if __name__ == "__main__":
    main()
