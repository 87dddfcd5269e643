"""Which committed batches have no leaf numbers yet: what is new, and what was committed late.

Batches are numbered when they are written and seen when they are committed, which may hang on
a standby for long: so the newest sealed batch has unsealed ones behind it. The farther back,
the seldomer is looked for them, since a look costs a microsecond for each batch it passes: ten
seconds at every pass, two minutes every three seconds, and two days once an hour, as many minutes
of them at a pass as take little time. No look reads what waits beyond the span it was asked for.
"""

import asyncio
from typing import Final

import asyncpg

from gateway.audit.entry import BATCH_TIME_SHIFT
from gateway.audit.tree import SQL
from gateway.postgres import Connection

MINUTE_MS: Final = 60_000
RECENT_MS: Final = 10_000
LOOK_BACK_MS: Final = 2 * MINUTE_MS
LOOK_SECONDS: Final = 3.0
SWEEP_BACK_MS: Final = 2 * 24 * 60 * MINUTE_MS
SWEEP_SECONDS: Final = 3600.0
SLICE_MS: Final = 5 * MINUTE_MS
SWEEP_AT_ONCE_SECONDS: Final = 0.05


def _back(batch: int, milliseconds: int) -> int:
    return max(0, batch - (milliseconds << BATCH_TIME_SHIFT))


class Unsealed:
    """What one sealer has yet to seal."""

    def __init__(self, *, span: int) -> None:
        """`span`: how far above the first new batch others are told, as batch numbers count."""
        self._span = span
        self._looked_at = -LOOK_SECONDS
        self._swept_at = -SWEEP_SECONDS
        # Up to where the two days are swept, or None between two sweeps.
        self._swept: int | None = None

    async def next(self, connection: Connection, most: int) -> list[asyncpg.Record]:
        """The first of them in order, `most` of each kind; what stays unsealed is told again."""
        now = asyncio.get_running_loop().time()
        newest: int = await connection.fetchval(SQL["newest_sealed"]) or 0
        late = await self._late(connection, newest, now, most)
        swept = await self._sweep(connection, newest, now, most)
        new = await connection.fetch(SQL["new_batches"], newest, self._span, most)
        return swept + late + new

    async def _late(
        self, connection: Connection, newest: int, now: float, most: int
    ) -> list[asyncpg.Record]:
        far = now - self._looked_at >= LOOK_SECONDS
        since = _back(newest, LOOK_BACK_MS if far else RECENT_MS)
        found = await connection.fetch(SQL["late_batches"], since, newest, most)
        # While there are, a pass takes the first of them.
        if far and not (found and found[0]["batch"] <= _back(newest, RECENT_MS)):
            self._looked_at = now
        return found

    async def _sweep(
        self, connection: Connection, newest: int, now: float, most: int
    ) -> list[asyncpg.Record]:
        if self._swept is None:
            if now - self._swept_at < SWEEP_SECONDS:
                return []
            self._swept = _back(newest, SWEEP_BACK_MS)
        clock, ends = asyncio.get_running_loop().time, _back(newest, LOOK_BACK_MS)
        while clock() - now < SWEEP_AT_ONCE_SECONDS:
            # Not slice by slice through hours in which nothing was committed.
            first = await connection.fetchval(SQL["first_batch_above"], self._swept)
            if first is None or first > ends:
                self._swept, self._swept_at = None, now
                return []
            past = min(ends, first + (SLICE_MS << BATCH_TIME_SHIFT))
            found = await connection.fetch(SQL["late_batches"], first - 1, past, most)
            if found:
                return found
            self._swept = past
        return []
