"""Finds residents in the registry, many calls to one query."""

import asyncio

import structlog

from gateway import telemetry
from gateway.gathering import Gatherer, Unanswered
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
    """The registry as the gateway sees it: asked by NIK, answering within 2 s."""

    def __init__(self, links: list[Link], *, tasks: asyncio.TaskGroup) -> None:
        self._links = list(links)
        self._gatherer = Gatherer[str, Resident | None](
            self._flush,
            stage="registry",
            tasks=tasks,
            most=MOST_A_FLUSH,
            capacity=CAPACITY,
            patience=DEADLINE,
            flights=len(links),
        )

    async def find(self, nik: str) -> Resident | None:
        """The resident with this NIK, if there is one.

        Raises:
            RegistryUnavailable: after 2 s at the latest.
        """
        try:
            return await self._gatherer.ask(nik)
        except Unanswered as unanswered:
            raise RegistryUnavailable from unanswered

    async def find_all(self, niks: list[str]) -> list[Resident | None]:
        """The same for each of at most 1,000, in one query."""
        try:
            return await self._gatherer.ask_all(niks)
        except Unanswered as unanswered:
            raise RegistryUnavailable from unanswered

    async def _flush(self, niks: list[str]) -> list[Resident | None]:
        link = self._links.pop()
        try:
            with telemetry.FLUSH_SECONDS.labels("registry").time():
                async with link.connection() as connection:
                    rows = await connection.fetch(
                        SQL["find_residents"], [int(nik) for nik in set(niks)]
                    )
        except BaseException as error:
            telemetry.FLUSH_FAILURES.labels("registry").inc()
            # The error's own text may quote what was asked.
            log.warning("registry_flush_failed", error=type(error).__name__)
            raise
        finally:
            self._links.append(link)
        telemetry.FLUSH_SIZE.labels("registry").observe(len(niks))
        found = {row["nik"]: Resident.from_row(row.values()) for row in rows}
        return [found.get(int(nik)) for nik in niks]
