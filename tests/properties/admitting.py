"""Workers whose limiters and journals share real servers, in a thread of their own."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from typing import Any, Final, TypeVar

import asyncpg

from gateway.audit.access import Access
from gateway.audit.charges import Charges
from gateway.audit.journal import Journal
from gateway.audit.subject import Subject
from gateway.clock import ServerClock, from_datetime
from gateway.embedded.valkey import ValkeyServer
from gateway.postgres import Link, pool
from gateway.problems import AuditUnavailable, ReducedCapacity
from gateway.quota.epochs import Epochs
from gateway.quota.limiter import Limiter
from gateway.redis import open_server
from gateway.tasks import keep_running
from gateway.vocabulary import Actor, Limits, Operation, Outcome
from tests.conftest import Database
from tests.integration import logs
from tests.integration.limiting import redis_counts

T = TypeVar("T")
PATIENCE: Final = 60.0
# Of lookups, which are charged, those that are given back stand for a registry that failed.
GIVEN_BACK: Final = "given back"
CHARGED: Final = "charged"
# It spent nothing, or nobody can say.
UNAVAILABLE: Final = "unavailable"
LOST: Final = "lost"


class Worker:
    """A limiter and a journal, as one process has them; `kill` leaves everything as it is."""

    limiter: Limiter
    journal: Journal

    def __init__(self, database: Database, valkey: ValkeyServer) -> None:
        self._database = database
        self._valkey = valkey
        self._links: list[Link] = []
        self._ready = asyncio.Event()
        self._life = asyncio.ensure_future(self._live())

    async def ready(self) -> None:
        await self._ready.wait()

    def _link(self, name: str) -> Link:
        dsn = self._database.dsn("hot")
        link = Link(dsn, name=name, statement_seconds=0, connect_seconds=0.4)
        self._links.append(link)
        return link

    async def _live(self) -> None:
        clock, redis = ServerClock(), open_server(self._valkey.url)
        dsn = self._database.dsn("auditor")
        async with AsyncExitStack() as until_then:
            auditor = await until_then.enter_async_context(
                pool(dsn, name="test", size=1, statement_seconds=9)
            )
            until_then.push_async_callback(redis.aclose)
            tasks = await until_then.enter_async_context(asyncio.TaskGroup())
            self.limiter = Limiter(
                redis,
                epochs=Epochs(self._link("epochs")),
                links=(self._link("reserve"), self._link("counters")),
                ledger=Charges(auditor),
                clock=clock,
                tasks=tasks,
            )
            until_then.push_async_callback(self.limiter.close)
            self.journal = Journal(
                (self._link("journal"), self._link("batches")),
                peppers=logs.PEPPERS,
                clock=clock,
                tasks=tasks,
            )
            tasks.create_task(keep_running("limits", self.limiter.watch))
            clock.observe_postgres(
                from_datetime(await auditor.fetchval("SELECT clock_timestamp()"))
            )
            self._ready.set()
            await asyncio.Event().wait()

    async def kill(self) -> None:
        self._life.cancel()
        with suppress(asyncio.CancelledError, ExceptionGroup):
            await self._life
        for link in self._links:
            link.drop()

    async def call(
        self, institution: int, limits: Limits, *, answered: bool = True
    ) -> str | tuple[str, ...]:
        """A call whole: how it ended, or the policies that refused it."""
        try:
            decision = await self.limiter.admit(institution, logs.KEY.number, limits)
        except (ReducedCapacity, AuditUnavailable):
            return UNAVAILABLE
        if not decision.admitted:
            return decision.violated
        if not answered:
            given_back = await self.limiter.give_back(institution, decision)
            return GIVEN_BACK if given_back else LOST
        access = Access(Operation.VERIFY, logs.ADDRESS, Actor.INSTITUTION, institution)
        access.key, access.purpose = logs.KEY, logs.PURPOSES[0]
        access.subject = Subject(1, 2, 1)
        access.at, access.outcome = decision.at, Outcome.MATCHED
        try:
            await self.journal.record(access)
        except AuditUnavailable:
            return LOST
        return CHARGED


class World:
    """The loop on which they live; what is asked from outside is run there."""

    def __init__(self, database: Database, valkey: ValkeyServer, workers: int) -> None:
        self.database = database
        self.valkey = valkey
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.workers = [self.run(self._start()) for _ in range(workers)]
        self._auditor: Any = self.run(asyncpg.connect(database.dsn("auditor")))

    async def _start(self) -> Worker:
        worker = Worker(self.database, self.valkey)
        await worker.ready()
        return worker

    def begin(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.begin(work).result(PATIENCE)

    def replace(self, number: int) -> None:
        self.run(self.workers[number].kill())
        self.workers[number] = self.run(self._start())

    async def _calls(self, each: list[tuple[int, int, Limits, bool]]) -> list[Any]:
        return await asyncio.gather(
            *(
                self.workers[worker].call(institution, limits, answered=answered)
                for worker, institution, limits, answered in each
            )
        )

    def begin_calls(
        self, each: list[tuple[int, int, Limits, bool]]
    ) -> "Future[list[Any]]":
        return self.begin(self._calls(each))

    def entered(self, institution: int) -> list[int]:
        """The instants of its entries, in microseconds, in order."""
        rows = self.run(
            self._auditor.fetch(
                "SELECT (extract(epoch FROM at) * 1000000)::bigint AS at FROM entries"
                " WHERE institution <> 0 AND institution = $1 ORDER BY at",
                institution,
            )
        )
        return [row["at"] for row in rows]

    def redis_counts(self) -> None:
        """Limits are counted in Redis, and it has not been lost lately."""
        self.run(redis_counts(self.database.dsn("hot")))

    def end(self) -> None:
        for worker in self.workers:
            self.run(worker.kill())
        self.run(self._auditor.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
