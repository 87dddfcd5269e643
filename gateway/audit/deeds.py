"""What is done to the log as a whole, each deed with its entry: both, or neither."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from gateway.audit.batch import SQL, BatchDigests, append
from gateway.audit.entry import Entry, batch_number
from gateway.clock import from_datetime
from gateway.postgres import Connection
from gateway.vocabulary import Actor, Operation, Outcome

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deed:
    """What is done, why (the entry's `reference`) and by whom (its `operator`)."""

    operation: Operation
    reason: str
    operator: str | None


async def do(
    connection: Connection,
    digests: BatchDigests,
    deed: Deed,
    work: Callable[[Connection], Awaitable[T]],
) -> T:
    """Does the work and enters it in the log, in one transaction.

    Args:
        connection: of the owner's role, outside any transaction.
        digests: key the batch that holds the entry.
        deed: what the entry says.
        work: whatever it raises, nothing was done.
    """
    async with connection.transaction():
        result = await work(connection)
        # A number drawn for this one batch: no worker's counter can collide with it.
        worker: int = await connection.fetchval(SQL["draw_worker_number"])
        at = from_datetime(await connection.fetchval("SELECT clock_timestamp()"))
        entry = Entry(
            at=at,
            actor=Actor.ADMIN,
            outcome=Outcome.DONE,
            address=None,
            operation=deed.operation,
            reference=deed.reason,
            operator=deed.operator,
        )
        await append(connection, batch_number(at, worker, 0), [entry], digests)
    return result
