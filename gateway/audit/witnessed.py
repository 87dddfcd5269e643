"""The heads that a witness has cosigned: a small SQLite file that it must never lose.

A witness without its memory would cosign a second history. Whoever deploys it keeps
this file, and restores it from no backup: a head that is older than what was
cosigned is as bad as none. If it is lost, the witness's key must be retired with it.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from gateway.audit.witness import NOTHING, Head

# How long to wait for another process that is at the same file.
PATIENCE_SECONDS: Final = 5.0
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS heads (
    origin TEXT PRIMARY KEY,
    size INTEGER NOT NULL CHECK (size >= 0),
    root BLOB NOT NULL CHECK (length(root) = 32),
    note TEXT NOT NULL
) STRICT
"""
_FIND: Final = "SELECT size, root, note FROM heads WHERE origin = ?"
_RECORD: Final = (
    "INSERT OR REPLACE INTO heads (origin, size, root, note) VALUES (?, ?, ?, ?)"
)


class WitnessedHeads:
    """The newest head of each log. Safe among threads and processes."""

    def __init__(self, path: Path) -> None:
        """Opens the file, or begins one.

        Raises:
            sqlite3.Error: it cannot be used.
        """
        self._path = path
        with self._transaction() as connection:
            connection.execute(_TABLE)

    def advance(self, origin: str, head: Head, judge: Callable[[Head], None]) -> Head:
        """Lets `judge` compare with the known head, then makes `head` the known one.

        Nobody comes between the two. When this returns the head is on disk: only then
        may a cosignature leave. A crash before leaves the head that was known; after,
        the new one, for which the log asks again.

        Returns:
            The head that was known before.

        Raises:
            sqlite3.Error: nothing was recorded, as far as this witness can tell.
            Exception: whatever `judge` raises; nothing was recorded.
        """
        with self._transaction() as connection:
            row = connection.execute(_FIND, (origin,)).fetchone()
            known = NOTHING if row is None else Head(*row)
            judge(known)
            # Anybody may hand in a head that is known: that costs no write.
            if row is None or head.size != known.size:
                connection.execute(_RECORD, (origin, *head))
        return known

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(
            sqlite3.connect(self._path, timeout=PATIENCE_SECONDS, isolation_level=None)
        ) as connection:
            # With FULL, a loss of power could bring back the rollback journal of the
            # last commit, and with it the head before.
            connection.execute("PRAGMA synchronous = EXTRA")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
