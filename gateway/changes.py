"""What an admin changes, each change with its entry: both are durable, or neither is.

Beside the entry, whose line has no room for it, is kept what was changed and what it
became, with what the entry says of why and by whom, since an admin may not read the log:
rows that are added and never altered, but not sealed.

The command line makes a change on a connection of its own. A worker has a `Keeper`,
which does one thing after another on one connection, within the time that an answer
may take.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

import asyncpg
import structlog

from gateway.audit.batch import SQL, BatchDigests, append
from gateway.audit.entry import (
    Address,
    Entry,
    KeyName,
    Place,
    access_id,
    batch_number,
)
from gateway.clock import from_datetime, to_datetime, to_text
from gateway.gathering import Gatherer, Unanswered
from gateway.partners import proposals
from gateway.partners.agreement import Agreement
from gateway.partners.documents import Document
from gateway.partners.kinds import CHANGED, Kind
from gateway.partners.proposals import Held, Tried, Wish
from gateway.postgres import SERVER_GONE, Connection, Link, queries
from gateway.problems import (
    AuditUnavailable,
    Fault,
    InvalidRequest,
    NotApproved,
    NotFound,
    Problem,
)
from gateway.settings import NumberedKeys
from gateway.vocabulary import Actor, Operation, Outcome

log = structlog.get_logger()

SHORTEST_REASON: Final = 3
LONGEST_REASON: Final = 200
# From asking to the answer, so that 503 leaves within the second promised.
PATIENCE: Final = 0.9
MOST_WAITING: Final = 100
MOST_CHANGES: Final = 100
_COUNTERS: Final = 1024
_WHY_AND_WHO: Final = ("reference", "key", "operator", "proposal", "approved_by")
_PARTNERS_SQL: Final = queries("gateway.partners")
# After these an entry is not known to be durable; those of the second are our fault.
_NOT_DURABLE: Final = (*SERVER_GONE, asyncpg.PostgresError)
_OURS: Final = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)


class Kept(Protocol):
    """Something kept, or just made, that has an id."""

    @property
    def id(self) -> int | str: ...


T = TypeVar("T")
N = TypeVar("N", bound=int | str | Kept)
Work = Callable[[Connection], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class Change:
    """What is done, why (the entry's `reference`) and by whom.

    `operator` is a login name of the command line; `key` and `address` are those of
    a call.
    """

    operation: Operation
    reason: str | None
    operator: str | None = None
    key: KeyName | None = None
    address: Address | None = None


@dataclass(frozen=True, slots=True)
class Made(Generic[T]):
    """A change that is durable: what the work gave, and the name of its entry."""

    result: T
    access_id: str


class Pen:
    """Writes entries one by one, each a batch of its own.

    It draws a worker's number, once, so that its batches collide with nobody's.
    """

    def __init__(self, peppers: NumberedKeys) -> None:
        self._digests = BatchDigests(peppers)
        self._worker: int | None = None
        self._counter = 0

    async def enter(
        self,
        connection: Connection,
        change: Change,
        changed: int | str,
        became: Document,
        proposal: int | None,
    ) -> str:
        """Enters a change that was made of the thing with this id, and on which proposal.

        Durable when its transaction is. Gives the access_id.
        """
        if self._worker is None:
            self._worker = int(await connection.fetchval(SQL["draw_worker_number"]))
        at = from_datetime(await connection.fetchval("SELECT clock_timestamp()"))
        self._counter = (self._counter + 1) % _COUNTERS
        batch = batch_number(at, self._worker, self._counter)
        entry = Entry(
            at=at,
            actor=Actor.ADMIN,
            outcome=Outcome.DONE,
            address=change.address,
            operation=change.operation,
            key=change.key,
            reference=change.reason,
            operator=change.operator,
        )
        (name,) = await append(connection, batch, [entry], self._digests)
        await connection.execute(
            *(_PARTNERS_SQL["insert_change"], batch, to_datetime(at)),
            *(change.operation, str(changed), json.dumps(became)),
            change.reason,
            None if change.key is None else change.key.number,
            change.operator,
            proposal,
        )
        return name


async def make(
    connection: Connection,
    pen: Pen,
    change: Change,
    work: Work[N],
    faults: Sequence[Fault] = (),
    *,
    wish: Wish | None = None,
) -> Made[N]:
    """Does the work and enters it in the log, in one transaction.

    Args:
        connection: of the admin's role, outside any transaction.
        pen: writes the entry.
        change: what the entry says.
        work: changes what is kept, as a function of gateway.partners.keeping does;
            gives what it changed, or the id.
        faults: what is wrong already. The work is tried even so, that all which is
            wrong be said at once; with any fault nothing is ever committed.
        wish: what is asked for and by whom, where a second admin may be needed.

    Raises:
        InvalidRequest: with `faults` and those of the work.
        NotFound: what was to be changed is not there.
        NotApproved: it waits for a second admin, and nothing else was kept.
    """

    async def judged() -> tuple[list[Agreement], N]:
        basis = await proposals.basis_of(connection, wish) if wish else []
        return basis, await work(connection)

    try:
        async with _transaction(connection):
            basis, result = await _try(judged(), faults)
            changed = result if isinstance(result, int | str) else result.id
            kind = CHANGED[change.operation]
            (became,) = await kind.find(connection, only=changed)
            told, proposal = kind.tell(became), None
            if wish is not None:
                tried = Tried(wish, basis, became, told)
                proposal = await proposals.approval(connection, tried)
            name = await pen.enter(connection, change, changed, told, proposal)
    except Held as held:
        await proposals.file(connection, held)
        raise NotApproved(str(held)) from None
    return Made(result, name)


async def changes_of(
    connection: Connection, kind: Kind[Any], changed: int | str
) -> list[Document]:
    """The last changes of a thing of this kind, newest first: what it became by each.

    `reference`, `key` and `operator` are those of the change's entry; where a second
    admin approved it, `proposal` and `approved_by` tell what and who.
    """
    rows = await connection.fetch(
        _PARTNERS_SQL["changes_of"], kind.changed, str(changed), MOST_CHANGES
    )
    return [
        {
            "access_id": access_id(Place(row["batch"], 0)),
            "at": to_text(from_datetime(row["at"])),
            "operation": Operation.numbered(row["operation"]).word,
            **{name: row[name] for name in _WHY_AND_WHO},
            "became": json.loads(row["became"]),
        }
        for row in rows
    ]


@asynccontextmanager
async def _transaction(connection: Connection) -> AsyncIterator[None]:
    """All or nothing. If its task is cancelled, whoever lent the connection ends it.

    asyncpg's own then waits for a rollback, and a server that hangs never answers.
    """
    await connection.execute("BEGIN")
    try:
        yield
    except Exception:
        await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")


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


class Keeper:
    """A worker's way to what an admin keeps: one connection, one thing at a time.

    `above` is how many units a day one admin may agree upon; None: one is enough for all.

    Raises, from both methods:
        AuditUnavailable: within a second. A change whose COMMIT was under way may
            have been made, with its entry; else nothing is changed.
        Problem: whatever the work raises.
    """

    def __init__(
        self,
        link: Link,
        *,
        peppers: NumberedKeys,
        tasks: asyncio.TaskGroup,
        above: int | None = None,
    ) -> None:
        self.peppers = peppers
        self.above = above
        self._link = link
        self._pen = Pen(peppers)
        self._turns = Gatherer[Work[None], Problem | None](
            self._do,
            stage="changes",
            tasks=tasks,
            most=1,
            capacity=MOST_WAITING,
            patience=PATIENCE,
        )

    async def lend(self, work: Work[T]) -> T:
        """Does some work on the connection, when its turn comes."""
        given: list[T] = []

        async def turn(connection: Connection) -> None:
            given.append(await work(connection))

        # Through cancellation, so that a change and its entry are never of two minds.
        try:
            problem = await self._turns.ask(turn)
        except Unanswered as unanswered:
            cause = unanswered.__cause__
            if cause is not None and not _means_not_durable(cause):
                raise cause from None
            error = None if cause is None else type(cause).__name__
            log.warning("keeping_failed", error=error)
            raise AuditUnavailable(fate_unknown=unanswered.sent) from None
        if problem is not None:
            raise problem
        return given[0]

    async def change(
        self,
        change: Change,
        work: Work[N],
        faults: Sequence[Fault] = (),
        wish: Wish | None = None,
    ) -> Made[N]:
        """Makes a change; see `make`."""
        return await self.lend(
            lambda connection: make(
                connection, self._pen, change, work, faults, wish=wish
            )
        )

    async def _do(self, turns: list[Work[None]]) -> list[Problem | None]:
        (turn,) = turns
        async with self._link.connection() as connection:
            try:
                await turn(connection)
            except Problem as problem:
                # Given back: raised here, it would cost the connection.
                return [problem]
        return [None]


def _means_not_durable(error: BaseException) -> bool:
    return isinstance(error, _NOT_DURABLE) and not isinstance(error, _OURS)
