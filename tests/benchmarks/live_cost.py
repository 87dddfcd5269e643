"""What an open live page costs the workers, in CPU: others on the machine change it little.

`python -m tests.benchmarks.live_cost`: verify calls at a fixed rate, in pairs of a stretch with a
page open and one without, in either order. Of each stretch the workers' CPU by call is
taken; of the pairs, the median of their differences.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import asyncpg
from rich.console import Console

from gateway.console.operating import AGAIN_MS
from gateway.embedded import callers
from gateway.embedded.demo import Standing, standing
from gateway.embedded.driving import SEED, Drive, Kind, drive
from gateway.embedded.ports import HOST, free_port
from gateway.embedded.wire import Connection
from gateway.partners import keeping
from gateway.registry import synthetic
from tests.benchmarks.console_log import agree
from tests.benchmarks.filling import INSTITUTIONS
from tests.benchmarks.parts import cpu_seconds

RESIDENTS: Final = 20_000
CONNECTIONS: Final = 64
console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Calls answered, the workers' CPU (s), and how long it was (s)."""

    calls: int
    cpu: float
    seconds: float


async def sign_in(all_of: Standing) -> str:
    """The cookie of ops."""
    async with Connection.opened(all_of.port) as connection:
        answer = await connection.ask(
            "POST",
            "/console/session",
            body=urlencode({"credential": all_of.credentials["staff"]["ops"]}).encode(),
            headers={
                "Host": "localhost",
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )
    return answer.headers["set-cookie"].partition(";")[0]


async def watch(port: int, cookie: str) -> None:
    """For ever, as the page's script does: a stream, and at its end the next."""
    lines = ("GET /console/ops/stream HTTP/1.1", "Host: localhost", f"Cookie: {cookie}")
    while True:
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write("\r\n".join((*lines, "Connection: close", "", "")).encode())
            if b"event: calls" not in await reader.read():
                raise RuntimeError("the stream told nothing")
        finally:
            writer.close()
        await asyncio.sleep(AGAIN_MS / 1000)


@asynccontextmanager
async def watched(port: int, cookie: str, pages: int) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        watching = [tasks.create_task(watch(port, cookie)) for _ in range(pages)]
        # Past what a first look costs: a page stays open for hours.
        await asyncio.sleep(2 if pages else 0)
        yield
        for one in watching:
            one.cancel()


async def stretch(
    all_of: Standing, driver: Executor, kind: Kind, how: Drive
) -> Stretch:
    began, before = time.monotonic(), cpu_seconds(all_of.gateway.workers())
    heard = await asyncio.wrap_future(drive(driver, kind, how))
    spent = cpu_seconds(all_of.gateway.workers()) - before
    if heard.lost or heard.statuses[200] < 0.99 * heard.statuses.total():
        raise RuntimeError(f"lost {heard.lost}, {heard.statuses}")
    return Stretch(heard.statuses.total(), spent, time.monotonic() - began)


async def take_on(all_of: Standing, institutions: int) -> None:
    """The page reads what each of them has used."""
    admin = await asyncpg.connect(all_of.dsn("admin"))
    async with admin.transaction():
        made = [
            await keeping.create_institution(admin, f"Institution {number}")
            for number in range(institutions)
        ]
        await agree(admin, made)
    await admin.close()


async def run(
    all_of: Standing, driver: Executor, how: Drive, pairs: int
) -> list[tuple[Stretch, Stretch]]:
    """Each pair without and with a page."""
    cookie = await sign_in(all_of)
    kind = Kind(all_of.port, _requests(all_of))
    await stretch(all_of, driver, kind, how)
    found = []
    for number in range(pairs):
        taken = {}
        for pages in (0, 1) if number % 2 else (1, 0):
            async with watched(all_of.port, cookie, pages):
                taken[pages] = await stretch(all_of, driver, kind, how)
        found.append((taken[0], taken[1]))
        console.print(number + 1, taken)
    return found


def _requests(all_of: Standing) -> list[bytes]:
    key = all_of.credentials["institutions"]["bulk"]["key"]
    sample = synthetic.sample(RESIDENTS, 1000, seed=SEED)
    made = [callers.verify(key, str(resident["nik"])) for resident in sample]
    random.Random(SEED).shuffle(made)  # noqa: S311 - for a benchmark
    return made


def told(pairs: list[tuple[Stretch, Stretch]]) -> dict[str, float]:
    without = statistics.median(one.cpu / one.calls for one, _ in pairs)
    # Calls of the other stretch are taken as dear as those of this one.
    page = statistics.median(
        (other.cpu - one.cpu / one.calls * other.calls) / other.seconds
        for one, other in pairs
    )
    return {
        "cpu of a call, µs": without * 1e6,
        "cpu of a page, ms a second": page * 1e3,
        "more by call, %, median of the pairs": statistics.median(
            (other.cpu / other.calls) / (one.cpu / one.calls) * 100 - 100
            for one, other in pairs
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--institutions", type=int, default=INSTITUTIONS)
    parser.add_argument("--rate", type=float, default=1_500)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    how = Drive(CONNECTIONS, arguments.seconds, arguments.rate)
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="bench-live-") as folder,
        standing(
            port=port, data=Path(folder), residents=RESIDENTS, workers=2
        ) as all_of,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as driver,
        suppress(KeyboardInterrupt),
    ):
        asyncio.run(take_on(all_of, arguments.institutions))
        time.sleep(2)
        pairs = asyncio.run(run(all_of, driver, how, arguments.pairs))
        document = {"load_average": os.getloadavg(), "told": told(pairs)}
        console.print(document)
        if arguments.json:
            document["pairs"] = [[asdict(one) for one in pair] for pair in pairs]
            arguments.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
