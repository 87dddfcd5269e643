"""How a job ends that was not answered whole: its units go back. And how it is forgotten."""

from typing import NamedTuple

from gateway.audit.entry import Entry
from gateway.jobs.job import GIVEN_UP_SECONDS, KEPT_SECONDS, Job
from gateway.jobs.store import Store
from gateway.quota.limit import Decision, State, day_end, month_end
from gateway.quota.limiter import Limiter
from gateway.vocabulary import Limits, Reason

_NO_LIMITS = Limits(rate=1, burst=1, day=1, month=1)


class End(NamedTuple):
    """What it becomes, and why; its entry, and the generation under which units go back.

    The generation is to be one that was counted under before the end is durable: what is
    counted under another was made from what PostgreSQL holds, maybe since.
    """

    job: Job
    status: str
    reason: Reason | None
    entry: Entry
    generation: str


async def end(store: Store, limiter: Limiter, what: End) -> tuple[str, Decision | None]:
    """Ends it, durably, and gives its units back.

    The access_id of the entry; and where the institution stands then, if that is told.

    What is kept of it is for `forget`: to delete it takes longer than an end may.

    Raises:
        Overtaken: it is over already.
        AuditUnavailable: it may have ended, and its units stay spent then.
    """
    async with store.transaction() as change:
        kept = Job.from_row(await change.change("lock", what.job.id))
        await change.execute("end", kept.id, what.status, what.reason)
        (access_id,) = await change.enter([what.entry])
    return access_id, await return_units(limiter, kept, what.generation)


async def return_units(limiter: Limiter, job: Job, generation: str) -> Decision | None:
    """What a job's reservation holds goes back to the windows that it was taken from.

    Of what it gives the state alone is true: the limits are none of the institution's.
    """
    at = job.reserved_at
    windows = State(at, 0, day_end(at), 0, month_end(at))
    spent = Decision(at, _NO_LIMITS, windows, (), 0, job.reserved, generation)
    return await limiter.give_back(job.institution, spent)


async def forget(store: Store) -> None:
    """Deletes what nobody asks or is told any more, and jobs that were over long ago.

    Raises:
        AuditUnavailable: the rest is for the next time.
    """
    for row in await store.fetch("left_over"):
        await store.drop(row["id"], answers=row["cancelled"])
    for row in await store.fetch("outlived", KEPT_SECONDS, GIVEN_UP_SECONDS):
        await store.drop(row["id"], answers=True)
        await store.fetch("forget", row["id"])
