"""Idempotency-Key over HTTP, with two workers: charged once, answered or told why not."""

import asyncio
from collections import Counter
from dataclasses import replace
from itertools import count, cycle
from typing import Any, Final

import pytest

from tests.acceptance import questions
from tests.acceptance.callers import Caller
from tests.acceptance.ledger import Entry, of_institution
from tests.acceptance.questions import UNKNOWN_NIK, Question, nik_of
from tests.acceptance.service import Service
from tests.acceptance.windows import DAY, clear_of_turn
from tests.acceptance.wire import Answer, Connection

pytestmark = [pytest.mark.acceptance]

LIMITS: Final = {"rate": 1, "burst": 60, "day": 50, "month": 90}
_numbers = count(1)


def fresh_key() -> str:
    return f"8e03978e-40d5-43dd-bc93-{next(_numbers):012d}"


def asked(service: Service, caller: Caller, at: int = 0) -> Question:
    resident = service.residents[at]
    claims = questions.true_claims(resident, "name", "birth_date")
    return questions.verify(caller, nik_of(resident), claims)


async def put(
    service: Service, question: Question, key: str, *more: str, pid: int | None = None
) -> Answer:
    """One call with the key; over a connection to one of the workers, if it is named."""
    assert question.caller is not None
    headers = {"Idempotency-Key": key}
    # Another header of that name is another spelling of it.
    headers |= dict(zip(("idempotency-key", "IDEMPOTENCY-KEY"), more, strict=False))
    sent: dict[str, Any] = {
        "key": question.caller.key,
        "json": question.json,
        "headers": headers,
    }
    if pid is None:
        return await service.ask(question.method, question.target, **sent)
    async with service.gateway.connection_to(pid) as connection:
        return await connection.ask(question.method, question.target, **sent)


async def entries(service: Service, caller: Caller) -> list[Entry]:
    return await of_institution(service.auditor_dsn, caller.institution)


def left(answer: Answer) -> list[int]:
    """What is left of the rate, the day and the month."""
    standings = answer.headers["ratelimit"].split(", ")
    return [int(one.split(";")[1].removeprefix("r=")) for one in standings]


async def test_ten_duplicates_at_once_are_charged_once_and_each_answered_or_told_409(
    service: Service,
) -> None:
    caller = service.newcomer()
    question = asked(service, caller)
    for _ in range(5):
        key, before = fresh_key(), await entries(service, caller)
        answers = await asyncio.gather(
            *(put(service, question, key) for _ in range(10))
        )
        statuses = Counter(answer.status for answer in answers)
        assert statuses.keys() <= {200, 409}
        assert statuses[200] >= 1
        for answer in answers:
            if answer.status == 200:
                assert all(answer.json["matches"].values())
            else:
                assert answer.reason == "idempotency-conflict"
                assert 1 <= int(answer.headers["retry-after"]) <= 10
                assert "ratelimit" not in answer.headers
        made = (await entries(service, caller))[len(before) :]
        by_id = {entry["access_id"]: entry for entry in made}
        assert by_id.keys() == {answer.access_id for answer in answers}
        check_one_is_charged(made)


def check_one_is_charged(made: list[Entry]) -> None:
    (first,) = [entry for entry in made if entry["charged"] == 1]
    for entry in made:
        if entry is first:
            assert entry["replay_of"] is None
        elif entry["outcome"] == "refused":
            assert entry["reason"] == "idempotency-conflict"
            assert entry["replay_of"] is None
            assert entry["subject"] == first["subject"]
        else:
            assert entry["replay_of"] == first["access_id"]
            assert (entry["outcome"], entry["charged"]) == ("matched", 0)


async def test_a_replay_by_another_worker_costs_rate_and_no_quota(
    service: Service,
) -> None:
    await clear_of_turn(DAY, seconds=5)
    caller = await service.make_caller(limits=LIMITS)
    question, key = asked(service, caller), fresh_key()
    one, other = service.gateway.workers()
    first = await put(service, question, key, pid=one)
    replay = await put(service, question, key, pid=other)
    again = await put(service, question, f'"{key}"', pid=one)
    plain = await service.put(question)
    assert [answer.status for answer in (first, replay, again, plain)] == [200] * 4
    days = [left(answer)[1:] for answer in (first, replay, again, plain)]
    assert days == [[49, 89], [49, 89], [49, 89], [48, 88]]
    rates = [left(answer)[0] for answer in (first, replay, again, plain)]
    assert rates == sorted(rates, reverse=True)
    assert len(set(rates)) == 4
    made = await entries(service, caller)
    assert [entry["charged"] for entry in made] == [1, 0, 0, 1]
    named = first.access_id
    assert [entry["replay_of"] for entry in made] == [None, named, named, None]


async def test_another_body_is_422_whoever_is_asked_and_names_its_own_entry(
    service: Service,
) -> None:
    caller = service.newcomer()
    question, key = asked(service, caller), fresh_key()
    await put(service, question, key)
    others = [
        asked(service, caller, at=1),
        questions.fetch(caller, str(question.nik), ["name"]),
        replace(question, json={**(question.json or {}), "reference": "loan 4711"}),
    ]
    for pid, other in zip(cycle(service.gateway.workers()), others, strict=False):
        conflict = await put(service, other, key, pid=pid)
        assert (conflict.status, conflict.reason) == (422, "idempotency-conflict")
        assert conflict.json["status"] == 422
        assert conflict.json["access_id"] == conflict.access_id
        assert "retry-after" not in conflict.headers
    made = await entries(service, caller)
    assert [entry["outcome"] for entry in made] == ["matched", *["refused"] * 3]
    assert [entry["charged"] for entry in made] == [1, 0, 0, 0]


async def test_a_fetch_of_nobody_is_charged_once_and_replayed(service: Service) -> None:
    caller = service.newcomer()
    question, key = questions.fetch(caller, UNKNOWN_NIK, ["name"]), fresh_key()
    answers = [await put(service, question, key) for _ in range(3)]
    assert {(answer.status, answer.reason) for answer in answers} == {
        (404, "resident-not-found")
    }
    made = await entries(service, caller)
    assert [entry["outcome"] for entry in made] == ["not_found"] * 3
    assert [entry["charged"] for entry in made] == [1, 0, 0]


async def test_one_institutions_keys_are_nothing_to_another(service: Service) -> None:
    key = fresh_key()
    callers = [service.newcomer(), service.newcomer()]
    for at, caller in enumerate(callers):
        answer = await put(service, asked(service, caller, at), key)
        assert answer.status == 200
        assert [e["charged"] for e in await entries(service, caller)] == [1]


async def test_a_refused_attempt_is_not_remembered(service: Service) -> None:
    caller = service.newcomer()
    question, key = asked(service, caller), fresh_key()
    nik = str(question.nik)
    outside = questions.verify(caller, nik, {"religion": "ISLAM"})
    malformed = replace(question, json={**(question.json or {}), "nik": "1"})
    for refused, status in ((outside, 403), (malformed, 400)):
        assert (await put(service, refused, key)).status == status
    assert (await put(service, question, key)).status == 200
    charged = [entry["charged"] for entry in await entries(service, caller)]
    assert charged == [0, 0, 1]


@pytest.mark.parametrize("key", ["", "x" * 65, '"open', "two words", "kunci-é"])
async def test_a_key_that_is_none_is_told_among_all_other_faults(
    service: Service, key: str
) -> None:
    question = asked(service, service.newcomer())
    malformed = replace(question, json={**(question.json or {}), "nik": "1"})
    answer = await put(service, malformed, key)
    assert (answer.status, answer.reason) == (400, "invalid-request")
    pointers = [fault["pointer"] for fault in answer.json["errors"]]
    assert pointers == ["/nik", "/headers/idempotency-key"]
    assert not key or key.encode() not in answer.body


async def test_two_keys_are_none(service: Service) -> None:
    answer = await put(service, asked(service, service.newcomer()), "a", "b")
    assert (answer.status, answer.reason) == (400, "invalid-request")


@pytest.mark.parametrize("key", ["x" * 64, "~!*", '"quoted"'])
async def test_a_key_has_one_to_64_visible_characters(
    service: Service, key: str
) -> None:
    caller = service.newcomer()
    assert (await put(service, asked(service, caller), key)).status == 200
    assert (await put(service, asked(service, caller), key)).status == 200
    charged = [entry["charged"] for entry in await entries(service, caller)]
    assert charged == [1, 0]


async def test_where_nothing_is_charged_a_key_is_ignored(service: Service) -> None:
    caller = service.newcomer()
    async with Connection.opened(service.gateway.port) as connection:
        for key in ("", "k", "k", "x" * 65):
            answer = await connection.ask(
                "GET", "/v1/account", key=caller.key, headers={"Idempotency-Key": key}
            )
            assert answer.status == 200
