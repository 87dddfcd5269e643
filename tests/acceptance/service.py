"""The whole service as it is run: real servers, and `gateway serve` in front.

The log and the registry are servers of their own, so that each can be lost alone and
all that one of them keeps can be searched.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from gateway.audit.subject import SubjectKeys
from gateway.clock import from_datetime
from gateway.embedded import samples
from gateway.embedded.postgres import PostgresServer
from gateway.embedded.provisioning import Provisioned
from gateway.embedded.valkey import ValkeyServer
from gateway.postgres import Connection as Database
from gateway.registry import synthetic
from gateway.registry.resident import Resident
from gateway.settings import NumberedKeys
from tests.acceptance.callers import Caller, make_caller
from tests.acceptance.questions import Question
from tests.acceptance.serving import Gateway
from tests.acceptance.wire import HERE, Answer, Connection

SEED: Final = 17_08_1945
RESIDENTS: Final = 5_000
WORKERS: Final = 2
NEWCOMERS: Final = 200
LOG, REGISTRY = "gateway", "registry"
# What the contract gives a change to reach every worker.
KNOWN_EVERYWHERE: Final = 1.0


@dataclass(slots=True)
class Service:
    """Everything that runs, and the secrets by which a test can look inside."""

    folder: Path
    log: PostgresServer
    registry: PostgresServer
    valkey: ValkeyServer
    environment: Mapping[str, str]
    admin_dsn: str
    peppers: NumberedKeys
    subjects: SubjectKeys
    credentials: Mapping[str, Any]
    residents: list[Resident]
    gateway: Gateway
    newcomers: Iterator[Caller]

    @property
    def auditor_dsn(self) -> str:
        return self.environment["GATEWAY_AUDITOR_DSN"]

    @property
    def staff(self) -> Mapping[str, str]:
        """Each role's token."""
        staff: Mapping[str, str] = self.credentials["staff"]
        return staff

    def sample(self, word: str) -> Caller:
        """One of the demo's institutions: bank, hospital, tight or bulk."""
        held = self.credentials["institutions"][word]
        key = held["key"]
        return Caller(held["id"], held["agreement"], key[9:17], key)

    def newcomer(self) -> Caller:
        """An institution that nobody has used yet, with both grants and no near limit."""
        return next(self.newcomers)

    async def ask(
        self, method: str, target: str, *, source: str = HERE, **asked: Any
    ) -> Answer:
        """One call over a connection of its own; see Connection.ask."""
        async with Connection.opened(self.gateway.port, source=source) as connection:
            return await connection.ask(method, target, **asked)

    async def put(self, question: Question, *, source: str = HERE) -> Answer:
        """One call of a question over a connection of its own."""
        async with Connection.opened(self.gateway.port, source=source) as connection:
            return await question.put(connection)

    async def make_callers(self, *terms: Mapping[str, Any]) -> list[Caller]:
        """Makes institutions, and waits until every worker knows them."""
        async with self.admin() as admin:
            made = [await make_caller(admin, self.peppers, **one) for one in terms]
        await asyncio.sleep(KNOWN_EVERYWHERE)
        return made

    async def make_caller(self, **terms: Any) -> Caller:
        return (await self.make_callers(terms))[0]

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[Database]:
        """A transaction of the role that keeps partners."""
        connection = await asyncpg.connect(self.admin_dsn)
        try:
            async with connection.transaction():
                yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def second_gateway(self, **environment: str) -> AsyncIterator[Gateway]:
        """Another `gateway serve` over the same servers, differing in these settings."""
        settings = {**self.environment, "GATEWAY_WORKERS": "1", **environment}
        gateway = Gateway(settings, self.folder / "second-gateway.log")
        try:
            await gateway.ready(1)
            yield gateway
        finally:
            await asyncio.to_thread(gateway.stop)


@asynccontextmanager
async def _servers(
    folder: Path, log_disk: Path | None
) -> AsyncIterator[tuple[PostgresServer, PostgresServer, ValkeyServer]]:
    """The log's server, the registry's and Valkey, running."""
    log = PostgresServer((log_disk or folder) / "log")
    registry = PostgresServer(folder / "registry")
    valkey = ValkeyServer(folder / "valkey")
    try:
        async with asyncio.TaskGroup() as starting:
            for server in (log, registry, valkey):
                starting.create_task(asyncio.to_thread(server.start))
        yield log, registry, valkey
    finally:
        for running_server in (valkey, registry, log):
            await asyncio.to_thread(running_server.stop)


@asynccontextmanager
async def running(
    folder: Path,
    *,
    residents: int = RESIDENTS,
    newcomers: int = NEWCOMERS,
    redis_url: str | None = None,
    log_disk: Path | None = None,
) -> AsyncIterator[Service]:
    """Starts it all in an empty folder; leaves no process behind.

    Limits are counted by the servers of `redis_url`; without one by `valkey`. The log's
    server keeps its data on `log_disk`, which the gateway then watches; without one in
    `folder` as well.
    """
    async with _servers(folder, log_disk) as (log, registry, valkey):
        provisioned = Provisioned(log, folder / "log-roles.json")
        async with asyncio.TaskGroup() as filling:
            filling.create_task(provisioned.create(LOG))
            filled = filling.create_task(_fill_registry(folder, registry, residents))
        registry_dsn = filled.result()
        counting = redis_url or valkey.url
        environment = _environment(folder, provisioned, registry_dsn, counting)
        if log_disk is not None:
            environment["GATEWAY_LOG_DISK"] = str(log_disk)
        peppers, subjects = read_secrets(environment)
        admin_dsn = provisioned.dsn("admin", LOG)
        credentials, made = await _fill_partners(admin_dsn, peppers, newcomers)
        sample = list(synthetic.sample(residents, 1000, seed=SEED))
        gateway = Gateway(environment, folder / "gateway.log")
        try:
            await gateway.ready(WORKERS)
            yield Service(
                *(folder, log, registry, valkey, environment, admin_dsn),
                *(peppers, subjects, credentials, sample, gateway, iter(made)),
            )
        finally:
            await asyncio.to_thread(gateway.stop)


def _environment(
    folder: Path, log: Provisioned, registry_dsn: str, redis_url: str
) -> dict[str, str]:
    return {
        "GATEWAY_POSTGRES_DSN": log.dsn("hot", LOG),
        "GATEWAY_REGISTRY_DSN": registry_dsn,
        "GATEWAY_AUDITOR_DSN": log.dsn("auditor", LOG),
        "GATEWAY_RECEIPTS_DSN": log.dsn("receipts", LOG),
        "GATEWAY_SEALER_DSN": log.dsn("sealer", LOG),
        "GATEWAY_ADMIN_DSN": log.dsn("admin", LOG),
        "GATEWAY_SIGNING_KEY_FILE": write_secrets(folder / "signing-key", 1),
        "GATEWAY_LOG_ORIGIN": "log.example/acceptance",
        "GATEWAY_REDIS_URL": redis_url,
        "GATEWAY_PEPPER_FILE": write_secrets(folder / "pepper", 1),
        "GATEWAY_SUBJECT_KEYS_FILE": write_secrets(folder / "subject-keys", 1),
        "GATEWAY_WORKERS": str(WORKERS),
    }


async def _fill_registry(folder: Path, server: PostgresServer, residents: int) -> str:
    provisioned = Provisioned(server, folder / "registry-roles.json")
    await provisioned.create(REGISTRY)
    owner = provisioned.dsn("owner", REGISTRY)
    await synthetic.load(owner, residents, seed=SEED, progress=lambda _: None)
    return provisioned.dsn("registry", REGISTRY)


async def _fill_partners(
    admin_dsn: str, peppers: NumberedKeys, newcomers: int
) -> tuple[dict[str, Any], list[Caller]]:
    admin = await asyncpg.connect(admin_dsn)
    try:
        async with admin.transaction():
            now = from_datetime(await admin.fetchval("SELECT now()"))
            credentials = await samples.create(admin, peppers, base_url="", now=now)
            made = [await make_caller(admin, peppers) for _ in range(newcomers)]
    finally:
        await admin.close()
    return credentials, made


def write_secrets(path: Path, *numbers: int, after: Path | None = None) -> str:
    """A file of fresh secrets under these numbers, below those of an older file."""
    path.touch(mode=0o600)
    older = "" if after is None else after.read_text("ascii")
    fresh = "".join(f"{number}:{secrets.token_hex(32)}\n" for number in numbers)
    path.write_text(older + fresh, "ascii")
    return str(path)


def read_secrets(environment: Mapping[str, str]) -> tuple[NumberedKeys, SubjectKeys]:
    """The peppers and the subject keys that a gateway with these settings uses."""
    pepper, subject = "GATEWAY_PEPPER_FILE", "GATEWAY_SUBJECT_KEYS_FILE"
    return (
        NumberedKeys.read(Path(environment[pepper]), setting=pepper),
        SubjectKeys(NumberedKeys.read(Path(environment[subject]), setting=subject)),
    )
