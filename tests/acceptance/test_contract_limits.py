"""Limits hold over all workers, and what is said about them is true."""

import asyncio
import re
from collections import Counter
from typing import Any, Final

import pytest

from gateway.partners import keeping
from tests.acceptance import questions
from tests.acceptance.callers import PLENTY, Caller
from tests.acceptance.ledger import of_institution
from tests.acceptance.questions import UNKNOWN_NIK, Question, nik_of
from tests.acceptance.service import KNOWN_EVERYWHERE, Service
from tests.acceptance.windows import DAY, MINUTE, clear_of_turn, seconds_left
from tests.acceptance.wire import Answer, Connection

pytestmark = [pytest.mark.acceptance]

QUOTA_EXCEEDED: Final = "https://iana.org/assignments/http-problem-types#quota-exceeded"
STANDING: Final = re.compile(
    r'"rate";r=(\d+);t=(\d+), "day";r=(\d+);t=(\d+), "month";r=(\d+);t=(\d+)'
)
REFUSALS_A_MINUTE: Final = 120
BURSTS: Final = 3


def standing(answer: Answer) -> list[int]:
    """What is left (r) and until when (t) of the rate, the day and the month."""
    said = STANDING.fullmatch(answer.headers["ratelimit"])
    assert said, answer.headers["ratelimit"]
    return [int(number) for number in said.groups()]


def cheap(caller: Caller, service: Service) -> Question:
    nik = nik_of(service.residents[0])
    return questions.verify(caller, nik, {"name": "A"}, purpose="kyc")


async def test_the_policies_of_the_bank_are_told_word_for_word(
    service: Service,
) -> None:
    bank = service.sample("bank")
    answer = await service.put(cheap(bank, service))
    assert answer.headers["ratelimit-policy"] == (
        '"rate";q=200;w=1, "day";q=100000;w=86400, "month";q=2000000;w=2592000'
    )


async def test_what_is_left_is_told_after_each_call_that_reached_admission(
    service: Service,
) -> None:
    await clear_of_turn(DAY, seconds=5)
    limits = {"rate": 1, "burst": 3, "day": 10, "month": 20}
    caller = await service.make_caller(limits=limits)
    found = await service.put(cheap(caller, service))
    not_found = await service.put(questions.fetch(caller, UNKNOWN_NIK, ["name"]))
    account = await service.put(questions.account(caller))
    refused = await service.put(cheap(caller, service))
    statuses = [one.status for one in (found, not_found, account, refused)]
    assert statuses == [200, 404, 200, 429]
    for answer, left in (
        (found, [2, 9, 19]),
        (not_found, [1, 8, 18]),
        (account, [0, 8, 18]),
        (refused, [0, 8, 18]),
    ):
        said = standing(answer)
        assert said[0::2] == left
        assert abs(said[3] - seconds_left(DAY)) <= 2
        assert said[5] >= said[3]
        assert answer.headers["ratelimit-policy"] == (
            '"rate";q=1;w=1, "day";q=10;w=86400, "month";q=20;w=2592000'
        )


async def test_no_limits_are_told_before_admission(service: Service) -> None:
    caller = service.newcomer()
    nik = nik_of(service.residents[0])
    refused = [
        await service.put(questions.account(None), source="127.0.4.30"),
        await service.put(questions.verify(caller, "1", {"name": "A"})),
        await service.put(questions.fetch(caller, nik, ["religion"])),
    ]
    assert [answer.status for answer in refused] == [401, 400, 403]
    for answer in refused:
        assert not {"ratelimit", "ratelimit-policy"} & answer.headers.keys()


async def test_a_caller_who_waits_as_told_is_admitted(service: Service) -> None:
    tight = service.sample("tight")
    async with Connection.opened(service.gateway.port) as connection:
        answers = [await cheap(tight, service).put(connection) for _ in range(8)]
        refused = answers[-1]
        assert Counter(one.status for one in answers[:5]) == {200: 5}
        assert refused.status == 429
        assert refused.json["type"] == QUOTA_EXCEEDED
        assert refused.json["violated-policies"] == ["rate"]
        assert refused.headers["retry-after"] == "1"
        await asyncio.sleep(int(refused.headers["retry-after"]))
        assert (await cheap(tight, service).put(connection)).status == 200


async def test_retry_after_is_that_of_the_latest_violated_policy(
    service: Service,
) -> None:
    await clear_of_turn(DAY, seconds=5)
    limits = {"rate": 1, "burst": 1, "day": 1, "month": 5}
    caller = await service.make_caller(limits=limits)
    assert (await service.put(cheap(caller, service))).status == 200
    refused = await service.put(cheap(caller, service))
    assert refused.status == 429
    assert refused.json["violated-policies"] == ["rate", "day"]
    assert abs(int(refused.headers["retry-after"]) - seconds_left(DAY)) <= 2


async def decided_thousand(service: Service) -> tuple[Caller, list[Answer]]:
    """A thousand calls at once against a day of 100, all of them decided.

    On a machine too busy to ask Redis in time some are told so, with 503, and the fate
    of their units is unknown: then another thousand, of another institution, decide.
    """
    for _ in range(BURSTS):
        caller = await service.make_caller(limits={**PLENTY, "day": 100})
        question = cheap(caller, service)
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(service.put(question)) for _ in range(1000)]
        answers = [call.result() for call in calls]
        statuses = Counter(one.status for one in answers)
        assert statuses[200] <= 100
        if not statuses[503]:
            return caller, answers
    raise AssertionError("some of every thousand were not decided")


async def test_a_thousand_parallel_calls_against_a_day_limit_of_100_admit_exactly_100(
    service: Service,
) -> None:
    await clear_of_turn(DAY, seconds=30)
    caller, answers = await decided_thousand(service)
    assert Counter(one.status for one in answers) == {200: 100, 429: 900}
    left = sorted(standing(one)[2] for one in answers if one.status == 200)
    assert left == list(range(100))
    violated = [one.json["violated-policies"] for one in answers if one.reason]
    assert violated == [["day"]] * 900
    await asyncio.sleep(1)
    entered = await of_institution(service.auditor_dsn, caller.institution)
    assert sum(entry["charged"] for entry in entered) == 100
    refused = [entry for entry in entered if entry["reason"] == "quota-exceeded"]
    assert sum(entry["count"] for entry in refused) == 900


async def test_a_day_raised_from_10_to_20_after_10_allows_exactly_10_more(
    service: Service,
) -> None:
    await clear_of_turn(DAY, seconds=10)
    caller = await service.make_caller(limits={**PLENTY, "day": 10})

    async def statuses(calls: int) -> Counter[int]:
        question = cheap(caller, service)
        return Counter([(await service.put(question)).status for _ in range(calls)])

    assert await statuses(12) == {200: 10, 429: 2}
    async with service.admin() as admin:
        changed: dict[str, Any] = {"limits": {"day": 20}}
        await keeping.change_agreement(admin, caller.agreement, **changed)
    await asyncio.sleep(KNOWN_EVERYWHERE)
    assert await statuses(25) == {200: 10, 429: 15}


async def collect_refusals(service: Service, caller: Caller) -> list[Answer]:
    """One more refusal that names a subject than a key may collect in a minute."""
    nik = nik_of(service.residents[1])
    question = questions.fetch(caller, nik, ["religion"])
    async with Connection.opened(service.gateway.port) as connection:
        return [await question.put(connection) for _ in range(REFUSALS_A_MINUTE + 1)]


async def test_a_key_with_over_120_refusals_that_name_a_subject_is_refused_for_the_minute(
    service: Service,
) -> None:
    caller, other = service.newcomer(), service.newcomer()
    await clear_of_turn(MINUTE, seconds=15)
    *refused, last = await collect_refusals(service, caller)
    assert {one.reason for one in refused} == {"not-granted"}
    assert len({one.access_id for one in refused}) == REFUSALS_A_MINUTE
    lawful = await service.put(cheap(caller, service))
    for answer in (last, lawful):
        assert (answer.status, answer.reason) == (429, "quota-exceeded")
        wait = int(answer.headers["retry-after"])
        assert 0 <= wait - seconds_left(MINUTE) <= 2
    assert standing(lawful)[2] == PLENTY["day"]
    assert (await service.put(cheap(other, service))).status == 200
    entered = await of_institution(service.auditor_dsn, caller.institution)
    named = [entry for entry in entered if entry["reason"] == "not-granted"]
    assert [entry["count"] for entry in named] == [1] * REFUSALS_A_MINUTE
    assert all(entry["subject"] for entry in named)


@pytest.mark.slow
async def test_a_key_refused_for_its_refusals_is_admitted_once_the_minute_is_over(
    service: Service,
) -> None:
    caller = service.newcomer()
    await clear_of_turn(MINUTE, seconds=15)
    last = (await collect_refusals(service, caller))[-1]
    assert last.status == 429
    await asyncio.sleep(int(last.headers["retry-after"]))
    assert (await service.put(cheap(caller, service))).status == 200
