"""How long it takes to make all counters anew when Redis has lost everything.

`python -m tests.benchmarks.loading --rows 10000000`: a month of entries, Redis emptied,
and every institution asks once within a second, of two workers.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import asyncpg
from rich.console import Console
from rich.progress import Progress

from gateway.audit.charges import Charges
from gateway.clock import ServerClock
from gateway.embedded.postgres import PostgresServer
from gateway.embedded.provisioning import Provisioned
from gateway.embedded.valkey import ValkeyServer
from gateway.postgres import Link, pool
from gateway.quota.epochs import Epochs
from gateway.quota.limit import Decision
from gateway.quota.limiter import Limiter
from gateway.quota.reconciliation import reconcile
from gateway.redis import open_server
from gateway.vocabulary import Limits
from tests.benchmarks import filling
from tests.benchmarks.audit_scale import roll_up
from tests.benchmarks.filling import INSTITUTIONS, Month

WORKERS: Final = 2
ROUNDS: Final = 5
DATABASE: Final = "log"
LIMITS: Final = Limits(rate=50, burst=1_000, day=10**7, month=10**8)
console = Console()


async def fill(provisioned: Provisioned, server: PostgresServer, rows: int) -> None:
    await provisioned.create(DATABASE)
    dsn = server.dsn(database=DATABASE)
    superuser = await asyncpg.connect(dsn)
    first_day = filling.first_day_of(time.time_ns() // 1000)
    purposes = await filling.prepare(superuser, first_day)
    with Progress(console=console) as bar:
        task = bar.add_task(f"{rows:,} entries", total=rows)
        async for done in filling.fill(Month(dsn, rows, 8, first_day, purposes)):
            bar.update(task, completed=done)
    await superuser.execute(
        "INSERT INTO institutions (id, name) OVERRIDING SYSTEM VALUE"
        f" SELECT n, 'I' || n FROM generate_series(1, {INSTITUTIONS}) AS n"
        " ON CONFLICT DO NOTHING"
    )
    await roll_up(provisioned.dsn("sealer", DATABASE))
    await superuser.execute("VACUUM ANALYZE")
    await superuser.close()


async def ask_all(limiters: list[Limiter]) -> float:
    """Seconds until every institution has had one call admitted, half by each worker.

    They all call within the first second.
    """

    async def ask(number: int) -> Decision:
        await asyncio.sleep(number / INSTITUTIONS)
        return await limiters[number % WORKERS].admit(number, 1, LIMITS)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as calls:
        asked = [calls.create_task(ask(n)) for n in range(1, INSTITUTIONS + 1)]
    assert all(call.result().admitted for call in asked)
    return time.perf_counter() - began


async def measure(
    provisioned: Provisioned, valkey: ValkeyServer
) -> tuple[list[float], float]:
    dsn, taken = provisioned.dsn("auditor", DATABASE), list[float]()
    async with AsyncExitStack() as open_until_then:
        auditor = await open_until_then.enter_async_context(
            pool(dsn, name="bench", size=4, statement_seconds=60)
        )
        tasks = await open_until_then.enter_async_context(asyncio.TaskGroup())
        limiters = []
        for _ in range(WORKERS):
            redis = open_server(valkey.url)
            hot = provisioned.dsn("hot", DATABASE)
            links = [Link(hot, name="bench", statement_seconds=0) for _ in range(3)]
            limiter = Limiter(
                redis,
                epochs=Epochs(links[0]),
                links=(links[1], links[2]),
                ledger=Charges(auditor),
                clock=ServerClock(),
                tasks=tasks,
            )
            for link in links:
                open_until_then.callback(link.drop)
            open_until_then.push_async_callback(redis.aclose)
            open_until_then.push_async_callback(limiter.close)
            limiters.append(limiter)
        for _ in range(ROUNDS):
            async with open_server(valkey.url) as redis:
                await redis.flushall()
            taken.append(await ask_all(limiters))
        began = time.perf_counter()
        async with open_server(valkey.url) as redis:
            await reconcile(redis, auditor, Charges(auditor))
        return taken, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="bench-loading-") as folder:
        server = PostgresServer(Path(folder) / "postgres")
        valkey = ValkeyServer(Path(folder) / "valkey")
        provisioned = Provisioned(server, Path(folder) / "roles.json")
        server.start()
        valkey.start()
        try:
            asyncio.run(fill(provisioned, server, rows))
            taken, compared = asyncio.run(measure(provisioned, valkey))
        finally:
            valkey.stop()
            server.stop()
    console.print(
        f"{rows:,} entries, {INSTITUTIONS:,} institutions, {WORKERS} workers: all loaded"
        f" within {statistics.median(taken):.2f} s (of {ROUNDS}: "
        f"{', '.join(f'{one:.2f}' for one in taken)}); reconcile {compared:.2f} s"
    )


if __name__ == "__main__":
    main()
