"""GET /audit/export and `gateway audit export`, on real servers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import asyncpg
import httpx
import pytest
from typer.testing import CliRunner, Result

from gateway.app import create_app
from gateway.audit_commands import app
from gateway.clock import SECOND, to_text
from gateway.embedded.valkey import ValkeyServer
from gateway.partners import keeping
from gateway.partners.keys import Environment
from gateway.postgres import Connection
from gateway.settings import NumberedKeys, ServeSettings
from tests.conftest import Database
from tests.integration import logs
from tests.integration.exported import Log, opened
from tests.written_logs import KEY


@pytest.fixture
async def log(
    database: Database, superuser: Connection, hot: Connection
) -> AsyncIterator[Log]:
    async with opened(database, superuser, hot) as log:
        yield log


class Written(Protocol):
    """A log that is served: where it is, and somebody who may change its tables."""

    @property
    def database(self) -> Database: ...

    @property
    def superuser(self) -> Connection: ...


def served(
    database: Database, redis_url: str, folder: Path, archive: Path | None = None
) -> ServeSettings:
    for name in ("pepper", "subject", "signing"):
        secret = folder / name
        secret.touch(mode=0o600)
        secret.write_text(f"1:{'00' * 32}\n")
    return ServeSettings.model_validate(
        {
            "postgres_dsn": database.dsn("hot"),
            "registry_dsn": database.dsn("registry"),
            "auditor_dsn": database.dsn("auditor"),
            "receipts_dsn": database.dsn("receipts"),
            "redis_url": redis_url,
            "pepper_file": folder / "pepper",
            "subject_keys_file": folder / "subject",
            "signing_key_file": folder / "signing",
            "log_origin": logs.ORIGIN,
            "archive_dir": archive,
        }
    )


@dataclass(frozen=True)
class Auditor:
    """The route as an auditor asks it."""

    client: httpx.AsyncClient
    headers: dict[str, str]

    async def get(
        self, query: dict[str, str], path: str = "/audit/export"
    ) -> httpx.Response:
        return await self.client.get(path, params=query, headers=self.headers)


@asynccontextmanager
async def serving(
    log: Written, redis_url: str, folder: Path, archive: Path | None = None
) -> AsyncIterator[Auditor]:
    """The application on real servers, and an auditor of its own."""
    await log.superuser.execute("ALTER TABLE keys ALTER number RESTART WITH 100")
    settings = served(log.database, redis_url, folder, archive)
    admin = await asyncpg.connect(log.database.dsn("admin"))
    made = await keeping.create_staff(
        admin,
        NumberedKeys.read(settings.pepper_file, setting="the pepper"),
        role="auditor",
        name="Auditor",
        not_after=None,
        environment=Environment.TEST,
    )
    await admin.close()
    headers = {"Authorization": f"Bearer {made.token.text}"}
    served_app = create_app(settings)
    transport = httpx.ASGITransport(
        served_app,  # type: ignore[arg-type]  # words ASGI more narrowly
        client=("127.0.0.1", 50000),
    )
    async with (
        served_app.lifespan(),
        httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
    ):
        yield Auditor(client, headers)


@pytest.mark.filterwarnings("ignore:.*deprecated inferred style")
async def test_the_route_answers_with_the_range_after_its_own_entry(
    log: Log, valkey: ValkeyServer, tmp_path: Path
) -> None:
    made = await log.write(log.now, batches=12, apart=SECOND)
    await log.seal()
    async with serving(log, valkey.url, tmp_path) as auditor:
        answer = await auditor.get({"reason": "yearly audit"})
    assert answer.status_code == 200
    assert answer.headers["Log-Range"] == f"0-{len(made)}/{len(made)}"
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    lines = [json.loads(one) for one in answer.text.splitlines()]
    assert {one["access_id"] for one in lines} == set(made)
    found = await log.inspection.entry(answer.headers["Access-Id"])
    assert found is not None
    own = json.loads(found[0])
    told = (own["operation"], own["outcome"], own["reference"], own["actor"])
    assert told == ("audit.export", "done", "yearly audit", "auditor")


@pytest.mark.filterwarnings("ignore:.*deprecated inferred style")
async def test_the_route_gives_rows_of_a_time_and_an_empty_range_for_none(
    log: Log, valkey: ValkeyServer, tmp_path: Path
) -> None:
    made = await log.write(log.now, batches=12, apart=SECOND)
    await log.seal()
    asked = {"from": to_text(log.now), "to": "2100-01-01T00:00:00+07:00"}
    before = {"reason": "before it all", "to": "2020-01-01T00:00:00Z"}
    async with serving(log, valkey.url, tmp_path) as auditor:
        part = await auditor.get({"reason": "one hour", "format": "csv", **asked})
        empty = await auditor.get(before)
    first, _, _ = part.headers["Log-Range"].partition("-")
    assert part.text.count("\r\n") == len(made) - int(first) + 1
    assert (empty.status_code, empty.content) == (200, b"")
    assert empty.headers["Log-Range"] == "0-0/0"


@pytest.mark.filterwarnings("ignore:.*deprecated inferred style")
async def test_the_route_tells_all_faults_and_refuses_others(
    log: Log, valkey: ValkeyServer, tmp_path: Path
) -> None:
    asked = {"format": "xlsx", "from": "yesterday", "nik": "x"}
    async with serving(log, valkey.url, tmp_path) as auditor:
        bad = await auditor.get(asked)
        posted = await auditor.client.post("/audit/export", headers=auditor.headers)
        auditor.headers.clear()
        unknown = await auditor.get({"reason": "no credential"})
    assert bad.status_code == 400
    pointers = {fault["pointer"] for fault in bad.json()["errors"]}
    assert pointers == {"?nik", "?reason", "?format", "?from"}
    assert posted.status_code == 405
    assert unknown.status_code == 401


async def test_the_command_writes_what_the_verifier_calls_true(
    log: Log, tmp_path: Path
) -> None:
    made = await log.write(log.now, batches=12, apart=SECOND)
    await log.seal()
    file = tmp_path / "log.ndjson"
    span = ["--from", "2026-01-01T00:00:00Z", "--to", "2100-01-01T00:00:00Z"]
    environment = {"GATEWAY_AUDITOR_DSN": log.database.dsn("auditor")}

    async def run(*given: str) -> Result:
        # In a thread, where the command runs a loop of its own.
        return await asyncio.to_thread(CliRunner().invoke, app, given, env=environment)

    exported = await run("export", str(file), *span, "--json")
    assert exported.exit_code == 0
    assert json.loads(exported.stdout) == {
        "file": str(file),
        "start": 0,
        "end": len(made),
        "tree_size": len(made),
    }
    told = await run("verify", str(file), "--key", KEY.text, "--json")
    assert told.exit_code == 0
    assert json.loads(told.stdout)["verdict"] == "true"
    nothing = await run("export", str(file), *span[:2], "--to", "2026-01-02T00:00:00Z")
    assert (nothing.exit_code, nothing.stdout) == (1, "")
    assert "No sealed entry" in nothing.stderr
