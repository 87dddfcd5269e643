"""A second pair of eyes: a search for a person that another auditor has to approve.

The person is known here by the reference that the log has, so that nothing is kept that
the log does not hold: who looked typed the NIK, and types it again once it is approved.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from gateway.audit.subject import Subject
from gateway.audit.tree import SQL
from gateway.clock import from_datetime
from gateway.postgres import Pool

# An approval is good for so long, and a search waits for one so long.
GOOD_FOR: Final = timedelta(hours=8)
WAITS: Final = timedelta(days=1)
KEPT: Final = timedelta(days=31)
MOST: Final = 100


class Filed(NamedTuple):
    """A search that waits or was approved, by staff whose names are told."""

    id: int
    asked_by: int
    asker: str
    asked_at: int
    reason: str
    approver: str | None
    approved_at: int | None


class Approvals:
    """Kept by the hot role; there are none where GATEWAY_AUDIT_FOUR_EYES is off."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def grants(self, auditor: int, subjects: Sequence[Subject]) -> bool:
        """Whether this member of staff may look at this person now.

        `subjects` are the person's references under every key there is.
        """
        columns = zip(*((one.key, one.head, one.tail) for one in subjects), strict=True)
        granted: bool = await self._pool.fetchval(
            SQL["is_approved"], auditor, *map(list, columns), GOOD_FOR
        )
        return granted

    async def file(self, auditor: int, subject: Subject, reason: str) -> None:
        """The search waits for somebody else, if it does not do so already."""
        person = (subject.key, subject.head, subject.tail)
        await self._pool.execute(SQL["file_approval"], auditor, *person, reason, KEPT)

    async def recent(self) -> list[Filed]:
        """Those that wait, and those that were approved lately; the newest first."""
        return [
            Filed(
                *(row["id"], row["asked_by"], row["asker"]),
                from_datetime(row["asked_at"]),
                row["reason"],
                row["approver"],
                row["approved_at"] and from_datetime(row["approved_at"]),
            )
            for row in await self._pool.fetch(SQL["recent_approvals"], WAITS, MOST)
        ]

    async def approve(self, number: int, auditor: int) -> str | None:
        """Its reason, once `auditor` has approved it.

        None where there is no such search, it is his own, or it no longer waits.
        """
        reason: str | None = await self._pool.fetchval(
            SQL["approve_search"], number, auditor, WAITS
        )
        return reason
