"""The composition root: opens, builds, mounts, closes. One application a worker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import structlog
from litestar import Litestar, Response
from litestar.exceptions import HTTPException
from redis.exceptions import RedisError

from gateway import telemetry
from gateway.audit.approvals import Approvals
from gateway.audit.archived import Archive
from gateway.audit.batch import SQL as AUDIT_SQL
from gateway.audit.charges import Charges
from gateway.audit.checkpoint import note_keys
from gateway.audit.claims import Claims
from gateway.audit.condition import Conditions
from gateway.audit.export import Exports
from gateway.audit.idempotency import Attempts
from gateway.audit.inspection import Cursors
from gateway.audit.journal import CONNECT_SECONDS, Journal
from gateway.audit.measures import keep_measuring
from gateway.audit.own_entries import OwnEntries
from gateway.audit.sealed import SealedLog
from gateway.audit.subject import SubjectKeys
from gateway.audit.summary import Summaries
from gateway.audit.whole_log import WholeLog
from gateway.batching import Batches
from gateway.changes import Keeper
from gateway.clock import ServerClock
from gateway.console.pulse import Pulse
from gateway.console.sessions import Sessions
from gateway.edge import rendering
from gateway.edge.caller import MOST_BODY, HttpRequest, Services
from gateway.edge.health import Health
from gateway.edge.other_methods import refuse_other_methods
from gateway.harvesting import Harvesting
from gateway.jobs.desk import Jobs
from gateway.jobs.store import Store
from gateway.jobs.vault import Vault
from gateway.jobs.worker import JobWorker
from gateway.lookup import Lookups
from gateway.oidc.departure import Departures
from gateway.oidc.provider import IdentityProvider
from gateway.partners.directory import Directory
from gateway.postgres import Link, Pool, pool
from gateway.problems import InternalError, MethodNotAllowed, NotFound, Problem
from gateway.quota.epochs import Epochs
from gateway.quota.limiter import Limiter
from gateway.quota.overview import Overview
from gateway.redis import open_redis
from gateway.registry.residents import Residents
from gateway.rehearsing import Rehearsals
from gateway.routes import AUDITED, OIDC_AUDITED, OIDC_ROUTES, ROUTES
from gateway.settings import (
    NumberedKeys,
    OidcSettings,
    ServeSettings,
    read_canaries,
    read_oidc,
    read_settings,
)
from gateway.tasks import collect_seldom, keep_running

log = structlog.get_logger()

FIRST_REFRESH_SECONDS = 3.0
PARTITION_SECONDS = 3600.0
_NO_ROUTE = {404: NotFound, 405: MethodNotAllowed}


class Worker:
    """What one worker holds open."""

    def __init__(self, settings: ServeSettings, oidc: OidcSettings | None) -> None:
        self.settings = settings
        self.identity_provider = None if oidc is None else IdentityProvider(oidc)
        self.peppers = _keys(settings.pepper_file, "GATEWAY_PEPPER_FILE")
        self.subjects = SubjectKeys(
            _keys(settings.subject_keys_file, "GATEWAY_SUBJECT_KEYS_FILE")
        )
        self.note_keys = note_keys(
            _keys(settings.signing_key_file, "GATEWAY_SIGNING_KEY_FILE"),
            settings.log_origin,
        )
        self.archive = Archive(settings.archive_dir)
        self.canaries = read_canaries(settings.canaries_file)
        self.clock = ServerClock()
        self._hot = str(settings.postgres_dsn)
        self._registry = str(settings.registry_dsn)
        self._admin = None if settings.admin_dsn is None else str(settings.admin_dsn)
        self.redis = open_redis(settings.redis_url)
        self.auditor: Pool = pool(
            str(settings.auditor_dsn), name="auditor", size=4, statement_seconds=30
        )
        self.receipts: Pool = pool(
            str(settings.receipts_dsn), name="receipts", size=2, statement_seconds=5
        )
        self.jobs: Pool = pool(self._hot, name="jobs", size=4, statement_seconds=30)
        self.console: Pool = pool(
            self._hot, name="console", size=2, statement_seconds=5
        )
        self.vault = Vault(self.peppers)
        self.links: list[Link] = []

    def hot(self, name: str, *, connect_seconds: float = 2.0) -> Link:
        return self._link(self._hot, name, connect_seconds)

    def registry(self, name: str) -> Link:
        return self._link(self._registry, name, 1.0)

    def keeper(self, tasks: asyncio.TaskGroup) -> Keeper | None:
        """There is one where the setting is; it connects when first used."""
        if self._admin is None:
            return None
        link = self._link(self._admin, "admin", CONNECT_SECONDS)
        settings = self.settings
        above = settings.admin_four_eyes_above if settings.admin_four_eyes else None
        return Keeper(link, peppers=self.peppers, tasks=tasks, above=above)

    def _link(self, dsn: str, name: str, connect_seconds: float) -> Link:
        # No statement timeout: the server's own would end a COMMIT that waits for a
        # standby and report success. Our deadlines drop the connection instead.
        link = Link(
            dsn, name=name, statement_seconds=0, connect_seconds=connect_seconds
        )
        self.links.append(link)
        return link

    async def keep_partitions(self, link: Link) -> None:
        """For ever: partitions for the days ahead are there long before they are due."""
        while True:
            async with link.connection() as connection:
                await connection.execute(AUDIT_SQL["create_partitions"])
            await asyncio.sleep(PARTITION_SECONDS)


def _keys(path: Path, setting: str) -> NumberedKeys:
    return NumberedKeys.read(path, setting=setting)


def build(worker: Worker, tasks: asyncio.TaskGroup) -> Services:
    directory = Directory(
        worker.hot("directory"), worker.hot("listener"), worker.peppers, worker.clock
    )
    journal = _journal(worker, tasks)
    held = Lookups(
        directory=directory,
        limiter=_limiter(worker, tasks),
        residents=Residents(
            (worker.registry("lookups"), worker.registry("batches")), tasks=tasks
        ),
        journal=journal,
        subjects=worker.subjects,
        own_entries=OwnEntries(
            worker.receipts, worker.auditor, worker.archive, tasks=tasks
        ),
        sealed=SealedLog(worker.auditor),
        attempts=Attempts(worker.peppers),
        claims=Claims(
            worker.hot("claims", connect_seconds=CONNECT_SECONDS), tasks=tasks
        ),
        harvesting=_harvesting(worker, journal),
        clock=worker.clock,
    )
    return _services(worker, held, tasks)


def _job_store(worker: Worker, name: str) -> Store:
    link = worker.hot(name, connect_seconds=CONNECT_SECONDS)
    return Store(worker.jobs, link, worker.peppers)


def _journal(worker: Worker, tasks: asyncio.TaskGroup) -> Journal:
    return Journal(
        (
            worker.hot("journal", connect_seconds=CONNECT_SECONDS),
            worker.hot("batches", connect_seconds=CONNECT_SECONDS),
        ),
        peppers=worker.peppers,
        clock=worker.clock,
        tasks=tasks,
    )


def _limiter(worker: Worker, tasks: asyncio.TaskGroup) -> Limiter:
    return Limiter(
        worker.redis,
        epochs=Epochs(worker.hot("epochs")),
        links=(worker.hot("reserve"), worker.hot("counters")),
        ledger=Charges(worker.auditor),
        clock=worker.clock,
        tasks=tasks,
    )


def _harvesting(worker: Worker, journal: Journal) -> Harvesting:
    return Harvesting(
        worker.subjects,
        journal,
        worker.hot("harvesting", connect_seconds=CONNECT_SECONDS),
        canaries=worker.canaries,
        most_claims=worker.settings.claims_a_day,
    )


def _services(worker: Worker, held: Lookups, tasks: asyncio.TaskGroup) -> Services:
    return Services(
        lookups=held,
        batches=Batches(held),
        jobs=Jobs(held, _job_store(worker, "jobs"), worker.vault, tasks),
        job_worker=JobWorker(held, _job_store(worker, "job-worker"), worker.vault),
        journal=held.journal,
        directory=held.directory,
        inspection=WholeLog(worker.auditor, worker.archive),
        cursors=Cursors(worker.peppers),
        sealed=held.sealed,
        exports=Exports(worker.auditor, worker.archive),
        summaries=Summaries(worker.auditor, worker.archive),
        conditions=Conditions(worker.auditor, worker.clock),
        overview=Overview(held.limiter, worker.clock),
        rehearsals=Rehearsals(worker.auditor),
        approvals=Approvals(worker.console)
        if worker.settings.audit_four_eyes
        else None,
        note_keys=worker.note_keys,
        clock=worker.clock,
        health=_health(worker, held),
        keeper=worker.keeper(tasks),
        identity_provider=worker.identity_provider,
    )


def _health(worker: Worker, held: Lookups) -> Health:
    return Health(
        log=worker.hot("health"),
        registry=worker.registry("health"),
        redis=held.limiter.probe,
        journal=held.journal,
        disk=worker.settings.log_disk,
    )


@asynccontextmanager
async def running(
    app: Litestar, settings: ServeSettings, oidc: OidcSettings | None
) -> AsyncIterator[None]:
    """From the first connection to the last: the life of a worker."""
    worker = Worker(settings, oidc)
    async with AsyncExitStack() as pools, asyncio.TaskGroup() as tasks:
        for one in (worker.auditor, worker.receipts, worker.jobs, worker.console):
            _ = await pools.enter_async_context(one)
        held = build(worker, tasks)
        app.state["services"] = held
        app.state["sessions"] = Sessions(worker.console, worker.peppers)
        app.state["departures"] = Departures(worker.peppers)
        app.state["pulse"] = Pulse(held, tasks)
        await _know_the_directory(held)
        collect_seldom()
        background = [
            tasks.create_task(keep_running(name, work))
            for name, work in _beside(worker, held).items()
        ]
        yield
        for task in background:
            task.cancel()
        await held.journal.drain_floods()
        with suppress(RedisError):
            # Without Redis the last moment's refusals stay untold: they decide nothing.
            await held.lookups.limiter.tally.write()
    for link in worker.links:
        link.drop()
    if worker.identity_provider is not None:
        await worker.identity_provider.close()
    await held.lookups.limiter.close()
    await worker.redis.aclose()


def _beside(worker: Worker, held: Services) -> dict[str, Callable[[], Awaitable[None]]]:
    """What goes on beside the calls, for ever."""
    partitions = worker.hot("partitions")
    return {
        "directory": held.directory.watch,
        "floods": held.journal.write_floods,
        "health": held.health.watch,
        "harvesting": held.lookups.harvesting.take_steps,
        "jobs": held.job_worker.watch,
        "measures": lambda: keep_measuring(worker.auditor),
        "partitions": lambda: worker.keep_partitions(partitions),
        "limits": held.lookups.limiter.watch,
        "refusals": held.lookups.limiter.tally.keep_writing,
    }


async def _know_the_directory(held: Services) -> None:
    """Tries to begin with a directory; without one calls are answered 503 until then."""
    try:
        async with asyncio.timeout(FIRST_REFRESH_SECONDS):
            await held.directory.refresh()
    except Exception as error:  # noqa: BLE001 - the watch tries again, for ever
        log.warning("started_without_directory", error=type(error).__name__)


def outside_routes(_: HttpRequest, error: Exception) -> Response[bytes]:
    """What never reached an audited route: no such path, or our own fault."""
    problem: Problem = InternalError()
    if isinstance(error, HTTPException):
        if error.status_code == 405:  # noqa: PLR2004 - HTTP status
            allowed = (error.headers or {}).get("allow", "")
            problem = MethodNotAllowed(tuple(allowed.split(", ")))
        elif error.status_code < 500:  # noqa: PLR2004 - HTTP status
            problem = NotFound()
    else:
        log.error("unforeseen_error", error=type(error).__name__)
    return rendering.problem(problem)


def create_app(
    settings: ServeSettings | None = None, oidc: OidcSettings | None = None
) -> Litestar:
    """The ASGI application. Without `settings` all are read from the environment.

    Raises:
        BadSetting: for a missing or bad setting or secret.
    """
    if settings is None:
        settings, oidc = read_settings(ServeSettings), read_oidc()
    held = settings
    telemetry.configure_logging()

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with running(app, held, oidc):
            yield

    audited = AUDITED if oidc is None else (*AUDITED, *OIDC_AUDITED)
    routes = ROUTES if oidc is None else (*ROUTES, *OIDC_ROUTES)
    return Litestar(
        # The others first, or Litestar would add an OPTIONS of its own to their paths.
        route_handlers=[*(refuse_other_methods(*one) for one in audited), *routes],
        lifespan=[lifespan],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=MOST_BODY,
        exception_handlers={HTTPException: outside_routes, Exception: outside_routes},
    )
