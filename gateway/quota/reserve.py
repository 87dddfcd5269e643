"""The counters in PostgreSQL, while Redis is away: one transaction a flush.

It decides by the model itself (limit.py) under the locks of its rows, so it is as exact
as Redis, and slower: whoever asks about an institution waits for who asked before. A row
that a crash of the server lost is counted from the log again.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import asyncpg

from gateway import telemetry
from gateway.clock import ServerClock
from gateway.gathering import Gatherer
from gateway.postgres import Connection, Link
from gateway.quota import limit
from gateway.quota.epochs import SQL, Elsewhere, Epochs, under
from gateway.quota.limit import Decision, State
from gateway.quota.script import (
    Admit,
    Answer,
    Ask,
    GiveBack,
    Unknown,
    of_shadow,
    returnable_shadow,
)
from gateway.vocabulary import Limits

MOST: Final = 512
CAPACITY: Final = 20_000
PATIENCE: Final = 0.9


class _Shadowed(NamedTuple):
    """The counters of a shadow, and since when it is one."""

    since: int
    state: State


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
            self._flush,
            stage="reserve",
            tasks=tasks,
            most=MOST,
            capacity=CAPACITY,
            patience=PATIENCE,
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
        telemetry.flush_size_of("reserve").observe(len(asks))
        with telemetry.flush_seconds_of("reserve").time():
            async with self._link.connection() as connection, connection.transaction():
                # Counters are counted again after a crash: none need be durable.
                await connection.execute("SET LOCAL synchronous_commit = off")
                now = await under(connection, epoch)
                if now is None:
                    raise Elsewhere
                return await _decide(connection, asks, epoch.number, now)


@dataclass(slots=True)
class _Kept:
    """Counters by institution, while a flush decides on them."""

    states: dict[int, State]
    shadows: dict[int, _Shadowed]


async def _decide(
    connection: Connection, asks: list[Ask], epoch: int, now: int
) -> list[Answer]:
    asked = sorted({ask.institution for ask in asks})
    before = states(await connection.fetch(SQL["counters_of"], asked, epoch))
    shadowed = sorted({ask.institution for ask in asks if _has_shadow(ask)})
    beside: dict[int, _Shadowed] = {}
    if shadowed:
        beside = _shadows(await connection.fetch(SQL["shadows_of"], shadowed, epoch))
    kept, generation = _Kept(dict(before), dict(beside)), generation_of(epoch)
    answers = [_answer(ask, kept, generation, now) for ask in asks]
    changed = {one: s for one, s in kept.states.items() if s != before[one]}
    if changed:
        await connection.execute(SQL["keep_counters"], *columns(changed))
    moved = [(one, *s) for one, s in kept.shadows.items() if s != beside.get(one)]
    if moved:
        rows = [(one, since, *state) for one, since, state in moved]
        lists = list(zip(*rows, strict=True))
        await connection.execute(SQL["keep_shadows"], *lists, epoch)
    return answers


def _has_shadow(ask: Ask) -> bool:
    if isinstance(ask, Admit):
        return ask.shadow is not None
    return isinstance(ask, GiveBack) and returnable_shadow(ask.decision) is not None


def _answer(ask: Ask, kept: _Kept, generation: str, now: int) -> Answer:
    state = kept.states.get(ask.institution)
    if isinstance(ask, Admit):
        if state is None:
            return Unknown(generation)
        # Before the real one spends: what it begins with has nothing of this ask.
        shadowed = _admit_shadow(ask, state, kept, generation, now)
        decision = _admit(ask, ask.limits, state, now)._replace(shadow=shadowed)
    elif isinstance(ask, GiveBack):
        if state is None or ask.decision.generation != generation:
            return None
        decision = limit.give_back(state, ask.decision, now)
        _give_back_shadow(ask, kept, generation, now)
    else:
        # Refusals are not counted here: each is entered singly.
        return 0
    kept.states[ask.institution] = decision.state
    return decision._replace(generation=generation)


def _admit(ask: Admit, limits: Limits, state: State, now: int) -> Decision:
    return limit.admit(
        state, limits, now, rate_cost=ask.rate_cost, quota_cost=ask.quota_cost
    )


def _admit_shadow(
    ask: Admit, begins: State, kept: _Kept, generation: str, now: int
) -> Decision | None:
    if (shadow := ask.shadow) is None:
        return None
    found = kept.shadows.get(ask.institution)
    known = found is not None and found.since == shadow.since
    state = found.state if found is not None and known else begins
    decision = _admit(ask, shadow.limits, state, now)
    kept.shadows[ask.institution] = _Shadowed(shadow.since, decision.state)
    return decision._replace(generation=of_shadow(generation, shadow.since))


def _give_back_shadow(ask: GiveBack, kept: _Kept, generation: str, now: int) -> None:
    given, found = returnable_shadow(ask.decision), kept.shadows.get(ask.institution)
    if given is None or found is None:
        return
    if given.generation == of_shadow(generation, found.since):
        state = limit.give_back(found.state, given, now).state
        kept.shadows[ask.institution] = found._replace(state=state)


def _shadows(rows: Iterable[asyncpg.Record]) -> dict[int, _Shadowed]:
    found = list(rows)
    kept = states(found)
    return {
        row["institution"]: _Shadowed(row["since"], kept[row["institution"]])
        for row in found
    }


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
