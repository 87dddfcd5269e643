"""One DuckDB statement, in a process of its own: no lookup waits for it or pays for it.

gateway/audit/columnar.py starts it by its path, so it imports nothing of ours. Standard
input begins with eight digits and so many bytes of JSON, the task; what follows is the
statement's own, as /dev/stdin. Nothing of either is ever repeated: of an error only the
type is told, on standard error.
"""

import json
import os
import resource
from typing import Any

import duckdb
import msgspec

ROWS_AT_ONCE = 4096


def read_task() -> dict[str, Any]:
    """Not a byte more: the rest of standard input is the statement's."""
    task: dict[str, Any] = json.loads(_read(int(_read(8))))
    return task


def _read(length: int) -> bytes:
    read = b""
    while len(read) < length:
        piece = os.read(0, length - len(read))
        if not piece:
            raise EOFError
        read += piece
    return read


def connect(task: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """A database in memory that reaches the task's folder and the standard streams."""
    connection = duckdb.connect(
        config={
            "threads": 2,
            "memory_limit": task["memory"],
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    connection.execute("SET timezone = 'UTC'")
    allowed = [task["folder"]] if task["folder"] else []
    # Without such a folder nothing is put on a disk, however large a task is.
    connection.execute("SET temp_directory = ?", [task["spill"] or ""])
    connection.execute("SET allowed_directories = ?", [allowed])
    connection.execute("SET allowed_paths = ['/dev/stdin', '/dev/stdout']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def main() -> None:
    os.umask(0o077)
    os.nice(10)
    task = read_task()
    if task["cpu_seconds"]:
        # Should whoever waits for it be gone.
        seconds = task["cpu_seconds"]
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    answered = connect(task).execute(task["statement"], task["parameters"])
    if not task["rows"]:
        return
    with os.fdopen(1, "wb") as out:
        while rows := answered.fetchmany(ROWS_AT_ONCE):
            out.write(b"".join([msgspec.json.encode(row) + b"\n" for row in rows]))


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # noqa: BLE001 - the type is all that may be told
        os.write(2, type(error).__name__.encode())
        # Not an orderly exit: what is half written must not look whole.
        os._exit(1)
