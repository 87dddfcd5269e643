"""What reads the log's newest part goes once through it, whatever statistics say of it.

A day's partition grows faster than it is analyzed: the planner takes what was written since
for next to nothing, and would go through one side of a join anew for each row of the other.
"""

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import pytest

from gateway.audit.entry import batch_number
from gateway.audit.rollup import MOST_OF_A_RUN, SQL, extent
from gateway.clock import SECOND, to_datetime
from gateway.postgres import Connection
from tests.conftest import Database
from tests.integration import logs

pytestmark = pytest.mark.integration
BATCHES = 100
ENTRIES = 40
ROWS = (
    "Actual Rows",
    "Rows Removed by Filter",
    "Rows Removed by Join Filter",
    "Rows Removed by Index Recheck",
)


class Part(NamedTuple):
    """All batches of a log, and between which instants their entries lie."""

    batches: list[int]
    starts: datetime
    ends: datetime

    @property
    def ends_of_batches(self) -> tuple[int, int]:
        return self.batches[0], self.batches[-1]


QUESTIONS: dict[str, Callable[[Part], tuple[Any, ...]]] = {
    "roll_up": lambda part: (
        part.batches,
        *part.ends_of_batches,
        part.starts,
        part.ends,
    ),
    "count_batches": lambda part: (
        "institution",
        part.starts,
        part.ends,
        part.batches,
        *part.ends_of_batches,
    ),
    "charged_in_batches": lambda part: (
        [1, 2],
        part.batches,
        *part.ends_of_batches,
        part.starts,
        part.ends,
        part.starts,
    ),
    "entries_of_batches": lambda part: (
        *part.ends_of_batches,
        part.starts,
        part.ends,
    ),
    "entries_of_named_batches": lambda part: (
        *part.ends_of_batches,
        part.starts,
        part.ends,
        part.batches,
    ),
    "leaves_of_entries": lambda part: (
        part.batches[0],
        part.batches[-1] + 1,
        part.starts,
        part.ends,
        part.starts,
        part.ends,
    ),
    "places_of_leaves": lambda part: (
        part.batches[0],
        part.batches[-1] + 1,
        part.starts,
        part.ends,
    ),
    "leaves_of_span": lambda part: (part.starts, part.ends),
    "late_batches": lambda part: (0, part.batches[-1], 1000),
    "sealed_from": lambda part: (0, len(part.batches)),
}


@pytest.mark.parametrize("analyzed", [True, False])
async def test_the_newest_part_of_the_log_is_gone_through_once(
    database: Database, hot: Connection, superuser: Connection, *, analyzed: bool
) -> None:
    part = await outgrow_its_statistics(database, hot, superuser, analyzed=analyzed)
    # So that a join that could be made so is, and not by the day's luck.
    await superuser.execute("SET enable_hashjoin = off")
    await superuser.execute("SET enable_mergejoin = off")
    # And no table is so small that it is read whole each time.
    await superuser.execute("SET enable_seqscan = off")
    for mode in ("force_custom_plan", "force_generic_plan"):
        await superuser.execute(f"SET plan_cache_mode = {mode}")
        rows = {
            name: await rows_gone_through(superuser, SQL[name], arguments(part))
            for name, arguments in QUESTIONS.items()
        }
        # Batches gone through anew for each entry would be many times as much.
        most = 3 * BATCHES * ENTRIES
        assert {name: count for name, count in rows.items() if count > most} == {}


async def test_a_pass_of_the_sealer_reads_no_more_of_a_backlog_than_it_takes(
    database: Database, hot: Connection, superuser: Connection
) -> None:
    part = await outgrow_its_statistics(database, hot, superuser, analyzed=False)
    # Of batches a millisecond apart.
    span = (part.batches[20] - part.batches[10]) // 2
    for name, arguments in (
        ("new_batches", (part.batches[10], span, 1000)),
        ("first_batch_above", (part.batches[10],)),
    ):
        assert await rows_gone_through(superuser, SQL[name], arguments) < 20


@pytest.mark.parametrize(
    "name",
    ["roll_up", "count_batches", "charged_in_batches", "entries_of_named_batches"],
)
async def test_a_run_of_batches_fits_into_a_hash(
    superuser: Connection, name: str
) -> None:
    now = time.time_ns() // 1000
    many = [batch_number(now + n * 1000, 0, 0) for n in range(MOST_OF_A_RUN)]
    part = Part(many, *map(to_datetime, extent(many)))
    for work_mem, hashed in (("4MB", True), ("64kB", False)):
        await superuser.execute(f"SET work_mem = '{work_mem}'")
        told = await superuser.fetch(f"EXPLAIN {SQL[name]}", *QUESTIONS[name](part))
        assert any("hashed SubPlan" in line[0] for line in told) is hashed


async def outgrow_its_statistics(
    database: Database, hot: Connection, superuser: Connection, *, analyzed: bool
) -> Part:
    await logs.make_key(superuser)
    now = time.time_ns() // 1000
    await logs.write(hot, [logs.answer(now - SECOND, 1)])
    await logs.seal(database)
    if analyzed:
        await superuser.execute("ANALYZE entries, batches, seals")
    for n in range(BATCHES):
        await logs.write(hot, [logs.answer(now + n * 1000, 1)] * ENTRIES)
    await logs.seal(database)
    sealed = await superuser.fetch("SELECT batch FROM seals ORDER BY batch")
    batches = [row["batch"] for row in sealed]
    assert len(batches) == BATCHES + 1
    return Part(batches, *map(to_datetime, extent(batches)))


async def rows_gone_through(
    superuser: Connection, query: str, arguments: tuple[Any, ...]
) -> float:
    """The most that one part of the plan gave or threw away, of all its turns."""
    told: str
    asked = superuser.transaction()
    await asked.start()
    try:
        # By name, or the plan would be for these arguments whatever the mode.
        await superuser.execute(f"PREPARE asked AS {query}")
        told = await superuser.fetchval(
            "EXPLAIN (ANALYZE, FORMAT JSON)"
            f" EXECUTE asked ({', '.join(map(literal, arguments))})"
        )
        await superuser.execute("DEALLOCATE asked")
    finally:
        await asked.rollback()
    gone: list[float] = [
        sum(one.get(rows, 0) for rows in ROWS) * one["Actual Loops"]
        for one in parts(json.loads(told)[0]["Plan"])
    ]
    return max(gone)


def literal(argument: object) -> str:
    match argument:
        case list():
            return f"'{{{','.join(map(str, argument))}}}'"
        case int():
            return str(argument)
        case _:
            return f"'{argument}'"


def parts(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for one in plan.get("Plans", []):
        yield from parts(one)
