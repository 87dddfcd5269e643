"""A month of lookups under a running gateway: what console_scale.py has the console show."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Final

import asyncpg
from rich.console import Console

from gateway.audit.tidying import tidy
from gateway.clock import from_datetime
from gateway.embedded import demo, samples
from gateway.embedded.gateways import GatewayProcess
from gateway.embedded.postgres import PostgresServer
from gateway.embedded.provisioning import Provisioned
from gateway.embedded.valkey import ValkeyServer
from gateway.partners import keeping
from gateway.partners.keys import Environment
from gateway.postgres import Connection
from gateway.settings import NumberedKeys
from tests.benchmarks import filling
from tests.benchmarks.audit_scale import roll_up
from tests.benchmarks.filling import DAY, INSTITUTIONS, Month

RESIDENTS: Final = 10_000
# By Zipf's law the first institution asks a tenth of all there is.
BUSIEST: Final = 1
console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Standing:
    """A gateway over the log, the servers below it, and who may sign in."""

    gateway: GatewayProcess
    postgres: PostgresServer
    valkey: ValkeyServer
    provisioned: Provisioned
    credentials: dict[str, str]

    def restart_postgres(self, meanwhile: Callable[[Path], None]) -> None:
        """Its own buffers are empty then; the gateway finds it again by itself.

        `meanwhile` is given its folder.
        """
        self.postgres.stop()
        meanwhile(self.postgres.folder)
        self.postgres.start()
        self.gateway.wait_until_ready()


@contextmanager
def standing(data: Path, rows: int, port: int, workers: int) -> Iterator[Standing]:
    """Makes the log in an empty folder, or takes up the one that is there."""
    data.mkdir(parents=True, exist_ok=True)
    postgres, valkey = PostgresServer(data / "postgres"), ValkeyServer(data / "valkey")
    try:
        postgres.start()
        valkey.start()
        provisioned = Provisioned(postgres, data / "roles.json")
        settings = demo.environment(data, postgres, valkey, port, workers)
        settings["GATEWAY_LOG_ORIGIN"] = filling.ORIGIN
        # The log's head is signed by the one who filled it.
        signing = Path(settings["GATEWAY_SIGNING_KEY_FILE"])
        signing.write_text(f"1:{filling.SIGNING_KEY.hex()}\n", "ascii")
        asyncio.run(make(data, postgres, provisioned, rows, port))
        credentials = json.loads((data / "signing-in.json").read_text("utf-8"))
        gateway = GatewayProcess(settings, data / "gateway.log")
        try:
            gateway.wait_until_ready()
            yield Standing(gateway, postgres, valkey, provisioned, credentials)
        finally:
            with suppress(TimeoutExpired):
                # What did not end by itself was killed.
                gateway.stop()
    finally:
        valkey.stop()
        postgres.stop()


async def make(
    data: Path,
    postgres: PostgresServer,
    provisioned: Provisioned,
    rows: int,
    port: int,
) -> None:
    made = data / "signing-in.json"
    await provisioned.create(demo.DATABASE)
    if made.exists():
        return
    superuser = await asyncpg.connect(postgres.dsn(database=demo.DATABASE))
    first_day = filling.first_day_of(time.time_ns() // 1000)
    purposes = await filling.prepare(superuser, first_day)
    for table, column in (("institutions", "id"), ("keys", "number")):
        await superuser.execute(
            f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'),"
            f" (SELECT max({column}) FROM {table}))"
        )
    month = Month(postgres.dsn(database=demo.DATABASE), rows, 5, first_day, purposes)
    async for done in filling.fill(month):
        console.print(f"{done:,} entries", end="\r")
    console.print("counted by hours and days ...")
    await roll_up(provisioned.dsn("sealer", demo.DATABASE))
    console.print("tidied ...")
    async for _ in tidy(superuser):
        pass
    await superuser.execute("VACUUM ANALYZE")
    await filling.give_to_owner(superuser)
    await superuser.close()
    filled = await demo.fill(data, postgres, RESIDENTS, port)
    admin = await asyncpg.connect(provisioned.dsn("admin", demo.DATABASE))
    pepper = data / "secrets" / "pepper"
    peppers = NumberedKeys.read(pepper, setting="the bench's pepper")
    async with admin.transaction():
        await agree(admin, range(1, INSTITUTIONS + 1))
        key = await another_key(admin, peppers, BUSIEST)
    await admin.close()
    made.touch(mode=0o600)
    made.write_text(json.dumps(filled["staff"] | {"institution": key}), "utf-8")


async def agree(admin: Connection, institutions: Iterable[int]) -> None:
    """Each has an agreement, with limits out of reach."""
    now = from_datetime(await admin.fetchval("SELECT now()"))
    for institution in institutions:
        await keeping.create_agreement(
            admin,
            institution,
            from_at=now - DAY,
            to_at=now + 365 * DAY,
            grants=[samples.BULK.grant],
            limits=samples.BULK.limits,
        )


async def another_key(
    admin: Connection, peppers: NumberedKeys, institution: int
) -> str:
    key = await keeping.create_key(
        admin,
        peppers,
        institution=institution,
        not_after=None,
        cidrs=None,
        environment=Environment.TEST,
    )
    return key.text
