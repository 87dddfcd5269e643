"""What ops see: the journal and everybody's limits, each look an entry."""

import asyncio
import json
import time
from datetime import datetime
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from gateway.edge.openapi import DOCUMENT
from gateway.quota.epochs import KNOWN_SECONDS
from tests.acceptance import questions
from tests.acceptance.callers import PLENTY, Caller
from tests.acceptance.ledger import entries, of_institution
from tests.acceptance.questions import Question, nik_of
from tests.acceptance.service import Service
from tests.acceptance.windows import DAY, MINUTE, clear_of_turn
from tests.acceptance.wire import Answer, Connection
from tests.integration.limiting import redis_counts

pytestmark = [pytest.mark.acceptance]

HERE: Final = "urn:gateway:openapi"
ROUTES: Final = {"/ops/journal": "ops.journal", "/ops/limits": "ops.limits"}
SCHEMAS: Final = {"/ops/journal": "Journal", "/ops/limits": "LimitsOverview"}
# A worker adds its refusals to the tally twice a second.
TALLIED: Final = 1.0


async def look(service: Service, target: str, role: str = "ops") -> Answer:
    return await service.ask("GET", target, key=service.staff[role])


async def limits(service: Service, query: str = "") -> list[dict[str, Any]]:
    answer = await look(service, f"/ops/limits?limit=1000{query}")
    assert answer.status == 200, answer
    institutions: list[dict[str, Any]] = answer.json["institutions"]
    return institutions


async def standing_of(service: Service, caller: Caller) -> dict[str, Any]:
    listed = {one["id"]: one for one in await limits(service)}
    return listed[caller.institution]


def cheap(service: Service, caller: Caller) -> Question:
    nik = nik_of(service.residents[60])
    return questions.verify(caller, nik, {"name": "A"}, purpose="kyc")


async def spend(service: Service, caller: Caller, calls: int) -> list[Answer]:
    question = cheap(service, caller)
    async with Connection.opened(service.gateway.port) as connection:
        return [await question.put(connection) for _ in range(calls)]


@pytest.mark.parametrize("path", ROUTES)
async def test_a_look_of_ops_is_an_entry_and_names_nobody_but_the_looker(
    service: Service, path: str
) -> None:
    answer = await look(service, path)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    recent = await entries(service.auditor_dsn, "e.at > now() - interval '5 seconds'")
    (entry,) = [one for one in recent if one["access_id"] == answer.access_id]
    assert (entry["actor"], entry["key"]) == ("ops", service.staff["ops"][9:17])
    assert (entry["operation"], entry["outcome"]) == (ROUTES[path], "done")
    assert (entry["charged"], entry["count"]) == (0, 1)
    for member in ("institution", "subject", "reason", "reference", "fields"):
        assert entry[member] is None


@pytest.mark.parametrize("path", ROUTES)
async def test_only_ops_reach_the_routes_of_ops(service: Service, path: str) -> None:
    others = [service.sample("bulk").key]
    others += [service.staff[role] for role in ("auditor", "admin")]
    for key in others:
        answer = await service.ask("GET", path, key=key)
        assert (answer.status, answer.reason) == (403, "forbidden")
        assert answer.access_id is not None
    nobody = await service.ask("GET", path, source="127.0.4.70")
    assert (nobody.status, nobody.reason) == (401, "unauthenticated")


@pytest.mark.parametrize("path", SCHEMAS)
async def test_what_ops_are_answered_is_as_documented(
    service: Service, path: str
) -> None:
    document = json.loads(DOCUMENT)
    answer = await look(service, path)
    Draft202012Validator(
        {"$ref": f"{HERE}#/components/schemas/{SCHEMAS[path]}"},
        registry=Registry().with_resource(HERE, DRAFT202012.create_resource(document)),
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    ).validate(answer.json)


@pytest.mark.parametrize(
    ("target", "pointers"),
    [
        ("/ops/limits?order=name", ["?order"]),
        ("/ops/limits?order=", ["?order"]),
        ("/ops/limits?limit=0", ["?limit"]),
        ("/ops/limits?limit=1001", ["?limit"]),
        ("/ops/limits?limit=-1&order=spent", ["?order", "?limit"]),
        ("/ops/limits?limit=5&limit=6", ["?limit"]),
        ("/ops/limits?reason=curious", ["?reason"]),
        ("/ops/journal?days=3", ["?days"]),
        (f"/ops/journal?nik={'9' * 16}", ["?nik"]),
    ],
)
async def test_a_question_of_ops_that_cannot_be_understood_is_refused(
    service: Service, target: str, pointers: list[str]
) -> None:
    answer = await look(service, target)
    assert (answer.status, answer.reason) == (400, "invalid-request")
    assert [fault["pointer"] for fault in answer.json["errors"]] == pointers
    assert b"9" * 16 not in answer.body


async def test_limits_are_those_that_the_institution_itself_is_told(
    service: Service,
) -> None:
    await clear_of_turn(DAY, seconds=10)
    terms = {"rate": 1, "burst": 9, "day": 50, "month": 70}
    caller = await service.make_caller(limits=terms)
    assert {one.status for one in await spend(service, caller, 4)} == {200}
    account = await service.put(questions.account(caller))
    row = await standing_of(service, caller)
    told = {one["policy"]: one for one in account.json["limits"]}
    shown = {one["policy"]: one for one in row["windows"]}
    assert list(shown) == list(told) == ["rate", "day", "month"]
    for policy, one in shown.items():
        for member in ("quota", "window_s", "burst"):
            assert one[member] == told[policy][member]
    for policy, used in (("day", 4), ("month", 4)):
        assert shown[policy]["used"] == used
        assert shown[policy]["remaining"] == told[policy]["remaining"]
        assert shown[policy]["resets_at"] == told[policy]["resets_at"]
    # Of the rate a unit has come back in every second since.
    assert told["rate"]["remaining"] <= shown["rate"]["remaining"] < 9
    assert shown["rate"]["used"] + shown["rate"]["remaining"] == 9
    later = datetime.fromisoformat(shown["rate"]["resets_at"])
    assert later == datetime.fromisoformat(told["rate"]["resets_at"])
    assert (row["id"], row["agreement"]) == (caller.institution, caller.agreement)
    assert row["name"] == account.json["institution"]["name"]
    assert (row["used"], row["refused"], row["degraded"]) == (4 / 50, 0, False)


async def test_a_look_at_the_limits_spends_nothing_of_them(service: Service) -> None:
    await clear_of_turn(DAY, seconds=10)
    caller = await service.make_caller(limits={**PLENTY, "day": 10})
    await spend(service, caller, 1)
    before = await standing_of(service, caller)
    again = await standing_of(service, caller)
    assert again["windows"][1:] == before["windows"][1:]
    assert [one["remaining"] for one in before["windows"]] == [
        *(PLENTY["burst"], 9, PLENTY["month"] - 1)
    ]
    (left,) = await spend(service, caller, 1)
    assert '"day";r=8;' in left.headers["ratelimit"]
    only_calls = await of_institution(service.auditor_dsn, caller.institution)
    assert len(only_calls) == 2


async def test_refusals_are_counted_by_policy_and_put_their_institution_first(
    service: Service,
) -> None:
    await clear_of_turn(DAY, seconds=20)
    often = await service.make_caller(limits={**PLENTY, "day": 2})
    twice = await service.make_caller(
        limits={"rate": 1, "burst": 1, "day": 1, "month": 9}
    )
    assert {one.status for one in await spend(service, often, 2)} == {200}
    for pid in sorted(service.gateway.workers()):
        async with service.gateway.connection_to(pid) as connection:
            for _ in range(100):
                assert (await cheap(service, often).put(connection)).status == 429
    statuses = [one.status for one in await spend(service, twice, 3)]
    assert statuses == [200, 429, 429]
    await asyncio.sleep(TALLIED)
    listed = await limits(service)
    counts = [one["refused"] for one in listed]
    assert counts == sorted(counts, reverse=True)
    rows = {one["id"]: one for one in listed}
    first, second = rows[often.institution], rows[twice.institution]
    assert (first["refused"], first["refused_by"]) == (200, {"day": 200})
    assert first["used"] == 1
    # Both limits refused each of these two asks.
    assert (second["refused"], second["refused_by"]) == (2, {"rate": 2, "day": 2})
    assert listed.index(first) < listed.index(second)
    by_default = (await look(service, "/ops/limits")).json
    assert by_default["order"] == "refused"
    assert by_default["institutions"][0]["id"] == listed[0]["id"]


async def test_a_key_refused_for_its_refusals_is_counted_so(service: Service) -> None:
    await clear_of_turn(MINUTE, seconds=5)
    await clear_of_turn(DAY, seconds=5)
    caller = service.newcomer()
    nik = nik_of(service.residents[61])
    question = questions.fetch(caller, nik, ["religion"])
    async with Connection.opened(service.gateway.port) as connection:
        answers = [await question.put(connection) for _ in range(123)]
    assert [one.status for one in answers[-4:]] == [403, 429, 429, 429]
    await asyncio.sleep(TALLIED)
    row = await standing_of(service, caller)
    assert (row["refused"], row["refused_by"]) == (3, {"refusals": 3})


async def test_those_who_used_most_of_their_day_come_first_when_asked(
    service: Service,
) -> None:
    await clear_of_turn(DAY, seconds=20)
    half = await service.make_caller(limits={**PLENTY, "day": 4})
    third = await service.make_caller(limits={**PLENTY, "day": 3})
    await spend(service, half, 2)
    await spend(service, third, 1)
    listed = await limits(service, "&order=used")
    shares = [one["used"] for one in listed]
    assert shares == sorted(shares, reverse=True)
    places = [one["id"] for one in listed]
    assert places.index(half.institution) < places.index(third.institution)
    few = await look(service, "/ops/limits?order=used&limit=3")
    assert few.json["order"] == "used"
    assert [one["id"] for one in few.json["institutions"]] == places[:3]


async def test_every_institution_with_an_agreement_is_listed_once(
    service: Service,
) -> None:
    ended = await service.make_caller(ends_in=-1_000_000)
    listed = [one["id"] for one in await limits(service)]
    assert len(listed) == len(set(listed)) > 100
    assert {ended.institution, service.sample("tight").institution} <= set(listed)
    assert len((await look(service, "/ops/limits")).json["institutions"]) == 50


async def test_without_redis_the_limits_are_told_as_degraded(service: Service) -> None:
    nowhere = "redis://127.0.0.1:1"
    async with (
        service.second_gateway(GATEWAY_REDIS_URL=nowhere) as lonely,
        Connection.opened(lonely.port) as connection,
    ):
        answer = await connection.ask(
            "GET", "/ops/limits?order=used&limit=2", key=service.staff["ops"]
        )
    # It had limits counted in PostgreSQL, for everybody.
    await redis_counts(service.environment["GATEWAY_POSTGRES_DSN"])
    await asyncio.sleep(KNOWN_SECONDS)
    assert answer.status == 200
    rows = answer.json["institutions"]
    assert [one["degraded"] for one in rows] == [True, True]
    for row in rows:
        assert row["used"] is row["refused"] is row["refused_by"] is None
        for window in row["windows"]:
            assert window["quota"] >= 1
            assert window["used"] is window["remaining"] is window["resets_at"] is None


async def test_the_journal_tells_what_all_workers_have_flushed(
    service: Service,
) -> None:
    caller = service.newcomer()
    before = (await look(service, "/ops/journal")).json["flushes"]
    question = questions.fetch(caller, questions.UNKNOWN_NIK, ["name"])
    for pid in sorted(service.gateway.workers()):
        async with service.gateway.connection_to(pid) as connection:
            for _ in range(5):
                assert (await question.put(connection)).status == 404
    document = (await look(service, "/ops/journal")).json
    after = document["flushes"]
    # The ten, and the entry of the look before.
    assert after["entries"] == before["entries"] + 11
    assert before["count"] < after["count"] <= after["entries"]
    assert after["failed"] == before["failed"]
    for member, largest in (("size", 1000), ("seconds", 2)):
        told = after[member]
        assert 0 < told["p50"] <= told["p90"] <= told["p99"] <= told["max"] <= largest
    began = datetime.fromisoformat(document["since"]).timestamp()
    assert 0 < time.time() - began < 3600
    assert document["default_partition_rows"] == 0


async def test_the_journal_tells_how_far_it_is_sealed(service: Service) -> None:
    await spend(service, service.newcomer(), 3)
    async with asyncio.timeout(10):
        while True:
            sealing = (await look(service, "/ops/journal")).json["sealing"]
            head = (await service.ask("GET", "/log/checkpoint")).body.decode()
            if sealing["size"] == int(head.split("\n")[1]):
                break
            await asyncio.sleep(0.2)
    assert 0 <= sealing["lag_s"] < 5
    assert sealing["unsealed_entries"] < 100
    made = datetime.fromisoformat(sealing["sealed_at"]).timestamp()
    assert abs(time.time() - made) < 30


async def test_the_journal_lists_the_days_of_the_log(service: Service) -> None:
    await clear_of_turn(DAY, seconds=5)
    document = (await look(service, "/ops/journal")).json
    days = document["partitions"]
    assert [one["day"] for one in days] == sorted(one["day"] for one in days)
    states = [one["state"] for one in days]
    today = states.index("open")
    ahead = days[today + 1 :]
    assert states == ["closed"] * today + ["open"] + ["ahead"] * len(ahead)
    assert len(ahead) >= 6
    assert all(days[today]["bytes"] > one["bytes"] > 0 for one in ahead)
