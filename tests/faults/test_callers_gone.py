"""Callers who hang up: their calls are entered, and charged, as if they had stayed."""

import asyncio
import json
from collections import Counter
from random import Random
from typing import Final

import pytest

from tests.acceptance import questions
from tests.acceptance.callers import Caller
from tests.acceptance.ledger import of_institution
from tests.acceptance.metrics import metric
from tests.acceptance.questions import nik_of
from tests.acceptance.service import Service
from tests.acceptance.wire import HERE

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("whole")]

CALLS: Final = 300
LONGEST_STAY: Final = 0.02
SETTLED: Final = 1.0


async def send_and_hang_up(
    service: Service, caller: Caller, body: bytes, *, declared: int, stay: float
) -> None:
    head = (
        "POST /v1/fetch HTTP/1.1\r\nHost: gateway\r\n"
        f"Authorization: Bearer {caller.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {declared}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection(HERE, service.gateway.port)
    writer.write(head.encode() + body)
    await writer.drain()
    await asyncio.sleep(stay)
    writer.transport.abort()


async def day_used(service: Service, caller: Caller) -> int:
    account = await service.put(questions.account(caller))
    day = account.json["limits"][1]
    used: int = day["quota"] - day["remaining"]
    return used


async def test_the_charge_and_the_entry_of_a_caller_who_hung_up_agree(
    service: Service,
) -> None:
    caller = service.newcomer()
    chance = Random(17)  # noqa: S311 - nothing here is secret
    nik = nik_of(service.residents[9])
    async with asyncio.TaskGroup() as tasks:
        for number in range(CALLS):
            question = questions.fetch(caller, nik, ["name"], reference=f"no-{number}")
            body = json.dumps(question.json).encode()
            stay = chance.uniform(0, LONGEST_STAY)
            tasks.create_task(
                send_and_hang_up(service, caller, body, declared=len(body), stay=stay)
            )
    await asyncio.sleep(SETTLED)
    entered = await of_institution(service.auditor_dsn, caller.institution)
    times = Counter(entry["reference"] for entry in entered if entry["reference"])
    assert set(times.values()) == {1}
    outcomes = Counter(entry["outcome"] for entry in entered)
    assert set(outcomes) <= {"disclosed", "failed"}
    assert outcomes["disclosed"] > 0
    assert await day_used(service, caller) == outcomes["disclosed"]


async def test_a_call_given_up_before_its_question_was_whole_is_entered_as_failed(
    service: Service,
) -> None:
    caller = service.newcomer()
    await send_and_hang_up(service, caller, b'{"nik": ', declared=200, stay=0.1)
    await asyncio.sleep(SETTLED)
    entered = await of_institution(service.auditor_dsn, caller.institution)
    told = [(one["outcome"], one["reason"], one["charged"]) for one in entered]
    assert told == [("failed", None, 0)]
    labels = {"operation": "fetch", "outcome": "failed"}
    # No fault of ours, by which alerts count.
    assert await metric(service, "gateway_calls_total", **labels, reason="") == 1
    assert await day_used(service, caller) == 0
