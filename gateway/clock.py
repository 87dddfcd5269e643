"""The time that decides: the servers', never a worker's.

Instants are microseconds since 1970 in UTC, as `int`.
"""

import time
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
SECOND = 1_000_000
JAKARTA_OFFSET = 7 * 3600 * SECOND


# Redis has told the time this recently: what PostgreSQL says is not needed.
REDIS_HOLDS_NS = 5 * 10**9


class ServerClock:
    """A server's clock, carried on between its answers by this machine's monotonic one.

    A worker whose wall clock is an hour off still stamps true instants. Redis tells
    the time, since it decides on admission; PostgreSQL does where Redis does not.
    """

    def __init__(self) -> None:
        self._offset: int | None = None
        self._redis_told = -REDIS_HOLDS_NS

    @property
    def known(self) -> bool:
        return self._offset is not None

    def observe(self, instant: int) -> None:
        """Redis told the time."""
        self._redis_told = time.monotonic_ns()
        self._offset = instant - self._redis_told // 1000

    def observe_postgres(self, instant: int) -> None:
        """PostgreSQL told the time; heard only where Redis has been silent."""
        told = time.monotonic_ns()
        if told - self._redis_told > REDIS_HOLDS_NS:
            self._offset = instant - told // 1000

    def now(self) -> int:
        """The server's instant, in microseconds.

        Raises:
            RuntimeError: before any server has told the time.
        """
        if self._offset is None:
            raise RuntimeError("no server has told the time yet")
        return time.monotonic_ns() // 1000 + self._offset


def to_datetime(instant: int) -> datetime:
    return EPOCH + timedelta(microseconds=instant)


def from_datetime(moment: datetime) -> int:
    """Of one without a zone in UTC: so asyncpg reads infinity, and the last instant as that."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // _MICROSECOND


def to_text(instant: int) -> str:
    """RFC 3339 in UTC with six decimals and `Z`."""
    # Not strftime, which writes the year 416 with three digits.
    return f"{to_datetime(instant).isoformat(timespec='microseconds')[:-6]}Z"
