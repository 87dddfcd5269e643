"""What institutions were charged, and what they called lately, as the log has it.

Exact for what is committed: whole days as they are summed, and what sums do not hold yet
from its entries, in one snapshot. Counters of limits are made from it.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from gateway.audit.entry import batch_number
from gateway.audit.rollup import SQL
from gateway.audit.summary import DAY, Span, not_rolled_up
from gateway.clock import SECOND, to_datetime
from gateway.postgres import Pool

_END: Final = 2**62


class Arrived(NamedTuple):
    """`calls` that cost rate, and the instant at which all of them are paid for."""

    calls: int
    tat: int


class Charges:
    """Read by the auditor's role."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def charged(
        self, institutions: Sequence[int], month_at: int, day_at: int
    ) -> dict[int, tuple[int, int]]:
        """Units charged in the day and in the month that began then, of each.

        And those that jobs hold for what they have yet to answer: they are spent too.

        The instants are midnights of Asia/Jakarta, in microseconds. Who was charged
        nothing may be absent.
        """
        sums = defaultdict[int, list[int]](lambda: [0, 0])
        since = [to_datetime(at) for at in range(month_at, day_at + 1, DAY)]
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            rows = await connection.fetch(
                SQL["charged_days"], institutions, since, since[-1]
            )
            async for run, span in not_rolled_up(connection, Span(month_at, _END)):
                rows += await connection.fetch(
                    SQL["charged_in_batches"],
                    institutions,
                    run,
                    run[0],
                    run[-1],
                    *map(to_datetime, span),
                    since[-1],
                )
            rows += await connection.fetch(
                SQL["held_by_jobs"], institutions, since[0], since[-1]
            )
        for row in rows:
            sums[row["institution"]][0] += row["day"]
            sums[row["institution"]][1] += row["month"]
        return {one: (day, month) for one, (day, month) in sums.items()}

    async def arrivals(
        self, asked: Iterable[tuple[int, int, int]]
    ) -> dict[int, Arrived]:
        """What each institution called since an instant.

        Args:
            asked: institutions, the microseconds in which a unit of their rate comes
                back, and since when their calls count.

        Returns:
            Who has not called is absent.
        """
        institutions, steps, since = zip(*asked, strict=True)
        async with (
            self._pool.acquire() as connection,
            connection.transaction(readonly=True),
        ):
            await connection.execute(SQL["read_by_trees"])
            rows = await connection.fetch(
                SQL["arrivals"],
                institutions,
                steps,
                [to_datetime(at) for at in since],
                [batch_number(at - SECOND // 1000, 0, 0) >> 34 for at in since],
                to_datetime(min(since)),
            )
        return {row["institution"]: Arrived(row["calls"], row["tat"]) for row in rows}
