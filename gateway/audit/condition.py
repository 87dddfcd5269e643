"""How the log stands, for those who run it: sealing, witnesses, partitions.

Everything here is read in bounded time, whatever the log's size: counts stop at a
most, sizes come from the catalogue.
"""

import asyncio
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final, NamedTuple

from gateway.audit.tree import SQL
from gateway.clock import JAKARTA_OFFSET, ServerClock, from_datetime, to_datetime
from gateway.postgres import Pool, Reader

READ_SECONDS: Final = 5.0
MOST_WAITING: Final = 50_000


class State(StrEnum):
    """Of a day's partitions: today's takes entries."""

    AHEAD = "ahead"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Partition:
    """A day of Asia/Jakarta; `bytes` of its entries and batches, indexes included."""

    day: date
    state: State
    bytes: int


@dataclass(frozen=True, slots=True)
class Sealing:
    """The head (None before the first) and what waits for its leaf numbers.

    `lag` in seconds; `waiting` entries, None where over MOST_WAITING batches wait.
    """

    size: int | None
    sealed_at: int | None
    lag: float
    waiting: int | None


class Cosigned(NamedTuple):
    """The newest head that a witness has cosigned, and when that was kept."""

    witness: str
    size: int
    at: int


@dataclass(frozen=True, slots=True)
class Condition:
    """`default_rows` of both tables together, of each 10,000 at most."""

    sealing: Sealing
    cosigned: list[Cosigned]
    partitions: list[Partition]
    default_rows: int


class Conditions:
    """Read by the auditor's role."""

    def __init__(self, pool: Pool, clock: ServerClock) -> None:
        self._pool = pool
        self._clock = clock

    async def now(self) -> Condition:
        """The condition at this moment.

        Raises:
            TimeoutError: it could not be read within READ_SECONDS.
        """
        async with (
            asyncio.timeout(READ_SECONDS),
            self._pool.acquire() as connection,
        ):
            cosigned = await connection.fetch(SQL["newest_cosignatures"])
            return Condition(
                sealing=await _sealing(connection),
                cosigned=[
                    Cosigned(one["witness"], one["size"], from_datetime(one["kept_at"]))
                    for one in cosigned
                ],
                partitions=await self._partitions(connection),
                default_rows=await connection.fetchval(SQL["default_rows"]),
            )

    async def _partitions(self, connection: Reader) -> list[Partition]:
        today = to_datetime(self._clock.now() + JAKARTA_OFFSET).date()
        return [
            Partition(row["day"], _state(row["day"], today), row["bytes"])
            for row in await connection.fetch(SQL["partitions"])
            if row["day"] is not None
        ]


def _state(day: date, today: date) -> State:
    if day == today:
        return State.OPEN
    return State.AHEAD if day > today else State.CLOSED


async def _sealing(connection: Reader) -> Sealing:
    row = await connection.fetchrow(SQL["sealing"], MOST_WAITING + 1)
    if row is None:
        raise LookupError("an aggregate gives a row")
    sealed_at = row["sealed_at"] and from_datetime(row["sealed_at"])
    waiting = row["entries"] if row["batches"] <= MOST_WAITING else None
    return Sealing(row["size"], sealed_at, max(0.0, row["lag"]), waiting)
