"""A batch: the entries of one flush, written by one statement, or a few if they are many."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from gateway.audit.entry import Entry, Place, leaf_hash, line, named_in
from gateway.audit.rows import write_entry
from gateway.keyed import Keyed
from gateway.postgres import Connection, queries
from gateway.settings import NumberedKeys

SQL = queries("gateway.audit")
# More rows at once would keep the loop from others for too long: five microseconds each.
MOST_A_STATEMENT = 250
# One with fewer counts as so many: its way there and back takes time as well.
LEAST_A_STATEMENT = 50


class BatchDigests:
    """Keyed digests over a batch's leaves, so that the sealer finds altered rows."""

    def __init__(self, peppers: NumberedKeys) -> None:
        self.number = peppers.newest
        self._keys = {
            number: Keyed(Keyed(pepper).digest(b"batch digest"))
            for number, pepper in peppers.by_number.items()
        }

    def digest(self, leaves: Sequence[bytes], number: int) -> bytes:
        """HMAC-SHA-256 over the leaf hashes in their order."""
        return self._keys[number].digest(b"".join(leaves))


class Made(NamedTuple):
    """What a batch takes of an entry: its name, its leaf hash and its row."""

    name: str
    leaf: bytes
    row: tuple[object, ...]


class Prepared(NamedTuple):
    """A batch that is to be written: by one statement, or by several of one transaction."""

    names: list[str]
    statements: list[tuple[Any, ...]]

    @property
    def weight(self) -> int:
        """How much work it is to write it, in entries."""
        return max(len(self.names), LEAST_A_STATEMENT * len(self.statements))


def make(entry: Entry, place: Place) -> Made:
    written = line(entry, place)
    row = (place.position, *write_entry(entry))
    return Made(named_in(written), leaf_hash(written), row)


def prepare(
    batch: int, entries: Sequence[Entry], made: Sequence[Made], digests: BatchDigests
) -> Prepared:
    """The statements that write a batch, and the names of its entries.

    What answered an idempotency key for the first time is remembered with it.
    """
    names, leaves, rows = zip(*made, strict=True)
    remembered = [
        (position, entry.attempt.institution, *known)
        for position, entry in enumerate(entries)
        if entry.attempt is not None and entry.charged
        for known in entry.attempt.digests
    ]
    # Two, so that a flush without idempotency keys pays nothing for them.
    query = SQL["append_remembering" if remembered else "append"]
    head = (batch, len(entries), digests.digest(leaves, digests.number), digests.number)
    first = (query, *head, rows[:MOST_A_STATEMENT], *zip(*remembered, strict=True))
    further = [
        (SQL["append_further"], batch, rows[begins : begins + MOST_A_STATEMENT])
        for begins in range(MOST_A_STATEMENT, len(rows), MOST_A_STATEMENT)
    ]
    return Prepared(list(names), [first, *further])


def prepare_now(
    batch: int, entries: Sequence[Entry], digests: BatchDigests
) -> Prepared:
    """The same, of entries that are few."""
    made = [make(entry, Place(batch, number)) for number, entry in enumerate(entries)]
    return prepare(batch, entries, made, digests)


async def append(
    connection: Connection, batch: int, entries: Sequence[Entry], digests: BatchDigests
) -> list[str]:
    """Writes one batch; durable when the statement's transaction is. Gives the ids.

    Raises:
        RuntimeError: there are over MOST_A_STATEMENT entries, and no transaction that
            keeps them together.
    """
    names, statements = prepare_now(batch, entries, digests)
    if len(statements) > 1 and not connection.is_in_transaction():
        msg = "so many entries take several statements, and those a transaction"
        raise RuntimeError(msg)
    for statement in statements:
        await connection.execute(*statement)
    return names
