"""Limits in shadow over HTTP: set, counted on every worker, told to ops alone, dropped."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from gateway.edge.openapi import DOCUMENT
from tests.acceptance import questions
from tests.acceptance.admins import Admin
from tests.acceptance.callers import PLENTY, Caller
from tests.acceptance.questions import UNKNOWN_NIK
from tests.acceptance.service import KNOWN_EVERYWHERE, Service
from tests.acceptance.windows import DAY, clear_of_turn
from tests.acceptance.wire import Answer, Connection

pytestmark = [pytest.mark.acceptance]

LIMITS: Final = {**PLENTY, "day": 100}
HERE: Final = "urn:gateway:openapi"
WITHIN: Final = 1.0
# A worker adds what it counted to the tally twice a second.
TALLIED: Final = 1.0


@pytest.fixture
async def workers(service: Service) -> AsyncIterator[list[Connection]]:
    """A connection to each worker."""
    async with AsyncExitStack() as opened:
        yield [
            await opened.enter_async_context(service.gateway.connection_to(pid))
            for pid in sorted(service.gateway.workers())
        ]


async def put_in_shadow(
    admin: Admin, caller: Caller, shadow: dict[str, int] | None
) -> Any:
    path = f"agreements/{caller.agreement}"
    answer = await admin.ask("PATCH", path, shadow=shadow)
    assert answer.status == 200, answer.body
    return answer.json["shadow"]


async def verify(workers: list[Connection], caller: Caller, calls: int) -> list[Answer]:
    """So many calls, by the workers in turn."""
    question = questions.verify(caller, UNKNOWN_NIK, {"name": "A"}, purpose="kyc")
    return [await question.put(workers[turn % len(workers)]) for turn in range(calls)]


async def told_to_ops(through: Connection, service: Service, caller: Caller) -> Any:
    target = "/ops/limits?limit=1000"
    answer = await through.ask("GET", target, key=service.staff["ops"])
    assert answer.status == 200
    Draft202012Validator(
        {"$ref": f"{HERE}#/components/schemas/LimitsOverview"},
        registry=Registry().with_resource(
            HERE, DRAFT202012.create_resource(json.loads(DOCUMENT))
        ),
    ).validate(answer.json)
    rows = {one["id"]: one for one in answer.json["institutions"]}
    return rows[caller.institution]


async def test_ten_a_day_in_shadow_answer_all_and_tell_ops_of_fifteen(
    admin: Admin, service: Service, workers: list[Connection]
) -> None:
    await clear_of_turn(DAY, seconds=15)
    caller = await admin.caller(limits=LIMITS)
    plain = await admin.caller(limits=LIMITS)
    assert await put_in_shadow(admin, caller, {"day": 10}) == {**LIMITS, "day": 10}
    got = await admin.got(f"agreements/{caller.agreement}")
    assert got["shadow"] == {**LIMITS, "day": 10}
    assert got["limits"] == LIMITS
    # And beside the log stands what the change made of it.
    assert got["changes"][0]["became"]["shadow"] == got["shadow"]
    await asyncio.sleep(KNOWN_EVERYWHERE)
    answers = await verify(workers, caller, 25)
    assert {one.status for one in answers} == {200}
    # Neither a header nor the account says anything of it.
    beside = await verify(workers, plain, 25)
    for one, other in zip(answers, beside, strict=True):
        assert one.headers.keys() == other.headers.keys()
        assert one.headers["ratelimit-policy"] == other.headers["ratelimit-policy"]
    assert '"day";r=75;' in answers[-1].headers["ratelimit"]
    account = await service.put(questions.account(caller))
    assert "shadow" not in account.body.decode()
    assert {one["quota"] for one in account.json["limits"]} == {
        *(LIMITS["rate"], LIMITS["day"], LIMITS["month"])
    }
    await asyncio.sleep(TALLIED)
    for worker in workers:
        row = await told_to_ops(worker, service, caller)
        assert (row["refused"], row["refused_by"]) == (0, {})
        assert row["windows"][1]["used"] == 25
        shadow = row["shadow"]
        assert shadow["limits"] == got["shadow"]
        assert shadow["would_refuse"] == 15
        assert shadow["would_refuse_by"] == {"day": 15}
        used = {one["policy"]: one["used"] for one in shadow["windows"]}
        assert (used["day"], used["month"]) == (10, 10)
        assert (await told_to_ops(worker, service, plain))["shadow"] is None
    said = service.gateway.log_file.read_text("utf-8").splitlines()
    first = [line for line in said if '"event":"shadow_would_refuse"' in line]
    own = [json.loads(line) for line in first if f":{caller.institution}," in line]
    assert [(one["institution"], one["policy"]) for one in own] == [
        (caller.institution, "day")
    ]
    metrics = (await service.ask("GET", "/metrics")).body.decode()
    assert 'gateway_shadow_refused_total{policy="day"}' in metrics


async def test_a_shadow_counts_and_is_gone_on_every_worker_within_a_second(
    admin: Admin, service: Service, workers: list[Connection]
) -> None:
    await clear_of_turn(DAY, seconds=15)
    caller = await admin.caller(limits=LIMITS)
    await verify(workers, caller, 4)

    async def would_refuse(worker: Connection) -> int | None:
        shadow = (await told_to_ops(worker, service, caller))["shadow"]
        return None if shadow is None else shadow["would_refuse"]

    await put_in_shadow(admin, caller, {"day": 1})
    began = time.monotonic()
    for worker in workers:
        told, asked = await would_refuse(worker) or 0, began
        while (await would_refuse(worker) or 0) <= told:
            # What is not counted was asked within the second, however long it took.
            assert asked < began + WITHIN
            asked = time.monotonic()
            await verify([worker], caller, 1)
    assert await put_in_shadow(admin, caller, None) is None
    began = time.monotonic()
    for worker in workers:
        asked = time.monotonic()
        while await would_refuse(worker) is not None:
            assert asked < began + WITHIN
            asked = time.monotonic()
    assert (await admin.got(f"agreements/{caller.agreement}"))["shadow"] is None
    # One that is set again has refused nothing yet.
    await put_in_shadow(admin, caller, {"day": 90})
    await asyncio.sleep(KNOWN_EVERYWHERE)
    await verify(workers, caller, 2)
    assert [await would_refuse(worker) for worker in workers] == [0, 0]


async def test_a_shadow_that_becomes_the_limits_refuses_what_it_would_have(
    admin: Admin, workers: list[Connection]
) -> None:
    await clear_of_turn(DAY, seconds=15)
    caller = await admin.caller(limits=LIMITS)
    tried = await put_in_shadow(admin, caller, {"day": 6})
    await asyncio.sleep(KNOWN_EVERYWHERE)
    assert {one.status for one in await verify(workers, caller, 4)} == {200}
    path = f"agreements/{caller.agreement}"
    answer = await admin.ask("PATCH", path, limits=tried, shadow=None)
    assert (answer.json["limits"], answer.json["shadow"]) == (tried, None)
    await asyncio.sleep(KNOWN_EVERYWHERE)
    statuses = [one.status for one in await verify(workers, caller, 4)]
    assert statuses == [200, 200, 429, 429]
