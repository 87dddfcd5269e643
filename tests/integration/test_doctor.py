"""The doctor: each thing that is unsafe, made so on real servers, and what it says."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from time import time_ns
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app
from gateway.clock import from_datetime
from gateway.doctor import counters, examination, upkeep
from gateway.doctor.finding import Finding, Kind
from gateway.doctor.roles import ADDS
from gateway.embedded.postgres import program
from gateway.postgres import Connection
from tests.acceptance.callers import DAY, make_caller
from tests.integration import logs
from tests.integration.overreaching import (
    AUDITOR,
    HOT,
    RECEIPTS,
    REGISTRY,
    ROLES,
    SEALER,
    granted,
)
from tests.integration.patients import DATABASE, Patient, patient, write_secrets
from tests.integration.test_partitions import drop_all

pytestmark = pytest.mark.integration

REDIS = "GATEWAY_REDIS_URL"
PEPPER, SIGNING = "GATEWAY_PEPPER_FILE", "GATEWAY_SIGNING_KEY_FILE"
NOWHERE = "127.0.0.1:1"


@pytest.fixture(scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Patient]:
    async with patient(tmp_path_factory.mktemp("doctor")) as well:
        yield well


def named(found: list[Finding], kind: Kind) -> dict[str, str]:
    """What is said, by check."""
    return {finding.check: finding.says for finding in found if finding.kind is kind}


def secrets_of(servers: Patient, said: str) -> list[str]:
    """The passwords that stand in a text, and the paths of secrets."""
    values = servers.environment.values()
    passwords = [found[1] for one in values if (found := re.search(r":([^:@]+)@", one))]
    assert len(passwords) == 7
    return [value for value in (*passwords, *values) if value in said]


async def test_nothing_is_said_of_what_is_as_it_should_be(servers: Patient) -> None:
    assert await servers.found() == []


DURABILITY = {
    "fsync": ("ALTER SYSTEM SET fsync = off", "ALTER SYSTEM RESET fsync"),
    "full_page_writes": (
        "ALTER SYSTEM SET full_page_writes = off",
        "ALTER SYSTEM RESET full_page_writes",
    ),
    "synchronous_commit": (
        f"ALTER DATABASE {DATABASE} SET synchronous_commit = off",
        f"ALTER DATABASE {DATABASE} RESET synchronous_commit",
    ),
}


@pytest.mark.parametrize("name", DURABILITY)
async def test_a_server_that_may_lose_a_commit_is_refused(
    servers: Patient, name: str
) -> None:
    async with servers.altered(*DURABILITY[name]):
        found = await servers.found()
    assert [*named(found, Kind.UNSAFE)] == [name]
    assert f"set {name} = on" in named(found, Kind.UNSAFE)[name]


async def test_a_server_without_data_checksums_is_refused(servers: Patient) -> None:
    async def switch(how: str) -> None:
        await asyncio.to_thread(servers.postgres.stop)
        folder = str(servers.postgres.folder)
        process = await asyncio.create_subprocess_exec(
            *(program("pg_checksums"), how, "--no-sync", "-D", folder),
            stdout=asyncio.subprocess.DEVNULL,
        )
        assert await process.wait() == 0
        await asyncio.to_thread(servers.postgres.start)

    await switch("--disable")
    try:
        found = await servers.found()
    finally:
        await switch("--enable")
    assert [*named(found, Kind.UNSAFE)] == ["data_checksums"]
    assert await servers.found() == []


@pytest.mark.parametrize(("setting", "check", "does", "undoes"), ROLES)
async def test_a_role_that_may_do_too_much_is_refused(
    servers: Patient, setting: str, check: str, does: str, undoes: str
) -> None:
    async with servers.altered(does, undoes):
        found = await servers.found()
    unsafe = named(found, Kind.UNSAFE)
    assert [*unsafe] == [check]
    assert unsafe[check].startswith(f"{setting} logs in as a role")
    assert secrets_of(servers, unsafe[check]) == []


UNCHANGED = """
    SELECT relname FROM pg_class AS c
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
        AND NOT relispartition AND NOT EXISTS (
            SELECT FROM pg_roles AS role
            WHERE rolname ~ '^gateway_' AND rolname <> 'gateway_owner' AND (
                has_any_column_privilege(role.oid, c.oid, 'UPDATE')
                OR has_table_privilege(role.oid, c.oid, 'DELETE')
            )
        )
"""
# Nothing of the log: lists that are read, or that the owner keeps.
LISTS = {"directory_version", "purposes", "schema_migrations", "staff"}


async def test_every_table_that_no_role_may_change_is_looked_after(
    servers: Patient,
) -> None:
    async with servers.superuser() as superuser:
        unchanged = {row["relname"] for row in await superuser.fetch(UNCHANGED)}
    assert unchanged == {*ADDS, *LISTS}


async def test_a_role_in_anothers_place_is_refused(servers: Patient) -> None:
    swapped = {
        (AUDITOR, HOT): "log-adder",
        (REGISTRY, HOT): "log-adder",
        (HOT, SEALER): "log-adder",
        (RECEIPTS, AUDITOR): "receipts-unbounded",
    }
    for (setting, other), check in swapped.items():
        found = await servers.found(**{setting: servers.environment[other]})
        assert check in named(found, Kind.UNSAFE), setting


async def test_a_registrys_role_that_writes_there_is_warned_of(
    servers: Patient,
) -> None:
    async with servers.altered(
        *granted("UPDATE ON registry.residents", "registry"),
    ):
        found = await servers.found()
    assert [(one.kind, one.check) for one in found] == [
        (Kind.WARNING, "registry-writer")
    ]


async def test_a_valkey_that_keeps_nothing_is_refused(servers: Patient) -> None:
    async with servers.configured(appendonly="no"):
        found = await servers.found()
    assert [*named(found, Kind.UNSAFE)] == ["redis-not-kept"]


async def test_a_valkey_that_evicts_is_warned_of(servers: Patient) -> None:
    async with servers.configured(maxmemory_policy="allkeys-lru"):
        found = await servers.found()
    assert [(one.kind, one.check) for one in found] == [(Kind.WARNING, "redis-evicts")]


# The minus leaves an address out that the machine does not have: no port is opened.
OUTSIDE = "127.0.0.1 -192.0.2.1"


@pytest.mark.parametrize(
    ("bind", "protected", "kind", "check"),
    [
        (OUTSIDE, "no", Kind.UNSAFE, "redis-open"),
        (OUTSIDE, "yes", Kind.WARNING, "redis-without-password"),
        ("127.0.0.1", "no", Kind.WARNING, "redis-without-password"),
    ],
)
async def test_a_valkey_that_anybody_may_command_is_refused(
    servers: Patient, bind: str, protected: str, kind: Kind, check: str
) -> None:
    url = f"redis://127.0.0.1:{servers.valkey.port}/0"
    async with servers.configured(requirepass="", bind=bind, protected_mode=protected):
        found = await servers.found(**{REDIS: url})
    assert [(one.kind, one.check) for one in found] == [(kind, check)]


async def test_a_valkey_that_does_not_tell_who_may_command_it_is_not_called_safe(
    servers: Patient,
) -> None:
    url = "redis://{}:" + f"{servers.valkey.port}/0"
    async with servers.configured(requirepass="") as admin:
        await admin.acl_setuser("default", enabled=True, commands=["-config"])
        try:
            here = await servers.found(**{REDIS: url.format("127.0.0.1")})
            # A name that is not known to be this machine's.
            elsewhere = await servers.found(**{REDIS: url.format("127.1")})
        finally:
            await admin.acl_setuser("default", enabled=True, categories=["+@all"])
    assert [*named(here, Kind.UNKNOWN)] == ["redis-without-password"]
    assert [*named(elsewhere, Kind.UNSAFE)] == ["redis-open"]


@pytest.mark.parametrize("name", ["LITESTAR_DEBUG", "PYTHONASYNCIODEBUG"])
async def test_debugging_is_refused(
    servers: Patient, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    found = await servers.found()
    assert [*named(found, Kind.UNSAFE)] == ["debug"]
    assert name in named(found, Kind.UNSAFE)["debug"]


async def test_bad_missing_and_weak_secrets_are_refused_together(
    servers: Patient, tmp_path: Path
) -> None:
    weak = write_secrets(tmp_path / "weak", "ab" * 32)
    short = write_secrets(tmp_path / "short", "ab" * 31)
    missing = str(tmp_path / "missing")
    found = await servers.found(
        GATEWAY_SUBJECT_KEYS_FILE=missing, **{PEPPER: str(weak), SIGNING: str(short)}
    )
    assert sorted(one.check for one in found) == [
        *("bad-secrets", "bad-secrets", "weak-secret")
    ]
    said = " ".join(one.says for one in found)
    assert "abab" not in said
    assert all(f"GATEWAY_{word}_FILE" in said for word in ("PEPPER", "SUBJECT_KEYS"))


async def test_partitions_that_are_missing_or_passed_by_are_warned_of(
    servers: Patient,
) -> None:
    async with servers.superuser() as superuser:
        await drop_all(superuser)
        await logs.write(superuser, [logs.refusal(await now_of(superuser))])
        try:
            found = await servers.found()
        finally:
            await superuser.execute("TRUNCATE entries, batches")
            await superuser.fetchval("SELECT create_partitions(7)")
    warned = named(found, Kind.WARNING)
    assert {*warned} == {"partitions", "default-partition"}
    assert len(re.findall(r"\d{4}-\d\d-\d\d", warned["partitions"])) == 4
    assert await servers.found() == []


async def now_of(connection: Connection) -> int:
    return from_datetime(await connection.fetchval("SELECT clock_timestamp()"))


async def test_keys_that_end_soon_are_counted(servers: Patient) -> None:
    async with servers.superuser() as superuser, superuser.transaction():
        for days in (-1, 3, 9, 20):
            await make_caller(superuser, logs.PEPPERS, key_ends_in=days * DAY)
    found = await servers.found()
    async with servers.superuser() as superuser:
        await superuser.execute("TRUNCATE institutions CASCADE")
    assert [one.check for one in found] == ["keys-end"]
    assert ": 2, the first" in found[0].says


async def test_a_server_that_logs_what_was_asked_is_warned_of(
    servers: Patient,
) -> None:
    async with servers.altered(
        "ALTER SYSTEM SET log_statement = 'all'", "ALTER SYSTEM RESET log_statement"
    ):
        found = await servers.found()
    assert [one.check for one in found] == ["server-log"]
    assert "set log_statement as" in found[0].says


async def test_clocks_that_are_apart_are_warned_of(
    servers: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SimpleNamespace(time_ns=lambda: time_ns() - 90 * 10**9)
    monkeypatch.setattr(upkeep, "time", slow)
    monkeypatch.setattr(counters, "time", slow)
    found = await servers.found()
    assert [one.check for one in found] == ["clock", "clock"]
    assert all("90.0 s apart" in one.says for one in found)


async def test_a_full_disk_and_an_ending_certificate_are_warned_of(
    servers: Patient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nearly_full(_: Path) -> SimpleNamespace:
        return SimpleNamespace(total=100, free=10)

    monkeypatch.setattr(examination, "shutil", SimpleNamespace(disk_usage=nearly_full))
    gone = f"{servers.environment[AUDITOR]}&sslrootcert={tmp_path / 'gone'}"
    found = await servers.found(GATEWAY_ARCHIVE_DIR=str(tmp_path), **{AUDITOR: gone})
    assert [one.check for one in found] == ["certificate", "disk", "disk"]
    assert all(one.kind is Kind.WARNING for one in found)


async def test_what_cannot_be_examined_is_said_and_is_not_unsafe(
    servers: Patient,
) -> None:
    wrong = re.sub(r":[^:@]+@", ":s3cret@", servers.environment[HOT])
    found = await servers.found(
        **{
            HOT: wrong,
            AUDITOR: f"postgres://gateway_auditor:s3cret@{NOWHERE}/gateway",
            REDIS: f"redis://:s3cret@{NOWHERE}/0",
        }
    )
    assert [(one.kind, one.check) for one in found] == [
        (Kind.UNKNOWN, "not-examined")
    ] * 3
    for name, finding in zip((HOT, AUDITOR, REDIS), found, strict=True):
        assert name in finding.says
        assert "s3cret" not in finding.says


async def test_a_database_that_was_never_migrated_is_not_called_safe(
    servers: Patient,
) -> None:
    dsn = servers.environment[HOT].replace(f"/{DATABASE}?", "/postgres?")
    found = await servers.found(**{HOT: dsn})
    assert [(one.kind, one.check) for one in found] == [(Kind.UNKNOWN, "no-log")]


async def test_serve_does_not_start_on_what_is_unsafe_and_says_what_to_change(
    servers: Patient,
) -> None:
    async with servers.altered(*granted("DELETE ON entries", "auditor")):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "serve"),
            env={
                **servers.environment,
                "PATH": os.environ["PATH"],
                "LITESTAR_DEBUG": "1",
                REGISTRY: f"postgres://a:b@{NOWHERE}/c",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(60):
                out, err = map(bytes.decode, await process.communicate())
        finally:
            if process.returncode is None:
                # It serves, which it must not.
                process.kill()
    assert (process.returncode, out) == (78, "")
    debug, role = err.splitlines()
    assert debug.startswith("LITESTAR_DEBUG is on")
    assert role.startswith(f"{AUDITOR} logs in as a role that has DELETE on")
    assert secrets_of(servers, err) == []


async def test_the_command_tells_a_person_and_a_program(servers: Patient) -> None:
    async def doctor(*words: str, **changed: str) -> Result:
        environment = {**servers.environment, **changed}
        line = ["doctor", *words]
        return await asyncio.to_thread(CliRunner().invoke, app, line, env=environment)

    away = {REDIS: f"redis://{NOWHERE}/0"}
    async with servers.altered(*granted("DELETE ON entries", "auditor")):
        person = await doctor(**away)
        program_ = await doctor("--json", **away)
    unknown, well = await doctor(**away), await doctor()
    codes = [one.exit_code for one in (person, program_, unknown, well)]
    assert codes == [78, 78, 69, 0]
    told = json.loads(program_.stdout)
    assert told["safe"] is False
    assert [(one["kind"], one["check"]) for one in told["findings"]] == [
        *(("unsafe", "log-changer"), ("unknown", "not-examined"))
    ]
    assert person.stdout.splitlines() == [
        f"{one['kind']}: {one['says']}" for one in told["findings"]
    ]
    assert (well.stdout, well.stderr) == ("", "Nothing unsafe was found.\n")
