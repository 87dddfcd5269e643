"""A job on its way: its units, through lost counters, midnight, and ends before its own."""

import asyncio
from typing import Final

import asyncpg
import psutil
import pytest

from gateway.redis import open_server
from tests.acceptance.job_calls import (
    SLOW,
    begun,
    claims,
    difference,
    entries_of,
    lines,
    over,
    read,
    results,
    submit,
    used,
)
from tests.acceptance.service import Service

pytestmark = [pytest.mark.acceptance]

LARGE: Final = 300_000
MOST_MEMORY: Final = 12 * 1024 * 1024


async def test_a_job_that_does_not_come_to_its_end_in_a_week_is_ended(
    service: Service,
) -> None:
    caller = await service.make_caller(limits=SLOW)
    items = [claims(service, number) for number in range(300)]
    job = (await submit(service, caller, items)).json["id"]
    await begun(service, caller, job)
    superuser = await asyncpg.connect(service.log.dsn(database="gateway"))
    try:
        await superuser.execute(
            "UPDATE jobs SET created_at = created_at - interval '8 days' WHERE id = $1",
            job,
        )
    finally:
        await superuser.close()
    ended = await over(service, caller, job)
    assert ended["status"] == "failed"
    assert ended["problem"]["status"] == 503
    assert await used(service, caller) == (ended["answered"], ended["answered"])
    assert await difference(service, caller) == []


async def test_units_are_reserved_and_those_of_a_cancelled_job_are_given_back(
    service: Service,
) -> None:
    caller = await service.make_caller(limits=SLOW)
    items = [claims(service, number) for number in range(500)]
    job = (await submit(service, caller, items)).json["id"]
    assert await used(service, caller) == (500, 500)
    await begun(service, caller, job)
    waiting = await service.ask("GET", f"/v1/jobs/{job}/results", key=caller.key)
    assert (waiting.status, waiting.headers["retry-after"]) == (202, "5")
    gone = await service.ask("DELETE", f"/v1/jobs/{job}", key=caller.key)
    assert gone.status == 204
    told = await service.ask("GET", f"/v1/jobs/{job}/results", key=caller.key)
    assert (told.status, told.reason) == (404, "not-found")
    cancelled = (await read(service, caller, job)).json
    assert (cancelled["status"], cancelled["reserved"]) == ("cancelled", 0)
    answered = cancelled["answered"]
    assert 0 < answered < 500
    left = SLOW["day"] - answered
    assert f'"day";r={left};' in gone.headers["ratelimit"]
    await asyncio.sleep(1.5)
    entered = await entries_of(service, caller.institution, "batch.verify")
    assert len(entered) == answered
    assert await used(service, caller) == (answered, answered)
    assert await difference(service, caller) == []
    again = await service.ask("DELETE", f"/v1/jobs/{job}", key=caller.key)
    assert (again.status, again.reason) == (404, "not-found")
    (entry,) = [
        one
        for one in await entries_of(service, caller.institution, "job.cancel")
        if one["outcome"] == "done"
    ]
    assert (entry["access_id"], entry["reference"]) == (gone.access_id, job)


async def test_units_of_a_job_are_counted_when_counters_are_made_from_the_log(
    service: Service,
) -> None:
    caller = await service.make_caller(limits=SLOW)
    items = [claims(service, number) for number in range(300)]
    job = (await submit(service, caller, items)).json["id"]
    await begun(service, caller, job)
    async with open_server(service.valkey.url) as redis:
        await redis.flushall()
    assert await used(service, caller) == (300, 300)
    assert await difference(service, caller) == []
    await service.ask("DELETE", f"/v1/jobs/{job}", key=caller.key)
    answered = (await read(service, caller, job)).json["answered"]
    assert await used(service, caller) == (answered, answered)
    assert await difference(service, caller) == []


async def test_a_job_ends_where_its_agreement_does(service: Service) -> None:
    caller = await service.make_caller(limits=SLOW)
    items = [claims(service, number) for number in range(300)]
    job = (await submit(service, caller, items)).json["id"]
    async with service.admin() as admin:
        await admin.execute(
            "UPDATE agreements SET status = 'suspended' WHERE id = $1", caller.agreement
        )
    ended = await over(service, caller, job)
    assert ended["status"] == "failed"
    assert ended["problem"]["type"] == "/problems/agreement-inactive"
    answered = ended["answered"]
    assert answered < 300
    assert len(await results(service, caller, job)) == answered
    entered = await entries_of(service, caller.institution, "batch.verify")
    (refused,) = [one for one in entered if one["outcome"] == "refused"]
    assert (refused["count"], refused["reference"]) == (300 - answered, job)
    assert refused["reason"] == "agreement-inactive"
    assert await difference(service, caller) == []


async def as_if_reserved_yesterday(service: Service, job: str) -> None:
    """And counted so: the counters are made from the log."""
    connection = await asyncpg.connect(service.environment["GATEWAY_POSTGRES_DSN"])
    try:
        await connection.execute(
            "UPDATE jobs SET reserved_at = reserved_at - interval '1 day' WHERE id = $1",
            job,
        )
    finally:
        await connection.close()
    async with open_server(service.valkey.url) as redis:
        await redis.flushall()


@pytest.mark.slow
async def test_what_is_left_at_midnight_is_reserved_in_the_new_day(
    service: Service,
) -> None:
    caller = await service.make_caller(limits=SLOW)
    items = [claims(service, number) for number in range(200)]
    job = (await submit(service, caller, items)).json["id"]
    await begun(service, caller, job)
    await as_if_reserved_yesterday(service, job)
    seen = (await read(service, caller, job)).json["answered"]
    now = await begun(service, caller, job, after=seen)
    assert now["status"] == "running"
    assert await used(service, caller) == (200, 200)
    assert await difference(service, caller) == []
    done = await over(service, caller, job)
    assert (done["status"], done["answered"]) == ("done", 200)
    assert await used(service, caller) == (200, 200)
    assert await difference(service, caller) == []


async def test_a_job_that_the_new_day_has_no_room_for_fails(service: Service) -> None:
    caller = await service.make_caller(limits=SLOW)
    items = [claims(service, number) for number in range(300)]
    job = (await submit(service, caller, items)).json["id"]
    await begun(service, caller, job)
    async with service.admin() as admin:
        await admin.execute(
            "UPDATE agreements SET day = 100 WHERE id = $1", caller.agreement
        )
    await as_if_reserved_yesterday(service, job)
    ended = await over(service, caller, job)
    assert ended["status"] == "failed"
    assert ended["problem"]["type"].endswith("#quota-exceeded")
    answered = ended["answered"]
    assert await used(service, caller) == (answered, answered)
    assert await difference(service, caller) == []


@pytest.mark.slow
async def test_a_large_job_does_not_stay_in_a_workers_memory(service: Service) -> None:
    caller = service.newcomer()
    items = [claims(service, number) for number in range(LARGE)]

    def memory() -> int:
        workers = sorted(service.gateway.workers())
        return max(psutil.Process(pid).memory_info().rss for pid in workers)

    small = await submit(service, caller, items[:1_000])
    await over(service, caller, small.json["id"])
    before = memory()
    body = lines(items)
    del items
    accepted = await submit(service, caller, body)
    assert accepted.status == 202, accepted.body
    assert len(body) > 2 * MOST_MEMORY
    assert memory() - before < MOST_MEMORY
    await over(service, caller, accepted.json["id"])
    told = await results(service, caller, accepted.json["id"])
    assert [one["id"] for one in told] == [f"row-{n}" for n in range(LARGE)]
    assert memory() - before < MOST_MEMORY
