"""How the cost of a verify call grows with institutions, residents, entries and workers.

`python -m tests.benchmarks.growth --what institutions`: a system of each size stands beside
the others, and only one is called at a time, in turns, since a machine's speed drifts. In each
turn it idles, is called by 64 connections as fast as it answers, and is left until the log is
sealed and counted. Told are medians of the turns: the CPU by call of the workers, PostgreSQL,
Valkey and the sealer, and the growth of their sum beside the smallest in the same turn; the
answers a second; the CPU of idle workers; and how long a look at the directory takes.

What is left to do after the last answer is the calls', less what idling takes for as long.
Callers are institutions by Zipf's law, and residents any of all. Entries are a month of
lookups as filling.py makes them, sealed, counted and tidied; the callers have some among them.
With --data the systems are kept and taken up again.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import asyncpg
from rich.console import Console
from rich.table import Table

from gateway.embedded import callers, demo
from gateway.embedded.demo import Standing
from gateway.embedded.driving import SEED, Drive, Kind, drive
from gateway.embedded.load import Heard, Load
from tests.benchmarks.parts import cpu_of_family, cpu_seconds
from tests.benchmarks.sides import looks, stand

SIZES: Final = {
    "institutions": [10, 1_000, 10_000],
    "residents": [10_000, 1_000_000, 10_000_000],
    "entries": [0, 10_000_000, 20_000_000],
    "workers": [1, 2],
}
# Of the sum beside the smallest size, in percent.
AIMS: Final = {"institutions": 10, "residents": 20, "entries": 10}
CONNECTIONS: Final = 64
REQUESTS: Final = 50_000
# At which every institution asks once before: its counters are loaded then.
PRIMING_RATE: Final = 500.0
# Longer than the sealer waits before it counts what is sealed.
SETTLE_S: Final = 6.0
IDLE_S: Final = 5.0
console = Console(stderr=True, highlight=False, width=150)


@dataclass(frozen=True, slots=True)
class Turn:
    """Answers a second, CPU by call (µs) and of idling (percent of a core), by part."""

    rate: float
    micros: dict[str, float]
    idle: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.micros.values())


async def prepare(all_of: Standing, keys: list[str]) -> Kind:
    """Tidies, so that PostgreSQL does not begin to meanwhile, and has everyone ask once."""
    # Until every worker knows them.
    await asyncio.sleep(2)
    superuser = await asyncpg.connect(all_of.postgres.dsn(database=demo.DATABASE))
    await superuser.execute("VACUUM ANALYZE")
    await superuser.execute("CHECKPOINT")
    rows = await superuser.fetch(
        "SELECT nik FROM registry.residents ORDER BY random() LIMIT $1", REQUESTS
    )
    await superuser.close()
    niks = cycle(str(row["nik"]) for row in rows)
    first = [callers.verify(key, next(niks)) for key in keys]
    load = Load(all_of.port, partial(next, iter(first)), rate=PRIMING_RATE)
    answered(await load.run(connections=CONNECTIONS, seconds=len(first) / PRIMING_RATE))
    chance = random.Random(SEED)  # noqa: S311 - a sample, no secret
    asking = callers.by_zipf(chance, keys, REQUESTS)
    return Kind(all_of.port, [callers.verify(key, next(niks)) for key in asking])


def taken(all_of: Standing) -> dict[str, float]:
    """Seconds of CPU, by part."""
    sealer, valkey = all_of.gateway.sealer(), all_of.valkey.pid
    return {
        "workers": cpu_seconds(all_of.gateway.workers()),
        "PostgreSQL": cpu_of_family(all_of.postgres.pid),
        "Valkey": cpu_seconds([] if valkey is None else [valkey]),
        "sealer": cpu_seconds([] if sealer is None else [sealer]),
    }


def answered(heard: Heard) -> int:
    """How many calls were: all of them, or the measurement is of something else."""
    statuses = heard.statuses + heard.late
    if heard.lost or set(statuses) != {200}:
        raise RuntimeError(f"lost {heard.lost}, {statuses}")
    return statuses.total()


def turn(driver: Executor, all_of: Standing, kind: Kind, how: Drive) -> Turn:
    began = taken(all_of)
    time.sleep(IDLE_S)
    idled = taken(all_of)
    heard = drive(driver, kind, how).result()
    time.sleep(SETTLE_S)
    ended = taken(all_of)
    answers = answered(heard)
    idle = {part: (idled[part] - began[part]) / IDLE_S for part in began}
    micros = {
        part: (ended[part] - idled[part] - idle[part] * SETTLE_S) / answers * 1e6
        for part in began
    }
    percent = {part: seconds * 100 for part, seconds in idle.items()}
    return Turn(heard.rate, micros, percent)


def run(
    driver: Executor,
    sides: dict[int, tuple[Standing, list[str]]],
    seconds: float,
    rounds: int,
) -> tuple[dict[int, list[Turn]], dict[int, dict[str, float]]]:
    """The turns of each size, and how long its directory takes."""
    kinds, looked = {}, {}
    for size, (all_of, keys) in sides.items():
        console.print(f"{size:,}: {len(keys):,} institutions ask once ...")
        kinds[size] = asyncio.run(prepare(all_of, keys))
        looked[size] = asyncio.run(looks(all_of))
    turns: dict[int, list[Turn]] = {size: [] for size in sides}
    for number in range(rounds + 1):
        for size, (all_of, _) in sides.items():
            how = Drive(CONNECTIONS, seconds, seed=SEED + number)
            done = turn(driver, all_of, kinds[size], how)
            console.print(f"round {number}, {size:,}: {done}")
            # The first one warms up.
            if number:
                turns[size].append(done)
    return turns, looked


def more(values: list[float], smallest: list[float]) -> float:
    """In percent, the median of each beside the smallest size's in the same round."""
    pairs = zip(values, smallest, strict=True)
    return (statistics.median(one / other for one, other in pairs) - 1) * 100


def told(
    turns: dict[int, list[Turn]], looked: dict[int, dict[str, float]]
) -> dict[int, dict[str, float]]:
    totals = {size: [one.total for one in done] for size, done in turns.items()}
    rates = {size: [one.rate for one in done] for size, done in turns.items()}
    least = min(turns)
    return {
        size: {
            **{
                f"{part}, µs": statistics.median(one.micros[part] for one in done)
                for part in done[0].micros
            },
            "sum, µs": statistics.median(totals[size]),
            "grown, %": more(totals[size], totals[least]),
            "answers/s": statistics.median(rates[size]),
            "more, %": more(rates[size], rates[least]),
            "idle workers, % of a core": statistics.median(
                one.idle["workers"] for one in done
            ),
            **{f"directory, {what}, ms": one for what, one in looked[size].items()},
        }
        for size, done in turns.items()
    }


def show(what: str, figures: dict[int, dict[str, float]]) -> None:
    table = Table(what, *(f"{size:,}" for size in figures))
    for title in figures[min(figures)]:
        table.add_row(title, *(f"{one[title]:,.1f}" for one in figures.values()))
    console.print(table)
    if what in AIMS:
        most = max(one["grown, %"] for one in figures.values())
        console.print(f"grown by {most:.1f} % at most; the aim is {AIMS[what]} %")


def report(
    asked: argparse.Namespace,
    turns: dict[int, list[Turn]],
    looked: dict[int, dict[str, float]],
) -> None:
    figures = told(turns, looked)
    if asked.json:
        raw = {size: [asdict(one) for one in done] for size, done in turns.items()}
        document: dict[str, Any] = {"what": asked.what, "told": figures, "turns": raw}
        document["load_average"] = os.getloadavg()
        asked.json.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    show(asked.what, figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=SIZES, required=True)
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with ExitStack() as standing:
        folder = asked.data
        if folder is None:
            scratch = tempfile.TemporaryDirectory(prefix="bench-growth-")
            folder = Path(standing.enter_context(scratch))
        context = get_context("spawn")
        driver = standing.enter_context(ProcessPoolExecutor(1, mp_context=context))
        sides = {}
        for size in sorted(asked.sizes or SIZES[asked.what]):
            console.print(f"{asked.what}: {size:,}")
            side = stand(asked.what, size, (folder / f"{asked.what}-{size}").resolve())
            sides[size] = standing.enter_context(side)
        turns, looked = run(driver, sides, asked.seconds, asked.rounds)
        # Inside, since who is interrupted has nothing to report.
        report(asked, turns, looked)


if __name__ == "__main__":
    main()
