"""A batch: the entries of one flush, written by one statement."""

import hmac
from collections.abc import Sequence
from hashlib import sha256

from gateway.audit.entry import Entry, Place, access_id, leaf_hash, line
from gateway.audit.rows import write_entry
from gateway.postgres import Connection, queries
from gateway.settings import NumberedKeys

SQL = queries("gateway.audit")


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
    """
    places = [Place(batch, position) for position in range(len(entries))]
    leaves = [
        leaf_hash(line(entry, place))
        for entry, place in zip(entries, places, strict=True)
    ]
    rows = [
        (place.position, *write_entry(entry))
        for place, entry in zip(places, entries, strict=True)
    ]
    remembered = [
        (place.position, entry.attempt.institution, *known)
        for place, entry in zip(places, entries, strict=True)
        if entry.attempt is not None and entry.charged
        for known in entry.attempt.digests
    ]
    await connection.execute(
        # Two, so that a flush without idempotency keys pays nothing for them.
        SQL["append_remembering" if remembered else "append"],
        batch,
        len(entries),
        digests.digest(leaves, digests.number),
        digests.number,
        *zip(*rows, strict=True),
        *zip(*remembered, strict=True),
    )
    return [access_id(place) for place in places]
