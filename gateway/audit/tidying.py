"""Makes days that are over small and cheap to keep: full indexes, frozen rows.

Entries come in no order of subjects or institutions, which leaves a B-tree a third
empty; once no entry can come any more it is built anew, and full. All of it goes on
beside readers and the day's archiving; a crash leaves the old index in use, and at most
a part of a new one, which the next run removes.
"""

from collections.abc import AsyncIterator
from typing import Final

from gateway.audit.batch import SQL
from gateway.postgres import Connection

DONE: Final = "tidied"


async def tidy(owner: Connection) -> AsyncIterator[str]:
    """Tidies the days that ended over an hour ago; tells each partition once it is.

    Args:
        owner: the role that owns the log, outside any transaction and with no limit on
            a statement's time.
    """
    for row in await owner.fetch(SQL["untidied"], DONE):
        partition: str = row["partition"]
        await _rebuild(owner, partition)
        # An entry's row is never changed: it need not be looked at for wraparound again.
        await owner.execute(f"VACUUM (FREEZE, ANALYZE) {partition}")
        await owner.execute(f"COMMENT ON TABLE {partition} IS '{DONE}'")
        yield partition


async def _rebuild(owner: Connection, partition: str) -> None:
    for row in await owner.fetch(SQL["btrees_of"], partition):
        if row["abandoned"]:
            await owner.execute(f"DROP INDEX CONCURRENTLY {row['index']}")
        else:
            await owner.execute(f"ALTER INDEX {row['index']} SET (fillfactor = 100)")
            await owner.execute(f"REINDEX INDEX CONCURRENTLY {row['index']}")
