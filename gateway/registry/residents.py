"""Finds residents in the registry, many calls to one query."""

import asyncio
from functools import partial

import asyncpg
import structlog

from gateway import telemetry
from gateway.gathering import Gatherer, Unanswered
from gateway.leisure import at_leisure
from gateway.postgres import Link, queries
from gateway.problems import RegistryUnavailable
from gateway.registry.resident import Resident

log = structlog.get_logger()

SQL = queries("gateway.registry")
DEADLINE = 2.0
# The bulkhead: more callers than this never wait on a slow registry at once.
CAPACITY = 5_000
MOST_A_FLUSH = 1_000


class Residents:
    """The registry as the gateway sees it: asked by NIK, answering within 2 s.

    Args:
        links: one for single residents, and one for those of batches, for which no
            single one waits.
    """

    def __init__(self, links: tuple[Link, Link], *, tasks: asyncio.TaskGroup) -> None:
        self._single, self._together = (
            Gatherer[str, asyncpg.Record | None](
                partial(self._flush, link),
                stage="registry",
                tasks=tasks,
                most=MOST_A_FLUSH,
                capacity=CAPACITY,
                patience=DEADLINE,
            )
            for link in links
        )

    async def find(self, nik: str) -> Resident | None:
        """The resident with this NIK, if there is one.

        Raises:
            RegistryUnavailable: after 2 s at the latest.
        """
        try:
            row = await self._single.ask(nik)
        except Unanswered as unanswered:
            raise RegistryUnavailable from unanswered
        return _resident(row)

    async def find_all(self, niks: list[str]) -> list[Resident | None]:
        """The same for each of at most 1,000, in one query."""
        try:
            rows = await self._together.ask_all(niks)
        except Unanswered as unanswered:
            raise RegistryUnavailable from unanswered
        return await at_leisure(map(_resident, rows), lasting=True)

    async def _flush(self, link: Link, niks: list[str]) -> list[asyncpg.Record | None]:
        try:
            with telemetry.flush_seconds_of("registry").time():
                async with link.connection() as connection:
                    rows = await connection.fetch(
                        SQL["find_residents"], [int(nik) for nik in set(niks)]
                    )
        except BaseException as error:
            telemetry.FLUSH_FAILURES.labels("registry").inc()
            # The error's own text may quote what was asked.
            log.warning("registry_flush_failed", error=type(error).__name__)
            raise
        telemetry.flush_size_of("registry").observe(len(niks))
        found = {row["nik"]: row for row in rows}
        return [found.get(int(nik)) for nik in niks]


def _resident(row: asyncpg.Record | None) -> Resident | None:
    return None if row is None else Resident.from_row(row.values())
