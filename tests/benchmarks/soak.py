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
import random
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import Executor, ProcessPoolExecutor
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from gateway.embedded import callers
from gateway.embedded.demo import Standing, standing
from gateway.embedded.driving import SEED, Drive, Kind, drive
from gateway.embedded.load import Heard
from gateway.embedded.ports import free_port
from gateway.registry import synthetic
from tests.benchmarks.parts import held, parts, used_memory
from tests.benchmarks.soaked import BATCH, MIX, Sample, Window, console, report, show

RESIDENTS: Final = 200_000
INSTITUTIONS: Final = 1_000
CONNECTIONS: Final = 32
# Of each kind, to be taken from.
REQUESTS: Final = 20_000
BATCHES: Final = 2_000
# So short that the load generator, which begins anew each time, stays small.
CHUNK_S: Final = 30.0
WINDOW_CHUNKS: Final = 20


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
        # Inside, since who is interrupted has nothing to report.
        report(windows, charged, how.json)


if __name__ == "__main__":
    main()
