"""Fills the registry with synthetic residents, and takes samples of them.

Nobody here exists: every NIK and KK has a serial the civil registry does not use.
"""

import asyncio
import csv
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Final

from gateway.postgres import connect
from gateway.registry.families import BLOCK
from gateway.registry.population import Population
from gateway.registry.resident import Resident
from gateway.vocabulary import RESIDENT_FIELDS

SAMPLE: Final = 1000
_PATIENCE: Final = 3600.0  # seconds; COPY is one statement, however much it carries


async def load(
    dsn: str, residents: int, *, seed: int, progress: Callable[[int], None]
) -> int:
    """Fill registry.residents, if it is empty, with the first residents of a seed.

    One transaction: a crash on the way leaves the table empty, and the next start
    loads anew. Of two that start together the second waits, and finds it full.

    Args:
        dsn: of the role that owns the table.
        residents: how many; 1,000,000 take 13 s and 36 MB on two cores, PostgreSQL on one.
        seed: the same seed gives the same residents.
        progress: called with the number sent so far, after each block of a hundred.

    Returns:
        How many were loaded: 0 if the table held rows already.

    Raises:
        ValueError: more residents than there are synthetic serials for.
    """
    blocks = Population(seed).blocks(residents)
    connection = await connect(dsn, name="synthetic", statement_seconds=_PATIENCE)
    try:
        async with connection.transaction():
            await connection.execute(
                "LOCK TABLE registry.residents IN SHARE ROW EXCLUSIVE MODE"
            )
            if await connection.fetchval(
                "SELECT EXISTS (SELECT FROM registry.residents)"
            ):
                return 0
            await connection.copy_to_table(
                "residents",
                schema_name="registry",
                columns=RESIDENT_FIELDS,
                source=_copy_text(blocks, progress),
            )
            # Without it the first lookups are planned for an empty table.
            await connection.execute("ANALYZE registry.residents")
    finally:
        await connection.close()
    return residents


def sample(residents: int, count: int, *, seed: int) -> Iterator[Resident]:
    """Draw `count` of those residents (all, if fewer), spread over the whole range.

    The same for the same numbers and seed, in the order in which they were loaded.
    """
    population = Population(seed)
    count = min(count, residents)
    chance = Random(seed)  # noqa: S311 - nothing here is secret
    # Kept, since the next is often of the same: to make one takes two milliseconds.
    made, people = -1, list[Resident]()
    for part in range(count):
        start, end = part * residents // count, (part + 1) * residents // count
        block, place = divmod(chance.randrange(start, end), BLOCK)
        if block != made:
            made, people = block, population.block(block)
        yield people[place]


def write_sample(path: Path, residents: int, *, seed: int) -> None:
    """Write residents-sample.csv: a header line, then SAMPLE residents, all fields.

    The values are those a fetch gives; what the registry lacks is empty.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(RESIDENT_FIELDS)
        lines.writerows(row.values for row in sample(residents, SAMPLE, seed=seed))


async def _copy_text(
    blocks: Iterator[list[Resident]], progress: Callable[[int], None]
) -> AsyncIterator[bytes]:
    sent = 0
    for block in blocks:
        yield "".join(map(_copy_line, block)).encode()
        sent += len(block)
        progress(sent)
        # The socket alone does not yield while PostgreSQL keeps up; Ctrl-C must.
        await asyncio.sleep(0)


def _copy_line(resident: Resident) -> str:
    """One line of COPY's text format; no value holds a tab, newline or backslash."""
    values = [r"\N" if value is None else value for value in resident.values]
    return "\t".join(values) + "\n"
