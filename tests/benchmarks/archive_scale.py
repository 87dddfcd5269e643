"""How small an archived entry is, how long a day takes, and how fast the archive answers.

`python -m tests.benchmarks.archive_scale --rows 20000000`: a month of lookups as
filling.py makes them, archived day by day but for the last two, then asked. Each question
is put 20 times and the median and the longest told.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

import asyncpg
from rich.console import Console

from gateway.audit.archive import Archiver, due
from gateway.audit.archived import Archive, ArchivedDay
from gateway.audit.days import begins, day_of, ends
from gateway.audit.export import Exports
from gateway.audit.inspection import Criteria
from gateway.audit.summary import By, Summaries
from gateway.audit.whole_log import WholeLog
from gateway.clock import SECOND
from gateway.embedded.postgres import PostgresServer
from gateway.embedded.provisioning import Provisioned
from gateway.postgres import Connection, pool
from tests.benchmarks import filling
from tests.benchmarks.filling import DAY, INSTITUTIONS, RESIDENTS, Month

QUESTIONS: Final = 20
PAGE: Final = 100
HOUR: Final = 3600 * SECOND
console = Console(stderr=True)
Ask = Callable[[random.Random], Awaitable[object]]


async def fill(dsn: str, rows: int) -> Month:
    superuser = await asyncpg.connect(dsn)
    first_day = filling.first_day_of(time.time_ns() // 1000)
    purposes = await filling.prepare(superuser, first_day)
    month = Month(dsn, rows, 5, first_day, purposes)
    async for done in filling.fill(month):
        console.print(f"{done:,} entries", end="\r")
    # What is counted is not what is measured here.
    await superuser.execute(
        "UPDATE rolled_up SET below = (SELECT 1 + max(first_leaf) FROM seals)"
    )
    for table in ("entries", "batches"):
        await superuser.execute(f"VACUUM (ANALYZE) {table}")
    await filling.give_to_owner(superuser)
    await superuser.close()
    return month


async def archive(dsn: str, folder: Path) -> list[tuple[ArchivedDay, float]]:
    owner = await asyncpg.connect(dsn)

    async def enter(work: Callable[[Connection], Awaitable[None]]) -> object:
        async with owner.transaction():
            await work(owner)
        return None

    archiver = Archiver(owner, folder, enter)
    made = []
    for day in await due(owner, day_of(time.time_ns() // 1000 - 2 * DAY)):
        began = time.perf_counter()
        made.append((await archiver.archive(day), time.perf_counter() - began))
        console.print(f"{day}: {made[-1][1]:.1f} s")
    await owner.close()
    return made


@dataclass(frozen=True)
class Asking:
    """Who asks, and of which days."""

    whole: WholeLog
    summaries: Summaries
    exports: Exports
    days: list[date]
    weights: list[float] = field(default_factory=filling.zipf)

    @property
    def questions(self) -> dict[str, Ask]:
        return {
            "a subject, all days": self.subject,
            "an institution's day, by entries": self.often,
            "an institution's day, any of them": self.seldom,
            "everybody's newest of a day": self.newest,
            "half an hour's summary": self.half_an_hour,
            "two hours' export": self.exported,
        }

    async def subject(self, chance: random.Random) -> None:
        asked = [filling.subject_of(chance.randrange(RESIDENTS))]
        first, past = begins(self.days[0]), ends(self.days[-1])
        criteria = Criteria(subjects=asked, from_at=first, to_at=past)
        await self.whole.page(criteria, None, PAGE)

    async def institution(self, chance: random.Random, number: int) -> None:
        day = chance.choice(self.days)
        asked = Criteria(institution=number, from_at=begins(day), to_at=ends(day))
        await self.whole.page(asked, None, PAGE)

    async def often(self, chance: random.Random) -> None:
        number = filling.institution_of(chance, self.weights)
        await self.institution(chance, number)

    async def seldom(self, chance: random.Random) -> None:
        await self.institution(chance, chance.randint(1, INSTITUTIONS))

    async def newest(self, chance: random.Random) -> None:
        day = chance.choice(self.days)
        await self.whole.page(Criteria(to_at=ends(day)), None, PAGE)

    async def half_an_hour(self, chance: random.Random) -> None:
        starts = begins(chance.choice(self.days)) + SECOND
        await self.summaries.summarise(By.INSTITUTION, starts, starts + HOUR // 2)

    async def exported(self, chance: random.Random) -> None:
        starts = begins(chance.choice(self.days)) + HOUR
        extract = await self.exports.find(starts, starts + 2 * HOUR)
        if extract is not None:
            async for _ in self.exports.lines(extract):
                pass


async def seconds_of(ask: Ask) -> tuple[float, float]:
    chance = random.Random(7)  # noqa: S311 - for a benchmark
    taken = []
    for _ in range(QUESTIONS):
        began = time.perf_counter()
        await ask(chance)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken), max(taken)


async def measure(server: PostgresServer, rows: int, folder: Path) -> dict[str, object]:
    provisioned = Provisioned(server, folder / "roles.json")
    await provisioned.create("archive")
    await fill(server.dsn(database="archive"), rows)
    folder /= "archive"
    made = await archive(provisioned.dsn("owner", "archive"), folder)
    days = [one.day for one, _ in made if one.entries]
    entries = sum(one.entries for one, _ in made)
    held = Archive(folder)
    async with pool(
        provisioned.dsn("auditor", "archive"),
        name="auditor",
        size=4,
        statement_seconds=30,
    ) as auditor:
        asking = Asking(
            WholeLog(auditor, held),
            Summaries(auditor, held),
            Exports(auditor, held),
            days,
        )
        told = {name: await seconds_of(ask) for name, ask in asking.questions.items()}
    kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {
        "entries": entries,
        "days": len(days),
        "bytes_an_entry": sum(one.bytes for one, _ in made) / entries,
        "seconds_a_day": statistics.median(taken for _, taken in made),
        "seconds": told,
        "largest_process_mb": kilobytes / 1024,
        "load": os.getloadavg(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="archive-scale-") as held:
        folder = Path(held)
        folder.chmod(0o755)
        server = PostgresServer(folder / "postgres")
        server.start()
        try:
            found = asyncio.run(measure(server, rows, folder))
        finally:
            server.stop()
    print(json.dumps(found, indent=2))  # noqa: T201 - what was asked for


if __name__ == "__main__":
    main()
