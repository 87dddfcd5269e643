"""The counters in PostgreSQL, while Redis is away: one transaction a flush.

It decides by the model itself (limit.py) under the locks of its rows, so it is as exact
as Redis, and slower: whoever asks about an institution waits for who asked before. A row
that a crash of the server lost is counted from the log again.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import asyncpg

from gateway import telemetry
from gateway.clock import ServerClock
from gateway.gathering import Gatherer
from gateway.postgres import Connection, Link
from gateway.quota import limit
from gateway.quota.epochs import SQL, Elsewhere, Epochs, under
from gateway.quota.limit import State
from gateway.quota.script import Admit, Answer, Ask, GiveBack, Unknown

MOST: Final = 512
CAPACITY: Final = 20_000
PATIENCE: Final = 0.9


def generation_of(epoch: int) -> str:
    """What decisions made here carry, so that their units are given back here alone."""
    return f"postgresql:{epoch}"


class Reserve:
    def __init__(
        self,
        link: Link,
        *,
        clock: ServerClock,
        epochs: Epochs,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._link = link
        self._clock = clock
        self._epochs = epochs
        self._gatherer = Gatherer[Ask, Answer](
            self._flush, tasks=tasks, most=MOST, capacity=CAPACITY, patience=PATIENCE
        )

    async def ask(self, ask: Ask) -> Answer:
        """The answer within a second.

        Raises:
            Unanswered: by then there is none; its cause is Elsewhere where limits are
                not counted here now.
        """
        return await self._gatherer.ask(ask)

    async def _flush(self, asks: list[Ask]) -> list[Answer]:
        epoch = await self._epochs.current()
        if epoch.in_redis:
            raise Elsewhere
        telemetry.FLUSH_SIZE.labels("reserve").observe(len(asks))
        with telemetry.FLUSH_SECONDS.labels("reserve").time():
            async with self._link.connection() as connection, connection.transaction():
                # Counters are counted again after a crash: none need be durable.
                await connection.execute("SET LOCAL synchronous_commit = off")
                now = await under(connection, epoch)
                if now is None:
                    raise Elsewhere
                return await _decide(connection, asks, epoch.number, now)


async def _decide(
    connection: Connection, asks: list[Ask], epoch: int, now: int
) -> list[Answer]:
    asked = sorted({ask.institution for ask in asks})
    before = states(await connection.fetch(SQL["counters_of"], asked, epoch))
    after = dict(before)
    answers = [_answer(ask, after, epoch, now) for ask in asks]
    changed = {one: state for one, state in after.items() if state != before[one]}
    if changed:
        await connection.execute(SQL["keep_counters"], *columns(changed))
    return answers


def _answer(ask: Ask, kept: dict[int, State], epoch: int, now: int) -> Answer:
    generation, state = generation_of(epoch), kept.get(ask.institution)
    if isinstance(ask, Admit):
        if state is None:
            return Unknown(generation)
        decision = limit.admit(
            state,
            ask.limits,
            now,
            rate_cost=ask.rate_cost,
            quota_cost=ask.quota_cost,
        )
    elif isinstance(ask, GiveBack):
        if state is None or ask.decision.generation != generation:
            return None
        decision = limit.give_back(state, ask.decision, now)
    else:
        # Refusals are not counted here: each is entered singly.
        return 0
    kept[ask.institution] = decision.state
    return decision._replace(generation=generation)


def states(rows: Iterable[asyncpg.Record]) -> dict[int, State]:
    """Rows of quota_counters."""
    return {
        row["institution"]: State(*(row[name] for name in State._fields))
        for row in rows
    }


def columns(kept: Mapping[int, State]) -> Sequence[Sequence[int]]:
    """Institutions and the five numbers of their states, each in a list of its own."""
    rows = [(institution, *state) for institution, state in kept.items()]
    return list(zip(*rows, strict=True))
