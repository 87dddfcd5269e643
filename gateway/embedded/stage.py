"""What `gateway chaos` breaks: servers, the ways to them, the gateway, and who asks.

Both ways lead through a `Passage`, so that a network can be broken too.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import asyncpg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gateway.clock import from_datetime
from gateway.embedded import demo, samples
from gateway.embedded.asking import FAR, Asking, Partner
from gateway.embedded.gateways import GatewayProcess
from gateway.embedded.passage import Passage
from gateway.embedded.ports import HOST, free_port, is_free
from gateway.embedded.postgres import PostgresServer
from gateway.embedded.provisioning import Provisioned
from gateway.embedded.valkey import ValkeyServer
from gateway.registry import synthetic
from gateway.settings import NumberedKeys
from gateway.vocabulary import Limits

RESIDENTS: Final = 1_000
WORKERS: Final = 2
# Of its own server's log: small, so that it can be filled, and held in memory.
DISK_BYTES: Final = 640 << 20
SMALL_WAL: Final = "ALTER SYSTEM SET max_wal_size = '128MB'"
# A minute's calls of one institution, about; a third of them are enough.
OF_A_MINUTE: Final = 500
# Until every worker knows the institutions.
KNOWN_SECONDS: Final = 1.5


@dataclass(slots=True)
class Stage:
    """Everything that stands.

    `disk` is a file system of PostgreSQL's own, where one could be mounted.
    """

    folder: Path
    postgres: PostgresServer
    valkey: ValkeyServer
    spare: ValkeyServer
    log_way: Passage
    counters_way: Passage
    environment: dict[str, str]
    gateway: GatewayProcess
    asking: Asking
    disk: Path | None
    # Those that were started beside the first: they end with it.
    copies: list[PostgresServer] = field(default_factory=list)

    @property
    def auditor_dsn(self) -> str:
        """Of whichever server the way leads to."""
        return self.environment["GATEWAY_AUDITOR_DSN"]

    async def start_postgres(self) -> None:
        await asyncio.to_thread(self.postgres.start)
        self.log_way.to = self.postgres.port

    async def start_valkey(self) -> None:
        await asyncio.to_thread(self.valkey.start)
        self.counters_way.to = self.valkey.port

    async def start_gateway(self) -> None:
        """As the machine's init would, once the old one has left its port."""
        while not is_free(self.gateway.port):  # noqa: ASYNC110 - a port sets no event
            await asyncio.sleep(0.1)
        log_file = self.folder / "gateway.log"
        self.gateway = GatewayProcess(self.environment, log_file)
        await asyncio.to_thread(self.gateway.wait_until_ready)

    def ask_valkey(self, server: ValkeyServer, *command: object) -> Any:
        with redis.Redis.from_url(server.url, retry=Retry(NoBackoff(), 0)) as client:
            return client.execute_command(*command)

    @asynccontextmanager
    async def another_gateway(self, environment: dict[str, str]) -> AsyncIterator[None]:
        """One more over the same servers, differing in these settings, is asked too."""
        port = free_port()
        settings = {**self.environment, "GATEWAY_PORT": str(port), **environment}
        other = GatewayProcess(settings, self.folder / "other-gateway.log")
        try:
            await asyncio.to_thread(other.wait_until_ready)
            self.asking.ports.append(port)
            yield
            self.asking.ports.remove(port)
        finally:
            await asyncio.to_thread(other.stop)

    def stop_copies(self) -> None:
        for server in self.copies:
            server.stop()

    async def stop_gateway(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            # What did not end by itself was killed.
            await asyncio.to_thread(self.gateway.stop)


@asynccontextmanager
async def set_up(
    folder: Path, *, minutes: float, chance: Random
) -> AsyncIterator[Stage]:
    """All of it in an empty folder; nothing is left running, or mounted, at its end."""
    port = free_port()
    async with AsyncExitStack() as held:
        disk = held.enter_context(small_disk(folder / "disk"))
        postgres = PostgresServer((disk or folder) / "postgres")
        valkey, spare = pair(folder)
        for server in (postgres, valkey, spare):
            await asyncio.to_thread(server.start)
            held.callback(server.stop)
        # Its secrets too, which the sample institutions' keys need.
        own = demo.environment(folder, postgres, valkey, port, WORKERS)
        await demo.fill(folder, postgres, RESIDENTS, port)
        partners = await _partners(folder, postgres, minutes, small=disk is not None)
        log_way = await held.enter_async_context(Passage(postgres.port).open())
        counters_way = await held.enter_async_context(Passage(valkey.port).open())
        environment = _through(
            own, {postgres.port: log_way.port, valkey.port: counters_way.port}
        ) | ({} if disk is None else {"GATEWAY_LOG_DISK": str(disk)})
        gateway = GatewayProcess(environment, folder / "gateway.log")
        own_chance = Random(chance.random())  # noqa: S311 - calls, no secret
        asking = Asking([port], partners, _niks(), own_chance)
        stage = Stage(
            *(folder, postgres, valkey, spare, log_way, counters_way),
            *(environment, gateway, asking, disk),
        )
        held.callback(stage.stop_copies)
        held.push_async_callback(stage.stop_gateway)
        await asyncio.to_thread(gateway.wait_until_ready)
        await asyncio.sleep(KNOWN_SECONDS)
        yield stage


def _through(environment: dict[str, str], ways: dict[int, int]) -> dict[str, str]:
    """The same settings with other ports of this machine's in their addresses."""
    for port, way in ways.items():
        environment = {
            name: value.replace(f"@{HOST}:{port}/", f"@{HOST}:{way}/")
            for name, value in environment.items()
        }
    return environment


def _niks() -> list[str]:
    found = synthetic.sample(RESIDENTS, RESIDENTS, seed=demo.SEED)
    return [str(resident["nik"]) for resident in found]


def pair(folder: Path) -> tuple[ValkeyServer, ValkeyServer]:
    """Two with one password, so that one can take the other's place."""
    one, other = ValkeyServer(folder / "valkey"), ValkeyServer(folder / "spare")
    one.start()
    one.stop()
    shutil.copytree(one.folder, other.folder)
    owner = one.folder.stat()
    for path in (other.folder, *other.folder.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    return one, other


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A file system in memory at `folder`; None where this process may mount none."""
    folder.mkdir()
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if sys.platform != "linux" or os.geteuid() != 0 or not (mount and unmount):
        yield None
        return
    options = f"size={DISK_BYTES},mode=755"
    command = [mount, "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:  # noqa: S603 - our own argv
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run([unmount, str(folder)], check=True)  # noqa: S603 - our own argv


async def _partners(
    folder: Path, postgres: PostgresServer, minutes: float, *, small: bool
) -> list[Partner]:
    """Some with no near limit, some whose rate, day or month is; and one outsider."""
    if small:
        superuser = await asyncpg.connect(postgres.dsn())
        await superuser.execute(SMALL_WAL)
        await superuser.execute("SELECT pg_reload_conf()")
        await superuser.close()
    enough = max(1, round(OF_A_MINUTE * minutes))
    terms = [
        *([FAR] * 6),
        *([FAR._replace(rate=20, burst=20)] * 3),
        *([FAR._replace(day=enough)] * 2),
        *([FAR._replace(month=2 * enough)] * 2),
    ]
    peppers = NumberedKeys.read(folder / "secrets" / "pepper", setting="the pepper")
    dsn = Provisioned(postgres, folder / "roles.json").dsn("admin", demo.DATABASE)
    admin = await asyncpg.connect(dsn)
    try:
        async with admin.transaction():
            now = from_datetime(await admin.fetchval("SELECT now()"))
            made = [await _partner(admin, peppers, one, now) for one in terms]
            outsider = await _partner(admin, peppers, FAR, now)
    finally:
        await admin.close()
    return [*made, Partner(outsider.id, outsider.limits, outsider.key, outsider=True)]


async def _partner(
    admin: asyncpg.Connection, peppers: NumberedKeys, limits: Limits, now: int
) -> Partner:
    sample = samples.Sample(samples.BULK.name, samples.BULK.grant, limits._asdict())
    made = await samples.institution(admin, peppers, sample, now)
    return Partner(made["id"], limits, made["key"])
