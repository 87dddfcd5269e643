"""Counters held against the log: what each institution spent, and what it was charged.

They agree but for calls in flight, so what differs is looked at again. A counter above
the charges holds units whose call's fate was unknown, until its window turns or it is
loaded again; one below them should not be.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from redis.asyncio import Redis

from gateway.clock import from_datetime
from gateway.postgres import Pool
from gateway.quota.epochs import SQL
from gateway.quota.limit import DAY, State, day_end, month_begin, month_end, turned
from gateway.quota.rebuild import Ledger
from gateway.quota.reserve import states
from gateway.quota.script import GENERATION_KEY, state_key

LOOKS: Final = 3
PAUSE: Final = 1.5
AT_ONCE: Final = 500


class Difference(NamedTuple):
    """Units of the day and of the month: those counted, and those the log has charged."""

    institution: int
    day_counted: int
    day_charged: int
    month_counted: int
    month_charged: int


class Reconciliation(NamedTuple):
    """How many institutions have counters, and those that differ from the log."""

    counted: int
    differences: list[Difference]


async def reconcile(redis: Redis, auditor: Pool, ledger: Ledger) -> Reconciliation:
    """Looks up to three times, 1.5 s apart; tells what differed each time alike.

    Raises:
        RedisError: limits are counted in Redis, and it does not answer.
    """
    found, differing = await _look(redis, auditor, ledger)
    for _ in range(1, LOOKS):
        if not differing:
            break
        await asyncio.sleep(PAUSE)
        found, again = await _look(redis, auditor, ledger)
        differing = {one: again[one] for one in differing.keys() & again.keys()}
    return Reconciliation(found, [differing[one] for one in sorted(differing)])


async def _look(
    redis: Redis, auditor: Pool, ledger: Ledger
) -> tuple[int, dict[int, Difference]]:
    async with auditor.acquire() as connection:
        row = await connection.fetchrow(SQL["epoch"])
        ids = [one["id"] for one in await connection.fetch(SQL["institution_ids"])]
        if row is None:
            raise RuntimeError("the table quota_epoch has lost its row")
        if row["epoch"] % 2:
            kept = states(await connection.fetch(SQL["all_counters"], row["epoch"]))
        else:
            kept = await _in_redis(redis, ids)
    now = from_datetime(row["now"])
    charged = await ledger.charged(list(kept), month_begin(now), day_end(now) - DAY)
    return len(kept), _differences(kept, charged, now)


async def _in_redis(redis: Redis, institutions: Sequence[int]) -> dict[int, State]:
    generation = await redis.get(GENERATION_KEY)
    fields = (*State._fields, "generation")
    kept: dict[int, State] = {}
    for start in range(0, len(institutions), AT_ONCE):
        some = institutions[start : start + AT_ONCE]
        async with redis.pipeline(transaction=False) as commands:
            for one in some:
                commands.execute_command("HMGET", state_key(one), *fields)
            for one, (*numbers, of) in zip(some, await commands.execute(), strict=True):
                if generation is not None and of == generation:
                    kept[one] = State(*(int(number or 0) for number in numbers))
    return kept


def _differences(
    kept: Mapping[int, State], charged: Mapping[int, tuple[int, int]], now: int
) -> dict[int, Difference]:
    found = {}
    for one, state in kept.items():
        here = turned(state, now)
        # A server's clock may be a moment ahead of the other's.
        if (here.day_ends, here.month_ends) != (day_end(now), month_end(now)):
            continue
        day, month = charged.get(one, (0, 0))
        if (here.day_used, here.month_used) != (day, month):
            found[one] = Difference(one, here.day_used, day, here.month_used, month)
    return found
