"""What an institution does with its jobs: hands them in, asks after them, takes them back.

The units of all items are reserved when a job is handed in, or it is refused; what becomes
of them is said in docs/decisions/0030-jobs.md.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import asyncpg

from gateway.audit.entry import batch_name, field_bits
from gateway.batching import OPERATIONS, Item
from gateway.calls import Call, Question
from gateway.clock import to_datetime
from gateway.gathering import to_its_end, within
from gateway.jobs.ending import End, end
from gateway.jobs.job import (
    ALIVE_SECONDS,
    KEPT_SECONDS,
    MOST_AT_ONCE,
    MOST_ITEMS,
    Job,
    job_id,
)
from gateway.jobs.store import ANSWER_SECONDS, Overtaken, Store
from gateway.jobs.vault import Answered, Vault
from gateway.lookup import Lookups
from gateway.partners.agreement import Agreement, applicable, permit
from gateway.partners.directory import Institution, Key
from gateway.problems import (
    AgreementInactive,
    AuditUnavailable,
    Fault,
    InvalidRequest,
    NotFound,
    NotGranted,
    QuotaExceeded,
)
from gateway.tasks import keep_running
from gateway.vocabulary import Outcome

# Told one by one; of the others how many there are.
MOST_FAULTS: Final = 100
_RETRY_SECONDS: Final = 60


@dataclass(slots=True)
class Upload:
    """What is handed in: `slices` reads it, and adds to `faults` what is wrong.

    `operation` and `purpose` are None where the query does not say them well.
    """

    operation: str | None
    purpose: str | None
    slices: AsyncIterator[Sequence[Item]]
    faults: list[Fault] = field(default_factory=list)
    items: int = 0
    fields: set[str] = field(default_factory=set)


@dataclass(slots=True, frozen=True)
class Jobs:
    """Each method is one call, whole."""

    lookups: Lookups
    store: Store
    vault: Vault
    tasks: asyncio.TaskGroup

    async def submit(self, call: Call[Upload]) -> Job:
        """The job, accepted: all its units are reserved.

        Raises:
            QuotaExceeded: by a limit, or by "jobs": four are under way.
        """
        held = self.lookups
        async with held.accounted(call):
            key, institution = held.caller(call)
            upload = await call.read()
            job = UUID(batch_name(held.clock.now()))
            try:
                may = self._may(institution, upload)
                keep = may and await self._begin(call, job, upload)
                with self._alive(job):
                    await self._receive(call, job, upload, keep=keep)
                agreement = await self._granted((institution, key), upload)
                _check_kept(may=may, keep=keep)
                await held.admit(call, key, agreement, units=upload.items)
                return await to_its_end(self.tasks, self._accept(call, job, upload))
            except BaseException as error:
                # Of what was accepted, though nobody could tell, nothing is dropped; and a
                # log that does not answer is not waited for once more.
                silent = isinstance(error, AuditUnavailable)
                await self._drop(job, 0.0 if silent else ANSWER_SECONDS)
                raise

    async def _granted(
        self, caller: tuple[Institution, Key], upload: Upload
    ) -> Agreement:
        operation, purpose = upload.operation, upload.purpose
        if upload.faults or operation is None or purpose is None:
            raise InvalidRequest(upload.faults)
        agreement, _ = await self.lookups.granted(
            caller, purpose, operations=("batch", operation), fields=upload.fields
        )
        return agreement

    async def _drop(self, job: UUID, seconds: float) -> None:
        """Soon, or about an hour after it was last received."""
        with suppress(AuditUnavailable):
            await self._ask("drop_received", job, seconds=seconds)

    def _may(self, institution: Institution, upload: Upload) -> bool:
        """Whether any such job would be taken: of others nothing need be kept.

        They are read all the same: what is wrong with a body is told first.
        """
        if upload.faults:
            return False
        now = self.lookups.clock.now()
        try:
            permit(
                applicable(institution.agreements, now),
                at=now,
                purpose=str(upload.purpose),
                operations=("batch", str(upload.operation)),
                fields=(),
            )
        except (AgreementInactive, NotGranted):
            return False
        return True

    async def _begin(self, call: Call[Upload], job: UUID, upload: Upload) -> bool:
        """False where as many are under way as may be."""
        access = call.access
        begun = await self._ask(
            *("begin", job, access.institution, access.key and access.key.number),
            *(access.address, OPERATIONS[str(upload.operation)], upload.purpose),
            *(self.vault.newest, "receiving", ALIVE_SECONDS, MOST_AT_ONCE),
        )
        return bool(begun)

    @contextmanager
    def _alive(self, job: UUID) -> Iterator[None]:
        """Says again and again that its upload goes on, which may take hours."""

        async def say() -> None:
            await self.store.fetch("still_receiving", job, ALIVE_SECONDS)

        saying = keep_running("job_uploads", say, pause=ALIVE_SECONDS / 3)
        task = self.tasks.create_task(saying)
        try:
            yield
        finally:
            task.cancel()

    async def _receive(
        self, call: Call[Upload], job: UUID, upload: Upload, *, keep: bool
    ) -> None:
        """Keeps the items as they come in, as long as nothing is wrong with them."""
        access, box = call.access, self.vault.box(job, self.vault.newest)
        access.purpose = self.lookups.purpose_of(upload.purpose)
        async for items in upload.slices:
            if keep and not upload.faults:
                first, names = upload.items, box.names(items)
                sealed = box.seal_items(first, items)
                await self.store.fetch("keep_items", job, first, names, sealed)
            upload.items += len(items)
            upload.fields.update(name for item in items for name in item.fields)
            access.count = max(1, upload.items)
        if keep and not upload.faults:
            twice = await self.store.fetch("twice", job, MOST_FAULTS)
            upload.faults += [
                Fault(f"/{row['place']}/id", "given to an item before") for row in twice
            ]
        if not upload.items and not upload.faults:
            upload.faults.append(Fault("", f"want 1 to {MOST_ITEMS:,} lines"))

    async def _accept(self, call: Call[Upload], job: UUID, upload: Upload) -> Job:
        """Its reservation and the entry that tells of it: both are durable, or neither."""
        access, at = call.access, call.decision.at if call.decision else 0
        fields = field_bits(tuple(upload.fields))
        access.outcome, access.reference, access.count = Outcome.DONE, str(job), 1
        access.fields = fields
        async with self.store.transaction() as change:
            row = await change.change(
                "accept", job, fields, upload.items, to_datetime(at)
            )
            (access_id,) = await change.enter([access.entry(at)])
        access.access_id = access_id
        return Job.from_row(row)

    async def find(
        self, call: Call[Question], name: str, *, to_be_told: bool = False
    ) -> Job:
        """How far it is. If its answers are `to_be_told`, there are some or there may be.

        Raises:
            NotFound: no such job, or it is another institution's; or it is cancelled, and
                its answers were to be told.
        """
        async with self.lookups.accounted(call):
            account = await self.lookups.of_its_own(call)
            job = await self._of(account.institution.id, name)
            if to_be_told and job.status == "cancelled":
                raise NotFound
            call.access.reference, call.access.outcome = str(job.id), Outcome.DONE
            return job

    async def cancel(self, call: Call[Question], name: str) -> None:
        """Nothing more is answered or told; what is kept is deleted within a minute.

        Raises:
            NotFound: no such job, or it is another institution's, or it is over.
        """
        async with self.lookups.accounted(call):
            account = await self.lookups.of_its_own(call)
            job = await self._of(account.institution.id, name)
            access = call.access
            access.reference, access.outcome = str(job.id), Outcome.DONE
            generation = account.decision.generation
            entry = access.entry(account.decision.at)
            try:
                what = End(job, "cancelled", None, entry, generation)
                ending = end(self.store, self.lookups.limiter, what)
                access.access_id, then = await to_its_end(self.tasks, ending)
            except Overtaken:
                access.outcome = None
                raise NotFound from None
            if then is not None:
                call.decision = account.decision._replace(state=then.state)

    async def answers(self, job: Job) -> AsyncIterator[list[Answered]]:
        """What its items were answered, in their order, some at a time."""
        box, place = self.vault.box(job.id, job.secret), 0
        while place < job.answered:
            rows = await self.store.fetch("answers", job.id, place)
            if not rows or job.status == "cancelled":
                raise Overtaken
            (row,) = rows
            answers = box.answers(row["first"], row["sealed"])
            yield answers
            place = row["first"] + len(answers)

    async def _ask(
        self, query: str, *values: Any, seconds: float = ANSWER_SECONDS
    ) -> list[asyncpg.Record]:
        """What the store gives to a caller who waits."""
        asking = self.store.fetch(query, *values)
        try:
            return await within(seconds, self.tasks, asking)
        except TimeoutError as error:
            raise AuditUnavailable(fate_unknown=False) from error

    async def _of(self, institution: int, name: str) -> Job:
        number = job_id(name)
        rows = number and await self._ask("find", number, institution)
        if not rows:
            raise NotFound
        return Job.from_row(rows[0])


def _check_kept(*, may: bool, keep: bool) -> None:
    if not may:
        # Its agreement has begun since.
        raise AgreementInactive
    if not keep:
        raise QuotaExceeded(("jobs",), _RETRY_SECONDS)


def expires_at(job: Job) -> int | None:
    """From when nothing of it is kept: known once it is over."""
    return None if job.over_at is None else job.over_at + KEPT_SECONDS * 1_000_000
