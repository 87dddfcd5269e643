"""The time that decides: the servers', never a worker's.

Instants are microseconds since 1970 in UTC, as `int`.
"""

import time
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000
JAKARTA_OFFSET = 7 * 3600 * SECOND


class ServerClock:
    """A server's clock, carried on between its answers by this machine's monotonic one.

    A worker whose wall clock is an hour off still stamps true instants. Every answer
    of Redis, or of PostgreSQL where Redis has not answered, sets it anew.
    """

    def __init__(self) -> None:
        self._offset: int | None = None

    @property
    def known(self) -> bool:
        return self._offset is not None

    def observe(self, instant: int) -> None:
        self._offset = instant - time.monotonic_ns() // 1000

    def now(self) -> int:
        """The server's instant, in microseconds.

        Raises:
            RuntimeError: before any server has told the time.
        """
        if self._offset is None:
            msg = "no server has told the time yet"
            raise RuntimeError(msg)
        return time.monotonic_ns() // 1000 + self._offset


def to_datetime(instant: int) -> datetime:
    return EPOCH + timedelta(microseconds=instant)


def from_datetime(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def to_text(instant: int) -> str:
    """RFC 3339 in UTC with six decimals and `Z`."""
    return to_datetime(instant).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
