"""`gateway bench`: what this machine answers, and what it could do bare.

Everything is on the machine: PostgreSQL, Valkey, the gateway and the load generator. So
the numbers that travel are ratios, taken in rounds of one run: to a route of the same
framework that returns a constant, and to pgbench doing the two bare statements of a
lookup (its SELECT, its INSERT) row by row.
"""

import asyncio
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import psutil

from gateway.embedded import callers, floor
from gateway.embedded.demo import Standing, standing
from gateway.embedded.driving import SEED, Drive, Kind, drive
from gateway.embedded.floor import Floor
from gateway.embedded.latency import beside, curve
from gateway.embedded.load import Heard
from gateway.embedded.ports import free_port, is_free
from gateway.embedded.processes import ServerError
from gateway.embedded.reporting import BATCH, Figures, Measured, Size, console, report
from gateway.registry import synthetic

CONNECTIONS: Final = 64
REQUESTS: Final = 5_000
BATCHES: Final = 200
CROWDS: Final = 40
# Of a point of the curve, in rounds of the table.
POINT_ROUNDS: Final = 1.5
CHARGED: Final = ("verify", "fetch", "batch")


def _kinds(all_of: Standing, keys: list[str], niks: list[str]) -> dict[str, Kind]:
    chance = random.Random(SEED)  # noqa: S311 - a sample, no secret
    asking = callers.by_zipf(chance, keys, REQUESTS)
    tight = all_of.credentials["institutions"]["tight"]["key"]
    requests = {
        "verify": [callers.verify(key, chance.choice(niks)) for key in asking],
        "fetch": [callers.fetch(key, chance.choice(niks)) for key in asking],
        "batch": [
            callers.batch(key, chance.sample(niks, BATCH)) for key in asking[:BATCHES]
        ],
        "refused": [callers.verify(tight, nik, "kyc") for nik in niks],
        "unauthenticated": [callers.verify(tight[:-1] + "!", nik) for nik in niks],
    }
    return {name: Kind(all_of.port, made) for name, made in requests.items()}


def _crowd(key: str, niks: list[str]) -> list[bytes]:
    """Batches of a thousand."""
    chance = random.Random(SEED)  # noqa: S311 - a sample, no secret
    return [callers.batch(key, chance.sample(niks, 1000)) for _ in range(CROWDS)]


@contextmanager
def _constant() -> Iterator[Kind]:
    port = free_port()
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "gateway.embedded.constant", str(port)]
    )
    try:
        deadline = time.monotonic() + 20
        while is_free(port):
            if time.monotonic() > deadline:
                raise ServerError("The constant route did not start.")
            time.sleep(0.1)
        yield Kind(port, [callers.request("/constant", "nobody")])
    finally:
        process.terminate()
        process.wait()


def _cpu(gateway: int) -> float:
    """Seconds of CPU that the gateway's workers have taken."""
    processes = psutil.Process(gateway).children(recursive=True)
    times = [one.cpu_times() for one in processes if "seal" not in one.cmdline()]
    return sum(one.user + one.system for one in times)


def _memory(gateway: int) -> int:
    """Bytes that the largest worker holds."""
    processes = psutil.Process(gateway).children(recursive=True)
    return max(one.memory_info().rss for one in processes)


def run(size: Size, json_file: Path | None, against: Path | None) -> None:
    """Measures, prints a table, and writes it as JSON and as a picture beside it.

    Raises:
        ServerError: something could not be started, or the log has other charges than
            there were answers; or calls cost more than `against` allows.
    """
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder,
        standing(
            port=port, data=Path(folder), residents=size.residents, workers=None
        ) as all_of,
        _constant() as constant,
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as driver,
    ):
        console.print(f"{size.institutions:,} institutions ...")
        keys = asyncio.run(callers.take_on(all_of, size.institutions))
        # Until every worker knows them.
        time.sleep(2)
        sample = synthetic.sample(size.residents, REQUESTS, seed=SEED)
        niks = [str(resident["nik"]) for resident in sample]
        kinds = _kinds(all_of, keys, niks) | {"constant": constant}
        floors = floor.prepare(all_of, niks)
        measured, bare = _rounds(size, all_of, kinds, floors, driver)
        _check(measured, asyncio.run(callers.charged(all_of)))
        console.print("latency against load ...")
        verify, seconds = measured["verify"].rate, size.seconds * POINT_ROUNDS
        points = curve(driver, kinds["verify"], verify, seconds)
        crowd = Kind(all_of.port, _crowd(keys[-1], niks))
        disturbed = beside(driver, (kinds["verify"], crowd), verify, seconds)
        memory = _memory(all_of.gateway.pid)
    figures = Figures(size, measured, bare, points, disturbed, memory)
    report(figures, json_file, against)


def _rounds(
    size: Size,
    all_of: Standing,
    kinds: dict[str, Kind],
    floors: Floor,
    driver: Executor,
) -> tuple[dict[str, Measured], float]:
    """Each kind and the floor in turn, again and again; and the median of the floor."""
    measured = {name: Measured([], Counter(), []) for name in kinds}
    bare: list[float] = []
    for number in range(size.rounds):
        for name, kind in kinds.items():
            if name == "constant":
                # Before what asks nothing of PostgreSQL, which is busy for a while after it.
                bare.append(floor.measure(floors, CONNECTIONS, size.seconds))
            console.print(f"round {number + 1}: {name} ...")
            before = _cpu(all_of.gateway.pid)
            heard = drive(driver, kind, Drive(CONNECTIONS, size.seconds)).result()
            _note(measured[name], heard, _cpu(all_of.gateway.pid) - before)
    return measured, statistics.median(bare)


def _note(measured: Measured, heard: Heard, cpu: float) -> None:
    measured.rates.append(heard.rate)
    measured.statuses += heard.statuses + heard.late
    answers = (heard.statuses + heard.late).total()
    measured.micros.append(cpu / answers * 1e6)
    if heard.lost:
        raise ServerError(f"{heard.lost} connections were lost.")


def _check(measured: dict[str, Measured], charged: int) -> None:
    answered = sum(
        measured[name].statuses[200] * (BATCH if name == "batch" else 1)
        for name in CHARGED
    )
    # What the tight one was admitted for counts as well.
    answered += measured["refused"].statuses[200]
    if answered != charged:
        raise ServerError(f"{answered} answers, and {charged} charges in the log.")
