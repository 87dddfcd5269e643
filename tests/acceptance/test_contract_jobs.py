"""A job: a batch that is handed in now and answered by and by."""

import asyncio
from typing import Any, Final

import asyncpg
import psutil
import pytest

from gateway.redis import open_server
from tests.acceptance.job_calls import (
    NDJSON,
    begun,
    claims,
    difference,
    lines,
    over,
    read,
    results,
    submit,
    used,
)
from tests.acceptance.ledger import of_institution
from tests.acceptance.questions import UNKNOWN_NIK, nik_of
from tests.acceptance.service import Service

pytestmark = [pytest.mark.acceptance]

WRONG: Final = {"birth_date": "1801-01-01"}
# At half of it a job of a few hundred items takes long enough to be looked at.
SLOW: Final = {"rate": 40, "burst": 40, "day": 1_000, "month": 2_000}

LARGE: Final = 300_000
MOST_MEMORY: Final = 12 * 1024 * 1024


async def entries_of(service: Service, institution: int, operation: str) -> list[Any]:
    found = await of_institution(service.auditor_dsn, institution)
    return [one for one in found if one["operation"] == operation]


async def test_each_item_is_answered_in_order_with_an_entry_of_its_own(
    service: Service,
) -> None:
    caller = service.newcomer()
    items = [claims(service, number) for number in range(450)]
    items[1] |= {"claims": WRONG}
    items[2] |= {"nik": UNKNOWN_NIK}
    accepted = await submit(service, caller, items)
    assert accepted.status == 202
    job = accepted.json
    assert accepted.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["items"], job["reserved"], job["answered"]) == (450, 450, 0)
    done = await over(service, caller, job["id"])
    assert (done["status"], done["answered"], done["reserved"]) == ("done", 450, 0)
    told = await results(service, caller, job["id"])
    assert [one["id"] for one in told] == [item["id"] for item in items]
    assert told[0]["matches"] == {"birth_date": True}
    assert told[1]["matches"] == {"birth_date": False}
    assert (told[2]["found"], told[2]["matches"]) == (False, {})
    entered = await entries_of(service, caller.institution, "batch.verify")
    by_id = {one["access_id"]: one for one in entered}
    assert len(by_id) == len(entered) == 450
    for one in told:
        entry = by_id[one["access_id"]]
        assert entry["reference"] == f"{job['id']}/{one['id']}"
        assert (entry["charged"], entry["purpose"]) == (1, "treatment")
        assert entry["key"] == caller.key_id
    (handed_in,) = await entries_of(service, caller.institution, "job.submit")
    assert handed_in["access_id"] == accepted.access_id
    assert (handed_in["outcome"], handed_in["charged"]) == ("done", 0)
    assert handed_in["reference"] == job["id"]
    assert await used(service, caller) == (450, 450)
    assert await difference(service, caller) == []


async def test_fetched_fields_come_and_who_is_not_there_is_a_problem(
    service: Service,
) -> None:
    caller = service.newcomer()
    resident = service.residents[5]
    items = [
        {"id": "a", "nik": nik_of(resident), "fields": ["name"]},
        {"id": "b", "nik": UNKNOWN_NIK, "fields": ["name"]},
    ]
    query = "operation=fetch&purpose=treatment"
    job = (await submit(service, caller, items, query)).json["id"]
    await over(service, caller, job)
    here, nowhere = await results(service, caller, job)
    assert here["resident"] == {"name": resident["name"]}
    assert nowhere["problem"]["type"] == "/problems/resident-not-found"
    assert nowhere["problem"]["access_id"] == nowhere["access_id"]


async def test_all_that_is_wrong_is_told_at_once_and_nothing_is_kept(
    service: Service,
) -> None:
    caller = service.newcomer()
    items = [
        claims(service, 0),
        claims(service, 1, nik="31"),
        claims(service, 2, more=1),
        claims(service, 3, claims={}),
    ]
    body = lines(items) + b"[1]\n\nnonsense"
    answer = await submit(service, caller, body)
    assert (answer.status, answer.reason) == (400, "invalid-request")
    pointers = [fault["pointer"] for fault in answer.json["errors"]]
    assert pointers == ["/1/nik", "/2/more", "/3/claims", "/4", "/5", "/6"]
    (entry,) = await of_institution(service.auditor_dsn, caller.institution)
    assert (entry["outcome"], entry["count"]) == ("refused", 7)
    assert await kept(service, caller.institution) == 0
    assert await used(service, caller) == (0, 0)


async def kept(service: Service, institution: int) -> int:
    connection = await asyncpg.connect(service.environment["GATEWAY_POSTGRES_DSN"])
    try:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM jobs WHERE institution = $1", institution
        )
        return count
    finally:
        await connection.close()


async def test_a_name_given_twice_is_found_however_far_apart(service: Service) -> None:
    caller = service.newcomer()
    items = [claims(service, number) for number in range(500)]
    items[450] |= {"id": "row-3"}
    answer = await submit(service, caller, items)
    assert answer.status == 400
    assert [fault["pointer"] for fault in answer.json["errors"]] == ["/450/id"]
    assert await kept(service, caller.institution) == 0


@pytest.mark.parametrize(
    ("query", "pointers"),
    [
        ("", ["?operation", "?purpose"]),
        ("operation=drop&purpose=treatment", ["?operation"]),
        ("operation=verify&purpose=treatment&x=1", ["?x"]),
    ],
)
async def test_what_is_wrong_with_the_query_is_told(
    service: Service, query: str, pointers: list[str]
) -> None:
    caller = service.newcomer()
    answer = await submit(service, caller, [claims(service, 0)], query)
    assert answer.status == 400
    told = sorted(fault["pointer"] for fault in answer.json["errors"])
    assert told == sorted(pointers)


async def test_nothing_handed_in_is_refused_and_so_is_an_idempotency_key(
    service: Service,
) -> None:
    caller = service.newcomer()
    answer = await submit(service, caller, b"")
    assert [fault["pointer"] for fault in answer.json["errors"]] == [""]
    headers = NDJSON | {"Idempotency-Key": "once"}
    answer = await submit(service, caller, [claims(service, 0)], headers=headers)
    (fault,) = answer.json["errors"]
    assert fault["pointer"] == "/headers/idempotency-key"


async def test_who_may_not_is_refused_as_with_a_batch(service: Service) -> None:
    one = [claims(service, 0)]
    assert (await submit(service, None, one)).status == 401
    json_type = {"Content-Type": "application/json"}
    caller = service.newcomer()
    assert (await submit(service, caller, one, headers=json_type)).status == 415
    query = "operation=fetch&purpose=kyc"
    fetched = [{"id": "a", "nik": UNKNOWN_NIK, "fields": ["name"]}]
    answer = await submit(service, caller, fetched, query)
    assert (answer.status, answer.reason) == (403, "not-granted")
    outside = [claims(service, 0, claims={"religion": "x"})]
    answer = await submit(service, caller, outside)
    assert (answer.status, answer.json["fields"]) == (403, ["religion"])
    assert await kept(service, caller.institution) == 0


async def test_more_than_the_quota_is_refused_whole(service: Service) -> None:
    limits = {"rate": 1_000, "burst": 1_000, "day": 10, "month": 100}
    caller = await service.make_caller(limits=limits)
    answer = await submit(service, caller, [claims(service, n) for n in range(11)])
    assert answer.status == 429
    assert answer.json["violated-policies"] == ["day"]
    assert await used(service, caller) == (0, 0)
    assert await kept(service, caller.institution) == 0


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
    cancelled = (await read(service, caller, job)).json
    assert (cancelled["status"], cancelled["reserved"]) == ("cancelled", 0)
    answered = cancelled["answered"]
    assert 0 < answered < 500
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


async def test_another_institutions_job_is_as_one_that_is_not_there(
    service: Service,
) -> None:
    owner, other = service.newcomer(), service.newcomer()
    job = (await submit(service, owner, [claims(service, 0)])).json["id"]
    await over(service, owner, job)
    nowhere = "0199a7b0-3c00-7f8f-9e1e-a29f2d343427"
    for name in (job, nowhere, "nonsense"):
        for method, tail in (("GET", ""), ("GET", "/results"), ("DELETE", "")):
            target = f"/v1/jobs/{name}{tail}"
            answer = await service.ask(method, target, key=other.key)
            assert (answer.status, answer.reason) == (404, "not-found")
            members = set(answer.json)
            assert members == {"type", "title", "status", "access_id"}


async def test_four_jobs_may_be_under_way_at_once(service: Service) -> None:
    caller = await service.make_caller(limits=SLOW)
    items = [claims(service, number) for number in range(100)]
    told = [await submit(service, caller, items) for _ in range(5)]
    assert [answer.status for answer in told] == [202] * 4 + [429]
    assert told[4].json["violated-policies"] == ["jobs"]
    assert told[4].headers["retry-after"] == "60"
    for answer in told[:4]:
        await service.ask("DELETE", f"/v1/jobs/{answer.json['id']}", key=caller.key)


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


async def test_nothing_of_a_job_stands_in_the_database_or_in_a_line_of_the_log(
    service: Service,
) -> None:
    caller = service.newcomer()
    resident = service.residents[17]
    name = {"name": "Kenari Kuning"}
    items = [claims(service, 17, id="canary-id", claims=name)]
    job = (await submit(service, caller, items)).json["id"]
    await over(service, caller, job)
    canaries = [nik_of(resident), "Kenari Kuning"]
    connection = await asyncpg.connect(service.environment["GATEWAY_POSTGRES_DSN"])
    try:
        for table in ("jobs", "job_items", "job_answers"):
            rows = await connection.fetch(f"SELECT t::text AS t FROM {table} AS t")
            text = "".join(row["t"] for row in rows)
            assert rows or table == "job_items"
            for canary in canaries:
                assert canary not in text
                assert canary.encode().hex() not in text
    finally:
        await connection.close()
    log = service.gateway.log_file.read_text()
    for canary in canaries:
        assert canary not in log
