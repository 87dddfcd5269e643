"""`make demo`: everything on one machine, on real servers, from one command.

Under the data folder: postgres/ and valkey/ (the servers'), secrets/, roles.json,
credentials.json, residents-sample.csv and gateway.log. All of it survives a stop.
"""

import asyncio
import contextlib
import csv
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from gateway.clock import from_datetime
from gateway.embedded import samples
from gateway.embedded.gateways import GatewayProcess
from gateway.embedded.postgres import PostgresServer
from gateway.embedded.processes import ServerError
from gateway.embedded.provisioning import Provisioned
from gateway.embedded.valkey import ValkeyServer
from gateway.registry import synthetic
from gateway.settings import NumberedKeys

DATABASE: Final = "gateway"
ORIGIN: Final = "resident-data-gateway.example/demo"
SEED: Final = 17_08_1945
console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything that runs, and where."""

    data: Path
    port: int
    credentials: Mapping[str, Any]
    gateway: GatewayProcess
    postgres: PostgresServer
    valkey: ValkeyServer

    def dsn(self, role: str) -> str:
        provisioned = Provisioned(self.postgres, self.data / "roles.json")
        return provisioned.dsn(role, DATABASE)


def run(*, port: int, data: Path, residents: int, workers: int | None) -> None:
    """Runs the demo until Ctrl-C or SIGTERM; nothing is left running then.

    Raises:
        ServerError: with a sentence, if something could not be started.
    """
    with standing(port=port, data=data, residents=residents, workers=workers) as all_of:
        _greet(all_of.data, all_of.credentials)
        _stay(all_of.gateway, all_of.postgres, all_of.valkey)


@contextlib.contextmanager
def standing(
    *, port: int, data: Path, residents: int, workers: int | None
) -> Iterator[Standing]:
    """Everything that the demo runs, until Ctrl-C, SIGTERM or the end of the block.

    Raises:
        ServerError: with a sentence, if something could not be started.
    """
    # Also SIGINT: a shell starts what it puts in the background with it ignored.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    data = data.resolve()
    # Others may enter, so that an unprivileged server reaches its own folder; the
    # files in it are private one by one.
    data.mkdir(parents=True, exist_ok=True)
    _check_port(port)
    postgres, valkey = PostgresServer(data / "postgres"), ValkeyServer(data / "valkey")
    try:
        console.print("starting PostgreSQL and Valkey ...")
        postgres.start()
        valkey.start()
        settings = environment(data, postgres, valkey, port, workers)
        credentials = asyncio.run(fill(data, postgres, residents, port))
        with _gateway(data, settings) as gateway:
            yield Standing(data, port, credentials, gateway, postgres, valkey)
    except KeyboardInterrupt:
        console.print("\nstopping ...")
    finally:
        # A second Ctrl-C must not leave a server behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        valkey.stop()
        postgres.stop()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ServerError(
                f'Port {port} is taken; try make demo ARGS="--port {port + 1}".'
            ) from None


def _secret(folder: Path, name: str) -> str:
    """The path of a file of numbered secrets, made at the first start."""
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / name
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(f"1:{secrets.token_hex(32)}\n", "ascii")
    return str(path)


def environment(
    data: Path,
    postgres: PostgresServer,
    valkey: ValkeyServer,
    port: int,
    workers: int | None,
) -> dict[str, str]:
    """All of the environment of a gateway over these servers, made secrets included."""
    provisioned = Provisioned(postgres, data / "roles.json")
    settings = {
        "GATEWAY_POSTGRES_DSN": provisioned.dsn("hot", DATABASE),
        "GATEWAY_REGISTRY_DSN": provisioned.dsn("registry", DATABASE),
        "GATEWAY_AUDITOR_DSN": provisioned.dsn("auditor", DATABASE),
        "GATEWAY_RECEIPTS_DSN": provisioned.dsn("receipts", DATABASE),
        "GATEWAY_ADMIN_DSN": provisioned.dsn("admin", DATABASE),
        "GATEWAY_SEALER_DSN": provisioned.dsn("sealer", DATABASE),
        "GATEWAY_REDIS_URL": valkey.url,
        "GATEWAY_PEPPER_FILE": _secret(data / "secrets", "pepper"),
        "GATEWAY_SUBJECT_KEYS_FILE": _secret(data / "secrets", "subject-keys"),
        "GATEWAY_SIGNING_KEY_FILE": _secret(data / "secrets", "signing-key"),
        "GATEWAY_LOG_ORIGIN": ORIGIN,
        "GATEWAY_ARCHIVE_DIR": str(data / "archive"),
        "GATEWAY_PORT": str(port),
    }
    if workers is not None:
        settings["GATEWAY_WORKERS"] = str(workers)
    return {**os.environ, **settings}


async def fill(
    data: Path, postgres: PostgresServer, residents: int, port: int
) -> dict[str, Any]:
    """Makes database, residents, sample institutions; what credentials.json holds."""
    provisioned = Provisioned(postgres, data / "roles.json")
    await provisioned.create(DATABASE)
    owner_dsn = provisioned.dsn("owner", DATABASE)
    with _progress(residents) as advance:
        await synthetic.load(owner_dsn, residents, seed=SEED, progress=advance)
    owner = await asyncpg.connect(owner_dsn)
    held = await owner.fetchval("SELECT count(*) FROM registry.residents")
    await owner.close()
    if held != residents:
        console.print(f"the registry keeps the {held:,} residents it has")
    synthetic.write_sample(data / "residents-sample.csv", held, seed=SEED)
    return await _credentials(data, provisioned, f"http://127.0.0.1:{port}")


async def _credentials(
    data: Path, provisioned: Provisioned, base_url: str
) -> dict[str, Any]:
    path = data / "credentials.json"
    peppers = NumberedKeys.read(
        data / "secrets" / "pepper", setting="the demo's pepper"
    )
    connection = await asyncpg.connect(provisioned.dsn("admin", DATABASE))
    try:
        if path.exists():
            credentials: dict[str, Any] = json.loads(path.read_text("utf-8"))
            if await samples.are_there(connection, credentials):
                credentials["base_url"] = base_url
                samples.write_credentials(path, credentials)
                return credentials
        async with connection.transaction():
            now = from_datetime(await connection.fetchval("SELECT now()"))
            credentials = await samples.create(
                connection, peppers, base_url=base_url, now=now
            )
            # Before the commit: keys that nobody holds would be of no use.
            samples.write_credentials(path, credentials)
        return credentials
    finally:
        await connection.close()


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Any]:
    columns = (TextColumn("synthetic residents"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda sent: progress.update(task, completed=sent)


@contextlib.contextmanager
def _gateway(data: Path, settings: Mapping[str, str]) -> Iterator[GatewayProcess]:
    process = GatewayProcess(settings, data / "gateway.log")
    try:
        process.wait_until_ready()
        yield process
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            # What did not end by itself was killed.
            process.stop()


GREETING: Final = """
[bold green]The gateway answers at {base}[/]

As a bank, ask whether a name and a birth date are a resident's:

  curl -i {base}/v1/verify -H 'Authorization: Bearer {bank}' \\
    -H 'Content-Type: application/json' -d '{lookup}'

As an auditor, ask who looked at that resident:

  curl {base}/audit/subject-searches -H 'Authorization: Bearer {auditor}' \\
    -H 'Content-Type: application/json' -d '{search}'

The same in a browser, signed in with the auditor's token (ops have pages, too):

  {base}/console

As anyone, see the signed head of the log:

  curl {base}/log/checkpoint

More keys:    {data}/credentials.json
More people:  {data}/residents-sample.csv
The API:      {base}/openapi.json
The log:      {data}/gateway.log

Ctrl-C stops everything; the data stays."""


def _greet(data: Path, credentials: Mapping[str, Any]) -> None:
    with (data / "residents-sample.csv").open(encoding="utf-8", newline="") as file:
        resident = next(csv.DictReader(file))
    claims = {"name": resident["name"], "birth_date": "1990-01-05"}
    lookup = {"nik": resident["nik"], "purpose": "kyc", "claims": claims}
    search = {"nik": resident["nik"], "reason": "complaint 42 of a resident"}
    greeting = GREETING.format(
        base=credentials["base_url"],
        bank=credentials["institutions"]["bank"]["key"],
        auditor=credentials["staff"]["auditor"],
        lookup=_quoted(lookup),
        search=_quoted(search),
        data=data,
    )
    console.print(greeting, soft_wrap=True)


def _quoted(body: Mapping[str, object]) -> str:
    """JSON as it stands between a shell's single quotes."""
    return json.dumps(body).replace("'", "'\\''")


def _stay(
    gateway: GatewayProcess, postgres: PostgresServer, valkey: ValkeyServer
) -> None:
    """Until Ctrl-C. A server that ends is told of, not restarted behind one's back."""
    told: set[str] = set()
    while gateway.running:
        for name, server in (("PostgreSQL", postgres), ("Valkey", valkey)):
            if server.running:
                told.discard(name)
            elif name not in told:
                told.add(name)
                console.print(f"[yellow]{name} has stopped.[/] The gateway goes on.")
        time.sleep(0.5)
    raise ServerError("The gateway has stopped.")
