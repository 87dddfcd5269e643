"""Who guesses at NIKs or claims is found, slowed and stopped, and let go by a person."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from gateway.audit.access import Access
from gateway.batching import Batch, Batches, Item
from gateway.calls import Call
from gateway.clock import SECOND, to_datetime
from gateway.harvesting import held_to, step_of
from gateway.partners import keeping
from gateway.partners.directory import Institution
from gateway.postgres import Connection
from gateway.problems import AbnormalUsage, AuditUnavailable, NotFound, QuotaExceeded
from gateway.quota.limit import DAY, day_end
from gateway.vocabulary import (
    Limits,
    Operation,
    Outcome,
    Precaution,
    Reason,
    Rule,
    Step,
)
from tests.conftest import Database
from tests.integration.commanding import WHY, CommandLine
from tests.integration.desks import (
    CANARY,
    CLAIMS,
    HOME,
    SITI,
    Desk,
    new_key,
    now,
    opened_desk,
)

pytestmark = pytest.mark.integration

SOON = 10.0


@pytest.fixture
async def desk(
    database: Database, redis: Redis, admin: Connection, superuser: Connection
) -> AsyncIterator[Desk]:
    async with opened_desk(database, admin, superuser, redis) as one:
        await one.lookups.directory.refresh()
        yield one


async def verify(desk: Desk, nik: str, key: str | None = None) -> object:
    desk.question = replace(desk.question, nik=nik)
    return await desk.lookups.verify(desk.call(credential=key or desk.key))


async def claim(desk: Desk, name: str) -> object:
    desk.question = replace(desk.question, claims=CLAIMS | {"name": name})
    return await desk.lookups.verify(desk.call())


async def scan(desk: Desk, *keys: str) -> int:
    """Serial after serial under one prefix; how many were answered until it was refused."""
    for serial in range(1, 9_000):
        key = keys[serial % len(keys)] if keys else None
        try:
            await verify(desk, f"317101450190{serial:04d}", key)
        except AbnormalUsage:
            return serial - 1
    raise AssertionError("it was never stopped")


@asynccontextmanager
async def steps_taken(desk: Desk) -> AsyncIterator[None]:
    """As a worker does beside its calls."""
    async with asyncio.TaskGroup() as tasks:
        taking = tasks.create_task(desk.lookups.harvesting.take_steps())
        try:
            yield
        finally:
            taking.cancel()


async def taken(desk: Desk, step: Step) -> Institution:
    """The institution, once this is done about it."""
    async with asyncio.timeout(SOON):
        while True:
            await desk.lookups.directory.refresh()
            found = desk.lookups.directory.institution(desk.institution)
            if found is not None and found.precaution.step == step:
                return found
            await asyncio.sleep(0.01)


async def test_a_scan_is_stopped_within_50_look_ups_and_what_stops_it_is_not_answered(
    desk: Desk,
) -> None:
    assert await scan(desk) < 50
    last = await desk.superuser.fetchrow(
        "SELECT * FROM readable_entries ORDER BY at DESC LIMIT 1"
    )
    assert last is not None
    assert (last["outcome"], last["reason"]) == (
        Outcome.REFUSED,
        Reason.ABNORMAL_USAGE_DETECTED,
    )
    charged = await desk.superuser.fetchval(
        "SELECT count(*) FROM readable_entries WHERE outcome = $1", Outcome.NOT_FOUND
    )
    assert await desk.used() == (charged, charged)


async def test_a_scan_split_over_keys_is_one_scan(
    desk: Desk, admin: Connection
) -> None:
    other = await new_key(admin, desk.institution)
    await desk.lookups.directory.refresh()
    assert await scan(desk, desk.key, other) < 50


async def test_a_stop_is_entered_and_kept_and_spends_nothing(desk: Desk) -> None:
    async with steps_taken(desk):
        await scan(desk)
        stopped = await taken(desk, Step.STOP)
    assert stopped.precaution.rule is Rule.MISSES_ALIKE
    entered = await desk.superuser.fetch(
        "SELECT operation, outcome, institution, subject, reference"
        " FROM readable_entries WHERE operation BETWEEN $1 AND $2 ORDER BY at",
        Operation.HARVEST_ALERT,
        Operation.HARVEST_STOP,
    )
    assert [one["operation"] for one in entered][-1] == Operation.HARVEST_STOP
    assert {one["institution"] for one in entered} == {desk.institution}
    assert {one["subject"] for one in entered} == {None}
    assert {one["reference"] for one in entered} <= {"scan", "misses-alike"}
    used = await desk.used()
    call = desk.call()
    desk.question = replace(desk.question, nik=SITI)
    with pytest.raises(AbnormalUsage) as refused:
        await desk.lookups.verify(call)
    assert refused.value.retry_after is None
    assert call.decision is not None
    assert await desk.used() == used


@pytest.mark.hurried
async def test_no_step_is_taken_without_its_entry(desk: Desk) -> None:
    await scan(desk)
    async with desk.superuser.transaction():
        await desk.superuser.execute("LOCK TABLE batches IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(AuditUnavailable):
            await desk.lookups.harvesting.take_steps()
    await taken(desk, Step.NONE)
    # As a probe would.
    desk.lookups.journal.found_writable()
    async with steps_taken(desk):
        await taken(desk, Step.STOP)
    entered = await desk.superuser.fetchval(
        "SELECT count(*) FROM readable_entries WHERE operation = $1",
        Operation.HARVEST_STOP,
    )
    # The one of the first try may have been written unheard of.
    assert entered in {1, 2}


async def test_a_stop_outlives_redis_and_evidence_does_not(
    desk: Desk, redis: Redis
) -> None:
    async with steps_taken(desk):
        await scan(desk)
        await taken(desk, Step.STOP)
    await redis.flushall()
    with pytest.raises(AbnormalUsage):
        await verify(desk, SITI)


async def test_without_evidence_nobody_is_refused(desk: Desk, redis: Redis) -> None:
    for serial in range(1, 12):
        await verify(desk, f"317101450190{serial:04d}")
    await redis.flushall()
    assert await verify(desk, "3171014501900012") is None


async def test_a_person_lets_go_and_it_is_watched_anew(
    desk: Desk, admin: Connection
) -> None:
    async with steps_taken(desk):
        await scan(desk)
        await taken(desk, Step.STOP)
        await keeping.release_institution(admin, desk.institution)
        await taken(desk, Step.NONE)
        assert await verify(desk, SITI) is not None
        assert 5 < await scan(desk) < 50
        await taken(desk, Step.STOP)


async def test_it_is_let_go_on_the_command_line_and_that_is_entered(
    desk: Desk, database: Database, superuser: Connection, tmp_path: Path
) -> None:
    await superuser.execute(
        "UPDATE institutions SET harvest_step = 3, harvest_rule = 1,"
        " harvest_at = clock_timestamp()"
    )
    await taken(desk, Step.STOP)
    pepper = tmp_path / "pepper"
    pepper.touch(mode=0o600)
    pepper.write_text(f"1:{'ab' * 32}\n", "ascii")
    gateway = CommandLine(database, pepper)
    ended = await gateway.run("institution", "release", str(desk.institution), *WHY)
    assert (ended.code, ended.out) == (0, "")
    (entry,) = await gateway.entries()
    assert (entry["operation"], entry["actor"]) == ("institution.release", "admin")
    assert entry["reference"] == WHY[1]
    assert (await taken(desk, Step.NONE)).precaution.since > 0
    assert await verify(desk, SITI) is not None
    missing = await gateway.run("institution", "release", "999999", *WHY)
    assert (missing.code, "no such institution" in missing.err) == (1, True)


async def test_whom_nobody_knows_nobody_lets_go(admin: Connection) -> None:
    with pytest.raises(NotFound):
        await keeping.release_institution(admin, 999_999)


async def test_a_worker_may_stop_and_never_let_go(
    desk: Desk, database: Database, superuser: Connection
) -> None:
    await superuser.execute(
        "UPDATE institutions SET harvest_step = 3, harvest_rule = 1,"
        " harvest_at = clock_timestamp() WHERE id = $1",
        desk.institution,
    )
    hot = await asyncpg.connect(database.dsn("hot"))
    try:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await hot.execute(
                "UPDATE institutions SET harvest_step = 0, harvest_rule = NULL,"
                " harvest_at = NULL"
            )
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await hot.execute(
                "UPDATE institutions SET watched_since = clock_timestamp()"
            )
    finally:
        await hot.close()


async def test_the_sixth_different_claim_about_a_subject_is_refused_that_day(
    desk: Desk,
) -> None:
    for name in "ABCDE":
        assert await claim(desk, name) == {"name": False, "birth_date": True}
    used = await desk.used()
    with pytest.raises(AbnormalUsage) as refused:
        await claim(desk, "F")
    assert await desk.used() == used
    left = day_end(now()) - now()
    assert 0 <= (refused.value.retry_after or 0) - left // SECOND <= 60
    assert await claim(desk, "A") == {"name": False, "birth_date": True}
    assert await verify(desk, "3171014501909002") is None


async def test_of_claims_asked_at_once_five_are_answered(desk: Desk) -> None:
    async def one(number: int) -> object:
        question = replace(desk.question, claims={"name": f"Nama {number}"})

        async def read() -> object:
            return question

        access = Access(Operation.VERIFY, HOME)
        return await desk.lookups.verify(Call(access, desk.key, read))  # type: ignore[arg-type] # a closure over its own question

    answers = await asyncio.gather(*map(one, range(20)), return_exceptions=True)
    assert sum(isinstance(answer, dict) for answer in answers) == 5
    assert sum(isinstance(answer, AbnormalUsage) for answer in answers) == 15


async def test_a_batch_of_guesses_is_refused_whole(desk: Desk) -> None:
    items = [
        Item(str(number), SITI, ("name",), {"name": f"Nama {number}"})
        for number in range(6)
    ]
    batch = Batch("verify", "kyc", items, len(items))

    async def read() -> Batch:
        return batch

    call = Call(Access(Operation.BATCH, HOME), desk.key, read)
    with pytest.raises(AbnormalUsage):
        await Batches(desk.lookups).answer(call)
    row = await desk.entry()
    assert (row["outcome"], row["count"]) == (Outcome.REFUSED, 6)
    assert await desk.used() == (0, 0)


async def test_a_canary_is_told_of_and_answered(desk: Desk) -> None:
    async with steps_taken(desk):
        assert await verify(desk, CANARY) is None
        found = await taken(desk, Step.ALERT)
    assert found.precaution.rule is Rule.CANARY


async def test_over_120_such_refusals_a_minute_are_refused_as_a_flood(
    desk: Desk,
) -> None:
    for name in "ABCDE":
        await claim(desk, name)
    (key,) = await desk.superuser.fetch("SELECT number FROM keys")
    for _ in range(119):
        await desk.lookups.limiter.count_refusal(desk.institution, key["number"])
    with pytest.raises(AbnormalUsage):
        await claim(desk, "F")
    with pytest.raises(QuotaExceeded):
        await claim(desk, "F")


async def test_whoever_is_slowed_has_a_tenth_of_the_rate_and_all_of_the_burst(
    desk: Desk, superuser: Connection
) -> None:
    await superuser.execute(
        "UPDATE institutions SET harvest_step = 2, harvest_rule = 1, harvest_at = $2"
        " WHERE id = $1",
        desk.institution,
        to_datetime(now()),
    )
    await desk.lookups.directory.refresh()
    call = desk.call()
    await desk.lookups.verify(call)
    assert call.decision is not None
    assert call.decision.limits == Limits(100, 1000, 1000, 10_000)


def test_the_lower_steps_end_with_their_day_and_a_stop_does_not() -> None:
    def about(step: Step) -> Institution:
        return Institution(1, "Bank", (), Precaution(step, Rule.SCAN, 5 * DAY))

    ends = day_end(5 * DAY)
    for step in (Step.ALERT, Step.SLOW, Step.STOP):
        assert step_of(about(step), ends - 1) is step
    assert step_of(about(Step.SLOW), ends) is Step.NONE
    assert step_of(about(Step.STOP), ends + 90 * DAY) is Step.STOP
    limits = Limits(5, 5, 5, 5)
    assert held_to(about(Step.ALERT), limits, ends - 1) == limits
    assert held_to(about(Step.SLOW), limits, ends - 1) == limits._replace(rate=1)
    assert held_to(about(Step.SLOW), limits, ends) == limits
