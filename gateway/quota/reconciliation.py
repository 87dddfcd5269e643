"""Counters held against the log: what each institution spent, and what it was charged.

They agree but for calls in flight, so what differs is looked at again. A counter above
the charges holds units whose call's fate was unknown, until its window turns or it is
loaded again; one below them should not be.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from redis.exceptions import RedisError

from gateway.clock import from_datetime
from gateway.postgres import Pool
from gateway.quota.epochs import SQL
from gateway.quota.limit import DAY, State, day_end, month_begin, month_end, turned
from gateway.quota.rebuild import Ledger
from gateway.quota.reserve import states
from gateway.quota.script import state_key
from gateway.quota.servers import Servers, servers_of
from gateway.redis import Client, Command, Wire

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


async def reconcile(redis: Client, auditor: Pool, ledger: Ledger) -> Reconciliation:
    """Looks up to three times, 1.5 s apart; tells what differed each time alike.

    Raises:
        RedisError: limits are counted in Redis, and it does not answer.
    """
    servers = servers_of(redis)
    try:
        found, differing = await _look(servers, auditor, ledger)
        for _ in range(1, LOOKS):
            if not differing:
                break
            await asyncio.sleep(PAUSE)
            found, again = await _look(servers, auditor, ledger)
            differing = {one: again[one] for one in differing.keys() & again.keys()}
    finally:
        await servers.close()
    return Reconciliation(found, [differing[one] for one in sorted(differing)])


async def _look(
    servers: Servers, auditor: Pool, ledger: Ledger
) -> tuple[int, dict[int, Difference]]:
    async with auditor.acquire() as connection:
        row = await connection.fetchrow(SQL["epoch"])
        ids = [one["id"] for one in await connection.fetch(SQL["institution_ids"])]
        if row is None:
            raise RuntimeError("the table quota_epoch has lost its row")
        if row["epoch"] % 2:
            kept = states(await connection.fetch(SQL["all_counters"], row["epoch"]))
        else:
            kept = await _in_redis(servers, ids, row["epoch"])
    now = from_datetime(row["now"])
    charged = await ledger.charged(list(kept), month_begin(now), day_end(now) - DAY)
    return len(kept), _differences(kept, charged, now)


async def _in_redis(
    servers: Servers, institutions: Sequence[int], epoch: int
) -> dict[int, State]:
    ways = defaultdict[Wire, list[int]](list)
    for one in institutions:
        ways[await servers.wire_of(one)].append(one)
    kept: dict[int, State] = {}
    for wire, held in ways.items():
        for start in range(0, len(held), AT_ONCE):
            kept |= await _held(servers, wire, held[start : start + AT_ONCE], epoch)
    return kept


async def _held(
    servers: Servers, wire: Wire, institutions: Sequence[int], epoch: int
) -> dict[int, State]:
    """The counters that count: those of the process that is there, and of this epoch."""
    fields = (*State._fields, "generation")
    commands: list[Command] = []
    for one in institutions:
        commands.append(("GET", servers.generation_key(one)))
        commands.append(("HMGET", state_key(one), *fields))
    answers = await wire.ask(lambda _: commands)
    tag = f"{wire.process}:{epoch}|".encode()
    kept: dict[int, State] = {}
    for one, now, state in zip(institutions, answers[::2], answers[1::2], strict=True):
        for refusal in (now, state):
            if isinstance(refusal, RedisError):
                raise refusal
        *numbers, of = state
        if of is not None and of == now and of.startswith(tag):
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
