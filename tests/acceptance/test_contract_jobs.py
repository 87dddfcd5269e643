"""A job: a batch that is handed in now and answered by and by."""

from typing import Final

import asyncpg
import pytest

from tests.acceptance.job_calls import (
    NDJSON,
    SLOW,
    begun,
    claims,
    difference,
    entries_of,
    lines,
    over,
    results,
    submit,
    used,
)
from tests.acceptance.ledger import of_institution
from tests.acceptance.questions import UNKNOWN_NIK, nik_of
from tests.acceptance.service import Service

pytestmark = [pytest.mark.acceptance]

WRONG: Final = {"birth_date": "1801-01-01"}


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
    # Not a minute later: what is asked goes with its answer.
    assert job["id"] not in (await kept_text(service))["job_items"]
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


async def test_a_line_may_be_sixteen_kibibytes_and_no_more(service: Service) -> None:
    caller = service.newcomer()
    longest = lines([claims(service, 0)])[:-1].ljust(16 * 1024) + b"\n"
    assert (await submit(service, caller, longest)).status == 202
    answer = await submit(service, caller, lines([claims(service, 1)]) + b" " + longest)
    assert answer.status == 400
    assert [fault["pointer"] for fault in answer.json["errors"]] == ["/1"]
    # And where it has no end.
    answer = await submit(service, caller, b" " * 40_000)
    assert [fault["pointer"] for fault in answer.json["errors"]] == ["/0"]


async def test_a_body_that_is_announced_too_long_is_not_read(service: Service) -> None:
    caller = service.newcomer()
    headers = NDJSON | {"Content-Length": str(512 * 1024 * 1024 + 1)}
    answer = await service.ask(
        "POST",
        "/v1/jobs?operation=verify&purpose=treatment",
        key=caller.key,
        headers=headers,
    )
    assert (answer.status, answer.reason) == (413, "payload-too-large")
    assert await kept(service, caller.institution) == 0


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
            # It is looked for after admission.
            assert {"ratelimit", "ratelimit-policy"} < answer.headers.keys()
            members = set(answer.json)
            assert members == {"type", "title", "status", "access_id"}


async def test_four_jobs_may_be_under_way_at_once(service: Service) -> None:
    caller = await service.make_caller(limits=SLOW)
    items = [claims(service, number) for number in range(100)]
    told = [await submit(service, caller, items) for _ in range(5)]
    assert [answer.status for answer in told] == [202] * 4 + [429]
    assert told[4].json["violated-policies"] == ["jobs"]
    assert told[4].headers["retry-after"] == "60"
    (entry,) = [
        one
        for one in await entries_of(service, caller.institution, "job.submit")
        if one["outcome"] == "refused"
    ]
    assert entry["count"] == len(items)
    malformed = await submit(service, caller, [{**items[0], "nik": "1"}])
    assert (malformed.status, malformed.reason) == (400, "invalid-request")
    for answer in told[:4]:
        await service.ask("DELETE", f"/v1/jobs/{answer.json['id']}", key=caller.key)


async def kept_text(service: Service) -> dict[str, str]:
    """All that the tables of jobs hold, bytes in hexadecimal digits."""
    connection = await asyncpg.connect(service.environment["GATEWAY_POSTGRES_DSN"])
    try:
        return {
            table: "".join(
                row["t"]
                for row in await connection.fetch(
                    f"SELECT t::text AS t FROM {table} AS t"
                )
            )
            for table in ("jobs", "job_items", "job_answers")
        }
    finally:
        await connection.close()


async def test_nothing_of_a_job_stands_in_the_database_or_in_a_line_of_the_log(
    service: Service,
) -> None:
    caller = await service.make_caller(limits=SLOW)
    resident = service.residents[17]
    # The first are answered while the last still wait.
    item = {"nik": nik_of(resident), "fields": ["name"]}
    items = [item | {"id": f"canary-id-{number}"} for number in range(100)]
    query = "operation=fetch&purpose=treatment"
    job = (await submit(service, caller, items, query)).json["id"]
    await begun(service, caller, job)
    held = await kept_text(service)
    assert all(held.values()), "there is to be something to look through"
    log = service.gateway.log_file.read_text()
    for canary in (nik_of(resident), str(resident["name"]), "canary-id"):
        assert canary not in log
        for text in held.values():
            assert canary not in text
            assert canary.encode().hex() not in text
    await service.ask("DELETE", f"/v1/jobs/{job}", key=caller.key)
