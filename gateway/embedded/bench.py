"""`gateway bench`: what this machine answers, and what it could do bare.

Everything is on the machine: PostgreSQL, Valkey, the gateway and the load generator. So
the numbers that travel are ratios, taken in rounds of one run: to a route of the same
framework that returns a constant, and to pgbench doing the two bare statements of a
lookup (its SELECT, its INSERT) row by row.
"""

import asyncio
import json
import os
import platform
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import asyncpg
import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from gateway.clock import from_datetime
from gateway.embedded import floor, samples
from gateway.embedded.demo import Standing, standing
from gateway.embedded.load import Heard, Load
from gateway.embedded.processes import ServerError
from gateway.embedded.supervision import PORTS, is_free
from gateway.registry import synthetic
from gateway.settings import NumberedKeys

CONNECTIONS: Final = 64
BATCH: Final = 100
# Requests are written before, so that the load generator has little to do.
REQUESTS: Final = 5_000
BATCHES: Final = 200
SEED: Final = 17_08_1945
CLAIMS: Final = {"name": "SITI AMINAH", "birth_date": "1990-01-05"}
CHARGED: Final = ("verify", "fetch", "batch")
console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Size:
    """How long, how often and how large."""

    seconds: float
    rounds: int
    residents: int
    institutions: int


@dataclass(frozen=True, slots=True)
class Kind:
    """Requests to a port, one of which is taken at random each time."""

    port: int
    requests: list[bytes]


@dataclass(slots=True)
class Measured:
    """Of one kind: answers a second of each round, and what they were."""

    rates: list[float]
    statuses: Counter[int]
    micros: list[float]

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)


def _drive(kind: Kind, seconds: float) -> Heard:
    """In a process of its own."""

    async def drive() -> Heard:
        chance = random.Random(SEED)  # noqa: S311 - a sample, no secret
        load = Load(kind.port, lambda: chance.choice(kind.requests))
        return await load.run(connections=CONNECTIONS, seconds=seconds)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(drive())


def _request(path: str, key: str, body: object = None) -> bytes:
    sent = b"" if body is None else json.dumps(body).encode()
    method = "GET" if body is None else "POST"
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n"
    )
    return head.encode() + sent


def _kinds(all_of: Standing, keys: list[str], niks: list[str]) -> dict[str, Kind]:
    chance = random.Random(SEED)  # noqa: S311 - a sample, no secret
    # By Zipf's law: the first asks twice as often as the second.
    weights = list(accumulate(1 / rank for rank in range(1, len(keys) + 1)))
    callers = chance.choices(keys, cum_weights=weights, k=REQUESTS)
    tight = all_of.credentials["institutions"]["tight"]["key"]

    def verify(key: str, purpose: str = "treatment") -> bytes:
        question = {"nik": chance.choice(niks), "purpose": purpose, "claims": CLAIMS}
        return _request("/v1/verify", key, question)

    def fetch(key: str) -> bytes:
        fields = ["name", "birth_date", "address"]
        question = {"nik": chance.choice(niks), "purpose": "treatment"}
        return _request("/v1/fetch", key, question | {"fields": fields})

    def batch(key: str) -> bytes:
        items = [
            {"id": f"row-{n}", "nik": nik, "claims": CLAIMS}
            for n, nik in enumerate(chance.sample(niks, BATCH))
        ]
        whole = {"operation": "verify", "purpose": "treatment", "items": items}
        return _request("/v1/batch", key, whole)

    requests = {
        "verify": [verify(key) for key in callers],
        "fetch": [fetch(key) for key in callers],
        "batch": [batch(key) for key in callers[:BATCHES]],
        "refused": [verify(tight, "kyc") for _ in range(REQUESTS)],
        "unauthenticated": [verify(tight[:-1] + "!") for _ in range(REQUESTS)],
    }
    return {name: Kind(all_of.port, made) for name, made in requests.items()}


async def _partners(all_of: Standing, institutions: int) -> list[str]:
    """As many institutions with limits out of reach; a key of each."""
    secret = all_of.data / "secrets" / "pepper"
    peppers = NumberedKeys.read(secret, setting="the bench's pepper")
    admin = await asyncpg.connect(all_of.dsn("admin"))
    try:
        async with admin.transaction():
            now = from_datetime(await admin.fetchval("SELECT now()"))
            return [
                (await samples.institution(admin, peppers, samples.BULK, now))["key"]
                for _ in range(institutions)
            ]
    finally:
        await admin.close()


async def _charged(all_of: Standing) -> int:
    auditor = await asyncpg.connect(all_of.dsn("auditor"))
    charged: int = await auditor.fetchval(
        "SELECT count(*) FROM entries WHERE outcome::integer IN (1, 2, 3, 4)"
    )
    await auditor.close()
    return charged


@contextmanager
def _constant() -> Iterator[Kind]:
    port = next(port for _ in PORTS if is_free(port := secrets.choice(PORTS)))
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "gateway.embedded.constant", str(port)]
    )
    try:
        deadline = time.monotonic() + 20
        while is_free(port):
            if time.monotonic() > deadline:
                raise ServerError("The constant route did not start.")
            time.sleep(0.1)
        yield Kind(port, [_request("/constant", "nobody")])
    finally:
        process.terminate()
        process.wait()


def _cpu(gateway: int) -> float:
    """Seconds of CPU that the gateway's workers have taken."""
    processes = psutil.Process(gateway).children(recursive=True)
    times = [one.cpu_times() for one in processes if "seal" not in one.cmdline()]
    return sum(one.user + one.system for one in times)


def run(size: Size, json_file: Path | None) -> None:
    """Measures, prints a table, and writes it as JSON.

    Raises:
        ServerError: something could not be started, or the log has other charges than
            there were answers.
    """
    port = next(port for _ in PORTS if is_free(port := secrets.choice(PORTS)))
    with (
        tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder,
        standing(
            port=port, data=Path(folder), residents=size.residents, workers=None
        ) as all_of,
        _constant() as constant,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as driver,
    ):
        console.print(f"{size.institutions:,} institutions ...")
        keys = asyncio.run(_partners(all_of, size.institutions))
        # Until every worker knows them.
        time.sleep(2)
        sample = synthetic.sample(size.residents, REQUESTS, seed=SEED)
        niks = [str(resident["nik"]) for resident in sample]
        kinds = _kinds(all_of, keys, niks) | {"constant": constant}
        floors = floor.prepare(all_of, niks)
        measured = {name: Measured([], Counter(), []) for name in kinds}
        bare: list[float] = []
        for number in range(size.rounds):
            for name, kind in kinds.items():
                console.print(f"round {number + 1}: {name} ...")
                before = _cpu(all_of.gateway.pid)
                heard = driver.submit(_drive, kind, size.seconds).result()
                _note(measured[name], heard, _cpu(all_of.gateway.pid) - before)
            bare.append(floor.measure(floors, CONNECTIONS, size.seconds))
        _check(measured, asyncio.run(_charged(all_of)))
    _tell(size, measured, statistics.median(bare), json_file)


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


def _tell(
    size: Size, measured: dict[str, Measured], bare: float, json_file: Path | None
) -> None:
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
    if json_file is not None:
        document = {
            "machine": {
                "cpus": os.cpu_count(),
                "processor": platform.machine(),
                "python": platform.python_version(),
            },
            "size": asdict(size),
            "pgbench": bare,
            "kinds": {
                name: {"rates": one.rates, "cpu_micros": one.micros}
                for name, one in measured.items()
            },
        }
        json_file.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
