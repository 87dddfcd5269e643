"""How large an entry is, and how fast the log answers, at a size and a tenth of it.

`make bench-audit ROWS=20000000`. Both logs are on one server, filled in one run; each
question is put 200 times, after as many to warm up, and the median told.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import asyncpg
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from gateway.audit.inspection import Criteria, Inspection
from gateway.audit.rollup import MOST_BATCHES, Rollups
from gateway.audit.summary import By, Summaries
from gateway.audit.tidying import tidy
from gateway.embedded.postgres import PostgresServer
from gateway.embedded.provisioning import Provisioned
from gateway.postgres import Link, Pool, pool
from tests.benchmarks import filling
from tests.benchmarks.filling import DAY, DAYS, INSTITUTIONS, RESIDENTS, Month

QUESTIONS: Final = 200
PAGE: Final = 100
console = Console(stderr=True)
Ask = Callable[[random.Random], Awaitable[object]]


async def size_of(superuser: asyncpg.Connection, *tables: str) -> int:
    """Bytes with indexes, of all partitions."""
    found: int = await superuser.fetchval(
        "SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class AS c"
        " WHERE c.oid = ANY($1::text[]::regclass[])"
        " OR pg_partition_root(c.oid) = ANY($1::text[]::regclass[])",
        list(tables),
    )
    return found


async def sizes(superuser: asyncpg.Connection, rows: int) -> dict[str, float]:
    indexes = await superuser.fetch(
        "SELECT x.indexrelid::regclass::text AS name,"
        " (SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree(x.indexrelid))::bigint AS bytes"
        " FROM pg_index AS x WHERE x.indrelid = 'entries'::regclass"
    )
    entries = await size_of(superuser, "entries")
    proofs = await size_of(superuser, "batches", "seals", "nodes", "checkpoints")
    return {
        "entry": entries / rows,
        "entry_with_proofs": (entries + proofs) / rows,
        **{row["name"]: row["bytes"] / rows for row in indexes},
    }


def questions(auditor: Pool, month: Month) -> dict[str, Ask]:
    inspection, summaries, weights = (
        Inspection(auditor),
        Summaries(auditor),
        filling.zipf(),
    )

    def day(chance: random.Random) -> tuple[int, int]:
        starts = month.first_day + chance.randrange(DAYS) * DAY
        return starts, starts + DAY

    async def page(chance: random.Random, institution: int) -> None:
        starts, ends = day(chance)
        asked = Criteria(from_at=starts, to_at=ends, institution=institution)
        await inspection.page(asked, None, PAGE)

    async def often(chance: random.Random) -> None:
        await page(chance, filling.institution_of(chance, weights))

    async def seldom(chance: random.Random) -> None:
        await page(chance, chance.randint(1, INSTITUTIONS))

    async def subject(chance: random.Random) -> None:
        asked = [filling.subject_of(chance.randrange(RESIDENTS))]
        await inspection.page(Criteria(subjects=asked), None, 1000)

    async def summary(chance: random.Random) -> None:
        await summaries.summarise(By.INSTITUTION, *day(chance))

    return {
        "an institution's day, by entries": often,
        "an institution's day, any of them": seldom,
        "a subject's 30 days": subject,
        "a day's summary by institution": summary,
    }


async def median_ms(ask: Ask) -> float:
    taken: list[float] = []
    # The first round warms up; neither is the other's.
    for chance in (random.Random(1), random.Random(2)):  # noqa: S311 - for a benchmark
        taken = []
        for _ in range(QUESTIONS):
            began = time.perf_counter()
            await ask(chance)
            taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


async def measure(server: PostgresServer, rows: int, flush: int) -> dict[str, Any]:
    name = f"log_{rows}"
    provisioned = Provisioned(server, server.folder.parent / "roles.json")
    await provisioned.create(name)
    superuser = await asyncpg.connect(server.dsn(database=name))
    first_day = filling.first_day_of(time.time_ns() // 1000)
    purposes = await filling.prepare(superuser, first_day)
    month = Month(server.dsn(database=name), rows, flush, first_day, purposes)
    began = time.perf_counter()
    with Progress(console=console) as bar:
        task = bar.add_task(f"{rows:,} entries", total=rows)
        async for done in filling.fill(month):
            bar.update(task, completed=done)
    filled = time.perf_counter() - began
    rolled = await roll_up(provisioned.dsn("sealer", name))
    written = await sizes(superuser, rows)
    began = time.perf_counter()
    async for _ in tidy(superuser):
        pass
    tidied = time.perf_counter() - began
    await superuser.execute("VACUUM ANALYZE")
    async with pool(
        provisioned.dsn("auditor", name), name="bench", size=2, statement_seconds=60
    ) as auditor:
        latencies = {
            title: await median_ms(ask)
            for title, ask in questions(auditor, month).items()
        }
    kept = await sizes(superuser, rows)
    await superuser.close()
    return {
        "rows": rows,
        "seconds": {"fill": filled, "roll_up": rolled, "tidy": tidied},
        "bytes as written": written,
        "bytes once tidied": kept,
        "ms": latencies,
    }


async def roll_up(dsn: str) -> float:
    began = time.perf_counter()
    link = Link(dsn, name="rollups", statement_seconds=600)
    async with link.connection() as connection:
        rollups = Rollups(link)
        while await rollups.step(connection) == MOST_BATCHES:
            pass
    link.drop()
    return time.perf_counter() - began


def show(results: list[dict[str, Any]]) -> None:
    small, large = results
    table = Table("", f"{small['rows']:,}", f"{large['rows']:,}", "ratio")
    for kind in ("bytes as written", "bytes once tidied", "ms", "seconds"):
        table.add_section()
        for title in large[kind]:
            one, other = small[kind][title], large[kind][title]
            ratio = f"{other / one:.2f}"
            table.add_row(f"{title}, {kind}", f"{one:.1f}", f"{other:.1f}", ratio)
    Console().print(table)


async def run(rows: int, flush: int, folder: Path) -> list[dict[str, Any]]:
    server = PostgresServer(folder / "postgres")
    server.start()
    try:
        return [await measure(server, n, flush) for n in (rows // 10, rows)]
    finally:
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument(
        "--flush", type=int, default=8, help="entries of a flush, on average"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-audit-") as folder:
        results = asyncio.run(run(arguments.rows, arguments.flush, Path(folder)))
    document = {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
        "flush": arguments.flush,
        "load_average": os.getloadavg(),
        "results": results,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    show(results)


if __name__ == "__main__":
    main()
