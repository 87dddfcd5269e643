"""Answers jobs bit by bit, beside the calls: at most half of the rate, and half of the time.

Each bit is an admission of its items' rate, one question to the registry and one transaction:
the entries of its items, their answers, and how far the job is. So whoever takes over from a
worker that died finds the job as it was before a bit or after it, and nothing in between.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Final
from uuid import uuid4

import structlog

from gateway.audit.access import Access
from gateway.audit.entry import Entry, KeyName
from gateway.audit.subject import Subject
from gateway.batching import Answer, Item, answer_item, sights_of, subjects_of
from gateway.clock import SECOND, to_datetime
from gateway.harvesting import HARVESTING, held_to, step_of
from gateway.jobs.ending import End, end, forget, return_units
from gateway.jobs.job import LONGEST_SECONDS, SLICE, Job
from gateway.jobs.store import Overtaken, Store
from gateway.jobs.vault import Answered, Vault
from gateway.lookup import Lookups
from gateway.partners.agreement import Agreement, Grant, applicable, permit
from gateway.partners.directory import Institution, Key
from gateway.problems import (
    AbnormalUsage,
    AgreementInactive,
    AuditUnavailable,
    Failure,
    QuotaExceeded,
    ReducedCapacity,
    Refusal,
    Unauthenticated,
)
from gateway.quota.limit import Decision, day_end, month_end
from gateway.registry.resident import Resident
from gateway.vocabulary import Actor, Limits, Outcome, Reason, Step

IDLE_SECONDS: Final = 0.5
# Longer than a bit may take: registry, transaction and admission have deadlines.
LEASE_SECONDS: Final = 10
FAILED_SECONDS: Final = 2.0
FORGET_SECONDS: Final = 60.0
# Of a rate, what a job leaves to the institution's own calls.
SHARE: Final = 2
# Month units are not asked for twice: those of the day before are returned at once.
_ANY: Final = 2**40
log = structlog.get_logger()


class JobWorker:
    """One worker's part in the jobs of all."""

    def __init__(self, lookups: Lookups, store: Store, vault: Vault) -> None:
        self._held = lookups
        self._store = store
        self._vault = vault
        self._forgotten_at = 0.0

    async def watch(self) -> None:
        """For ever: takes the job that has waited longest, and answers a bit of it."""
        while True:
            await self._forget()
            began = time.monotonic()
            lease = uuid4()
            rows = await self._store.fetch("take", lease, LEASE_SECONDS)
            if not rows:
                await asyncio.sleep(IDLE_SECONDS)
                continue
            job = Job.from_row(rows[0])
            wait = await self._advance(job)
            await self._store.fetch("leave", job.id, lease, wait)
            # As long as it worked, the calls have this worker to themselves.
            await asyncio.sleep(time.monotonic() - began)

    async def _forget(self) -> None:
        if time.monotonic() >= self._forgotten_at + FORGET_SECONDS:
            self._forgotten_at = time.monotonic()
            await forget(self._store)

    async def _advance(self, job: Job) -> float:
        """Seconds after which there is to be more of it."""
        if self._held.clock.now() - job.created_at > LONGEST_SECONDS * SECOND:
            await self._fail(job, Reason.TEMPORARY_REDUCED_CAPACITY)
            return 0.0
        try:
            key, agreement, grant = self._permitted(job)
            return await self._answer(job, key, agreement, grant)
        except Overtaken:
            return 0.0
        except (Failure, TimeoutError) as failure:
            log.warning("job_waits", job=str(job.id), error=type(failure).__name__)
            return FAILED_SECONDS
        except Refusal as refusal:
            await self._fail(job, refusal.reason)
            return 0.0

    def _permitted(self, job: Job) -> tuple[Key, Agreement, Grant]:
        """As a call would be, at this instant."""
        directory, now = self._held.directory, self._held.clock.now()
        directory.check_fresh()
        try:
            key = directory.key_of(job.key)
        except KeyError:
            raise Unauthenticated(job.key) from None
        if key.revoked or (key.not_after is not None and now >= key.not_after):
            raise Unauthenticated(job.key)
        institution = directory.institution(job.institution)
        agreement = applicable(institution.agreements, now) if institution else None
        operations = ("batch", job.word)
        grant = permit(
            *(agreement,),
            at=now,
            purpose=job.purpose,
            operations=operations,
            fields=job.fields,
        )
        if agreement is None:
            raise AgreementInactive
        return key, agreement, grant

    async def _answer(
        self, job: Job, key: Key, agreement: Agreement, grant: Grant
    ) -> float:
        institution, limits = self._held_to(job, agreement)
        items = (await self._items(job))[: max(1, min(SLICE, limits.burst // SHARE))]
        harvesting, limiter = self._held.harvesting, self._held.limiter
        subjects = await subjects_of(self._held, items)
        sights = await sights_of(self._held, items, subjects)
        decision = await limiter.admit(
            *(job.institution, key.number, limits),
            rate_cost=len(items),
            quota_cost=0,
            shadow=agreement.shadow,
            watch=harvesting.watch(institution, sights),
        )
        if not decision.admitted:
            return float(decision.retry_after)
        whole = self._access(job, key, decision.at)
        try:
            harvesting.check(institution, whole, decision)
            residents = await self._held.residents.find_all([one.nik for one in items])
            found = [one is not None for one in residents]
            harvesting.learn(institution, whole, decision, sights, found)
            job = await self._in_this_day(job, key, agreement, decision.at)
            asked = zip(items, subjects, residents, strict=True)
            await self._write(job, whole, asked, grant)
        except BaseException as error:
            if not (isinstance(error, AuditUnavailable) and error.fate_unknown):
                await limiter.give_back(job.institution, decision)
            raise
        return SHARE * len(items) / limits.rate

    def _held_to(self, job: Job, agreement: Agreement) -> tuple[Institution, Limits]:
        """The institution and its limits now.

        Raises:
            AbnormalUsage: it is stopped.
        """
        now = self._held.clock.now()
        institution = self._held.directory.institution(job.institution)
        if institution is None:
            raise ReducedCapacity
        if step_of(institution, now) is Step.STOP:
            raise AbnormalUsage(HARVESTING)
        return institution, held_to(institution, agreement.limits, now)

    async def _items(self, job: Job) -> list[Item]:
        rows = await self._store.fetch("items", job.id, job.answered)
        if not rows:
            raise Overtaken
        (row,) = rows
        box = self._vault.box(job.id, job.secret)
        return box.items(row["first"], row["sealed"])[job.answered - row["first"] :]

    def _access(self, job: Job, key: Key, at: int) -> Access:
        return Access(
            job.operation,
            job.address,
            actor=Actor.INSTITUTION,
            institution=job.institution,
            key=KeyName(key.number, key.id),
            purpose=self._held.purpose_of(job.purpose),
            at=at,
        )

    async def _write(
        self,
        job: Job,
        whole: Access,
        asked: Iterable[tuple[Item, Subject, Resident | None]],
        grant: Grant,
    ) -> None:
        whole.reference = str(job.id)
        similarity = grant.name_similarity
        answers = [
            answer_item(whole, item, subject, resident, similarity)
            for item, subject, resident in asked
        ]
        entries = [answer.access.entry(whole.at or 0) for answer in answers]
        box, first = self._vault.box(job.id, job.secret), job.answered
        async with self._store.transaction() as change:
            counts = (job.lease, first, len(answers))
            row = await change.change("advance", job.id, *counts)
            access_ids = await change.enter(entries)
            told = [
                _told(answer, access_id)
                for answer, access_id in zip(answers, access_ids, strict=True)
            ]
            sealed = box.seal_answers(first, told)
            await change.execute("keep_answers", job.id, first, sealed)
            # A slice at a time: all of a million items' would take longer than this may.
            await change.execute("drop_answered_items", job.id, first + len(answers))
            if row["status"] == "done":
                await change.execute("drop_items", job.id, 1)

    async def _in_this_day(
        self, job: Job, key: Key, agreement: Agreement, now: int
    ) -> Job:
        """The job, with its units reserved in the day of `now`.

        Raises:
            QuotaExceeded: that day, or its month, does not have so many.
        """
        if now < day_end(job.reserved_at):
            return job
        same_month = now < month_end(job.reserved_at)
        limits = agreement.limits
        if same_month:
            limits = limits._replace(month=_ANY)
        anew = await self._held.limiter.admit(
            *(job.institution, key.number, limits),
            rate_cost=0,
            quota_cost=job.reserved,
            shadow=agreement.shadow,
        )
        if {"day", "month"} & set(anew.violated):
            raise QuotaExceeded(anew.violated, anew.retry_after)
        if not anew.admitted:
            raise ReducedCapacity("its key is refused for the rest of the minute")
        await self._move(job, anew)
        # After it is durable: until then too much is counted, and never too little.
        await return_units(self._held.limiter, job, anew.generation)
        return await self._again(job)

    async def _move(self, job: Job, anew: Decision) -> None:
        try:
            async with self._store.transaction() as change:
                at = to_datetime(anew.at)
                await change.change("reserve_anew", job.id, job.lease, at)
        except (Overtaken, AuditUnavailable) as error:
            # Or each try would reserve them once more.
            if isinstance(error, Overtaken) or not error.fate_unknown:
                await self._held.limiter.give_back(job.institution, anew)
            raise

    async def _again(self, job: Job) -> Job:
        rows = await self._store.fetch("find", job.id, job.institution)
        if not rows or rows[0]["lease"] != job.lease:
            raise Overtaken
        return Job.from_row(rows[0])

    async def _fail(self, job: Job, reason: Reason) -> None:
        """The rest is refused, as one entry that counts for all of it."""
        now = self._held.clock.now()
        entry = Entry(
            at=now,
            actor=Actor.INSTITUTION,
            outcome=Outcome.REFUSED,
            address=job.address,
            operation=job.operation,
            institution=job.institution,
            key=KeyName(job.key, self._held.directory.key_of(job.key).id),
            purpose=self._held.purpose_of(job.purpose),
            reason=reason,
            reference=str(job.id),
            count=job.items - job.answered,
        )
        generation = await self._generation(job)
        what = End(job, "failed", reason, entry, generation)
        try:
            await end(self._store, self._held.limiter, what)
        except (Overtaken, AuditUnavailable) as error:
            # Another has ended it, or it is tried again once its lease has run out.
            log.warning("job_not_ended", job=str(job.id), error=type(error).__name__)

    async def _generation(self, job: Job) -> str:
        """Under which its units are counted now; "" where nobody tells: they stay spent."""
        institution = self._held.directory.institution(job.institution)
        now = self._held.clock.now()
        agreement = institution and applicable(institution.agreements, now)
        if not agreement:
            return ""
        try:
            peeked = await self._held.limiter.peek(job.institution, agreement.limits)
        except Failure:
            return ""
        return peeked.generation


def _told(answer: Answer, access_id: str) -> Answered:
    reason = answer.access.reason
    return Answered(
        answer.id,
        access_id,
        None if reason is None else int(reason),
        answer.resident,
        answer.matches,
    )
