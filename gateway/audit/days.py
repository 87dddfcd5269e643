"""Days of Asia/Jakarta, as the log is partitioned, archived and kept by: pure."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Final

from gateway.audit.entry import BATCH_TIME_SHIFT
from gateway.clock import JAKARTA_OFFSET, SECOND

DAY: Final = 24 * 3600 * SECOND
FIRST: Final = date(1970, 1, 1)
_FIRST_DAY: Final = (date.min - FIRST).days
_LAST_DAY: Final = (date.max - FIRST).days - 1


def day_number(at: int) -> int:
    """How many days after 1970-01-01 an instant lies, within what a date can hold."""
    return max(_FIRST_DAY, min(_LAST_DAY, (at + JAKARTA_OFFSET) // DAY))


def day_of(at: int) -> date:
    return FIRST + timedelta(days=day_number(at))


def begins(day: date) -> int:
    """The first microsecond of a day."""
    return (day - FIRST).days * DAY - JAKARTA_OFFSET


def ends(day: date) -> int:
    """The microsecond after its last."""
    return begins(day) + DAY


def first_batch(at: int) -> int:
    """The lowest number of a batch whose millisecond begins at `at` or later."""
    return max(0, -(-at // 1000) << BATCH_TIME_SHIFT)


def in_words(days: Iterable[date]) -> str:
    """`2026-01-01 to 2026-01-03, 2026-01-05`: days in order, as runs."""
    runs: list[list[date]] = []
    for day in sorted(days):
        if runs and day - runs[-1][-1] == timedelta(days=1):
            runs[-1].append(day)
        else:
            runs.append([day])
    return ", ".join(
        f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs
    )
