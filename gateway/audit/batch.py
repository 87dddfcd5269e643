"""A batch: the entries of one flush, written by one statement, or a few if they are many."""

import hmac
from collections.abc import Sequence
from hashlib import sha256

from gateway.audit.entry import Entry, Place, leaf_hash, line, named_in
from gateway.audit.rows import write_entry
from gateway.leisure import at_leisure
from gateway.postgres import Connection, queries
from gateway.settings import NumberedKeys

SQL = queries("gateway.audit")
# More rows at once would keep the loop from others for too long: ten microseconds each.
MOST_A_STATEMENT = 250


class BatchDigests:
    """Keyed digests over a batch's leaves, so that the sealer finds altered rows."""

    def __init__(self, peppers: NumberedKeys) -> None:
        self.number = peppers.newest
        self._keys = {
            number: hmac.digest(pepper, b"batch digest", sha256)
            for number, pepper in peppers.by_number.items()
        }

    def digest(self, leaves: Sequence[bytes], number: int) -> bytes:
        """HMAC-SHA-256 over the leaf hashes in their order."""
        return hmac.digest(self._keys[number], b"".join(leaves), sha256)


async def append(
    connection: Connection, batch: int, entries: Sequence[Entry], digests: BatchDigests
) -> list[str]:
    """Writes one batch; durable when the statement's transaction is. Gives the ids.

    What answered an idempotency key for the first time is remembered with it.

    Raises:
        RuntimeError: there are over MOST_A_STATEMENT entries, and no transaction that
            keeps them together.
    """
    if len(entries) > MOST_A_STATEMENT and not connection.is_in_transaction():
        msg = "so many entries take several statements, and those a transaction"
        raise RuntimeError(msg)
    names, leaves, rows = zip(
        *await at_leisure(
            _made(entry, Place(batch, position))
            for position, entry in enumerate(entries)
        ),
        strict=True,
    )
    remembered = [
        (position, entry.attempt.institution, *known)
        for position, entry in enumerate(entries)
        if entry.attempt is not None and entry.charged
        for known in entry.attempt.digests
    ]
    # Two, so that a flush without idempotency keys pays nothing for them.
    query = SQL["append_remembering" if remembered else "append"]
    digest = digests.digest(leaves, digests.number)
    sealed_as = (batch, len(entries), digest, digests.number)
    columns = zip(*rows[:MOST_A_STATEMENT], strict=True)
    await connection.execute(
        query, *sealed_as, *columns, *zip(*remembered, strict=True)
    )
    for begins in range(MOST_A_STATEMENT, len(rows), MOST_A_STATEMENT):
        columns = zip(*rows[begins : begins + MOST_A_STATEMENT], strict=True)
        await connection.execute(SQL["append_further"], batch, *columns)
    return list(names)


def _made(entry: Entry, place: Place) -> tuple[str, bytes, tuple[object, ...]]:
    """Its name, its leaf hash and its row."""
    written = line(entry, place)
    row = (place.position, *write_entry(entry))
    return named_in(written), leaf_hash(written), row
