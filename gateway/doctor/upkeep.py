"""Asks PostgreSQL what somebody ought to look after before it becomes a fault."""

import time
from collections.abc import Collection, Mapping
from datetime import date, timedelta
from typing import Final

from gateway.audit.batch import SQL as AUDIT_SQL
from gateway.clock import JAKARTA_OFFSET, from_datetime, to_datetime
from gateway.doctor.database import LOG, SQL, NotExamined, answer, asking
from gateway.doctor.finding import Finding, warning
from gateway.doctor.surroundings import clock_apart
from gateway.postgres import Connection

KEYS_LEFT: Final = timedelta(days=14)
CERTIFICATES_LEFT: Final = timedelta(days=30)
DAYS_AHEAD: Final = 3
# A search through the whole log locks each day's partition and its indexes; so many go on at
# once, in the pools of two workers.
LOCKS_A_DAY: Final = 8
SEARCHES: Final = 8


async def examine(dsn: str, *, patience: float) -> list[Finding]:
    """Warnings of the log's server, asked as the role that writes it."""
    try:
        async with asking(LOG, dsn, patience=patience) as connection:
            return [
                *await _clock(connection),
                *_quoting(await answer(connection, "quoting")),
                *await _partitions(connection),
                *await _keys(connection),
                *await _certificates(connection),
            ]
    except NotExamined:
        # Told of already, where its role is examined.
        return []


async def _clock(connection: Connection) -> list[Finding]:
    before = time.time_ns() // 1000
    told = from_datetime(await connection.fetchval(SQL["clock"]))
    return clock_apart(f"the server of {LOG}", told, before, time.time_ns() // 1000)


def _quoting(settings: Mapping[str, bool]) -> list[Finding]:
    quoting = ", ".join(name for name, quotes in settings.items() if quotes)
    if not quoting:
        return []
    says = (
        f"The server of {LOG} may write what was asked about whom into its own log: set "
        f"{quoting} as docs/operations.md says."
    )
    return [warning("server-log", says)]


async def _partitions(connection: Connection) -> list[Finding]:
    found = []
    now = from_datetime(await connection.fetchval(SQL["clock"]))
    rows = await connection.fetch(AUDIT_SQL["partitions"])
    missing = missing_days({row["day"] for row in rows}, now)
    if missing:
        days = ", ".join(map(str, missing))
        says = f"There is no partition for {days}: run gateway audit partitions."
        found.append(warning("partitions", says))
    if await connection.fetchval(AUDIT_SQL["default_rows"]):
        says = "Entries lie in a default partition: run gateway audit partitions."
        found.append(warning("default-partition", says))
    room = await connection.fetchval(SQL["room_for_locks"])
    wanted = LOCKS_A_DAY * SEARCHES * len(rows)
    if wanted > room:
        says = (
            f"Searches through {len(rows)} days may take all of PostgreSQL's locks, and then nothing "
            "is written: archive days, or raise max_locks_per_transaction, which times "
            f"max_connections should be {wanted:,}."
        )
        found.append(warning("locks", says))
    return found


def missing_days(made: Collection[date | None], now: int) -> list[date]:
    """Of today and the DAYS_AHEAD days after it in Asia/Jakarta, those not made."""
    today = to_datetime(now + JAKARTA_OFFSET).date()
    wanted = (today + timedelta(days=ahead) for ahead in range(DAYS_AHEAD + 1))
    return [day for day in wanted if day not in made]


async def _keys(connection: Connection) -> list[Finding]:
    row = await connection.fetchrow(SQL["ending_keys"], KEYS_LEFT)
    if row is None or not row["keys"]:
        return []
    first = f"{row['first']:%Y-%m-%dT%H:%M:%SZ}"
    says = (
        f"Keys and tokens that end within {KEYS_LEFT.days} days: {row['keys']}, the first "
        f"at {first}. Give their holders others."
    )
    return [warning("keys-end", says)]


async def _certificates(connection: Connection) -> list[Finding]:
    row = await connection.fetchrow(SQL["ending_certificates"], CERTIFICATES_LEFT)
    if row is None or not row["institutions"]:
        return []
    first = f"{row['first']:%Y-%m-%dT%H:%M:%SZ}"
    says = (
        f"Institutions whose last client certificate ends within {CERTIFICATES_LEFT.days} "
        f"days, or has: {row['institutions']}, the first at {first}. Their keys are refused "
        "from then on: bind the certificates that follow."
    )
    return [warning("certificates-end", says)]
