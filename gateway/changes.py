"""What an admin changes, each change with its entry: both are durable, or neither is."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from gateway.audit.batch import SQL, BatchDigests, append
from gateway.audit.entry import Entry, batch_number
from gateway.clock import from_datetime
from gateway.postgres import Connection
from gateway.problems import Fault, InvalidRequest, NotFound
from gateway.vocabulary import Actor, Operation, Outcome

SHORTEST_REASON: Final = 3
LONGEST_REASON: Final = 200

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change:
    """What is done, why (the entry's `reference`) and by whom (its `operator`)."""

    operation: Operation
    reason: str | None
    operator: str | None


@dataclass(frozen=True, slots=True)
class Made(Generic[T]):
    """A change that is durable: what the work gave, and the name of its entry."""

    result: T
    access_id: str


async def make(
    connection: Connection,
    digests: BatchDigests,
    change: Change,
    work: Callable[[Connection], Awaitable[T]],
    faults: Sequence[Fault] = (),
) -> Made[T]:
    """Does the work and enters it in the log, in one transaction.

    Args:
        connection: of the admin's role, outside any transaction.
        digests: key the batch that holds the entry.
        change: what the entry says.
        work: changes what partners keep; a function of gateway.partners.keeping.
        faults: what is wrong already. The work is tried even so, that all which is
            wrong be said at once; with any fault nothing is ever committed.

    Raises:
        InvalidRequest: with `faults` and those of the work.
        NotFound: what was to be changed is not there.
    """
    async with connection.transaction():
        result = await _try(work(connection), faults)
        access_id = await _enter(connection, digests, change)
    return Made(result, access_id)


async def _try(work: Awaitable[T], faults: Sequence[Fault]) -> T:
    found = list(faults)
    try:
        result = await work
    except InvalidRequest as refusal:
        found += refusal.faults
        raise InvalidRequest(found) from None
    except NotFound:
        if not found:
            raise
        raise InvalidRequest(found) from None
    if found:
        raise InvalidRequest(found)
    return result


async def _enter(connection: Connection, digests: BatchDigests, change: Change) -> str:
    # A number drawn for this one batch: no worker's counter can collide with it.
    worker: int = await connection.fetchval(SQL["draw_worker_number"])
    at = from_datetime(await connection.fetchval("SELECT clock_timestamp()"))
    entry = Entry(
        at=at,
        actor=Actor.ADMIN,
        outcome=Outcome.DONE,
        address=None,
        operation=change.operation,
        reference=change.reason,
        operator=change.operator,
    )
    (access_id,) = await append(
        connection, batch_number(at, worker, 0), [entry], digests
    )
    return access_id
