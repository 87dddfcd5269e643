"""An institution's own entries, read by a role that is shown no other's.

The policy on the log (sql/roles.sql) goes by a setting of the transaction. It holds
against a mistake in a query of ours; not against a worker in foreign hands, which
could set another institution's number.
"""

import asyncio
from typing import Final

import asyncpg

from gateway.audit.archived import Archive
from gateway.audit.entry import Place, batch_instant, place_of
from gateway.audit.inspection import SQL, Criteria, Mark, Page, page_of, read_line
from gateway.clock import to_datetime
from gateway.gathering import within
from gateway.postgres import SERVER_GONE, Pool
from gateway.problems import AuditUnavailable
from gateway.vocabulary import Outcome

PATIENCE: Final = 0.9


class OwnEntries:
    """The log as one institution may see it, by the receipts' role.

    The archive's list of days and the seals are read by the auditor's.
    """

    def __init__(
        self, pool: Pool, auditor: Pool, archive: Archive, *, tasks: asyncio.TaskGroup
    ) -> None:
        self._tasks = tasks
        self._pool = pool
        self._auditor = auditor
        self._archive = archive

    async def page(
        self, institution: int, outcome: Outcome | None, below: Mark | None, limit: int
    ) -> Page:
        """Its newest entries, of the days that are not archived yet."""
        criteria = Criteria(institution=institution, outcome=outcome)
        async with (
            self._pool.acquire() as connection,
            connection.transaction(readonly=True),
        ):
            await connection.execute(SQL["act_for_institution"], str(institution))
            return await page_of(connection, criteria, below, limit)

    async def entry(
        self, access_id: str, institution: int
    ) -> tuple[bytes, int | None] | None:
        """The line with this access_id and its leaf index (None until sealed).

        Another institution's is not found, as if it were missing.

        Raises:
            AuditUnavailable: the log does not answer, within a second if it is not archived.
        """
        place = place_of(access_id)
        if place is None:
            return None
        try:
            row = await within(PATIENCE, self._tasks, self._live(place, institution))
        except SERVER_GONE as error:
            raise AuditUnavailable(fate_unknown=False) from error
        if row is None:
            return await self._archived(place, institution)
        # The policy hides them already, unless this logs in as another role.
        if row["institution"] != institution:
            return None
        return read_line(row), row["leaf_index"]

    async def _live(self, place: Place, institution: int) -> asyncpg.Record | None:
        around = to_datetime(batch_instant(place.batch))
        async with (
            self._pool.acquire() as connection,
            connection.transaction(readonly=True),
        ):
            await connection.execute(SQL["act_for_institution"], str(institution))
            return await connection.fetchrow(SQL["entry_at"], *place, around)

    async def _archived(
        self, place: Place, institution: int
    ) -> tuple[bytes, int | None] | None:
        """The same from the archive, which no policy guards: this alone does.

        Whose an entry was that is not found there cannot be told; it may live here, and
        be another's. So it is as missing, also where it has expired.
        """
        async with self._auditor.acquire() as connection:
            found = await self._archive.find(connection, place)
        if found is None or found.entry.institution != institution:
            return None
        return found.line, found.leaf_index
