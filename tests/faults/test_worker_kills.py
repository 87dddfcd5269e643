"""kill -9 of a worker: every answer a client received has its entry, and one only."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Final

import pytest

from gateway.partners import keys
from tests.acceptance import questions
from tests.acceptance.callers import Caller
from tests.acceptance.ledger import Entry, differences, entries
from tests.acceptance.questions import UNKNOWN_NIK, Question, nik_of
from tests.acceptance.service import WORKERS, Service
from tests.faults.load import Load, under_load

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("whole")]

CALLS: Final = 20_000
CALLERS: Final = 64
KILL_AT: Final = (4_000, 9_000, 14_000)
BACK_SECONDS: Final = 3.0
# What a killed worker may have counted and not yet entered.
FLOOD_SECONDS: Final = 1.0
FLOODS: Final = frozenset({"unauthenticated", "invalid-request", "quota-exceeded"})


class Mixture:
    """Calls of every kind, each with a reference of its own where it can have one."""

    def __init__(self, service: Service) -> None:
        self._chance = Random(1945)  # noqa: S311 - nothing here is secret
        self._residents = service.residents
        self._bulk, self._tight = service.sample("bulk"), service.sample("tight")
        self._stumbler = service.newcomer()
        self._outsiders = [service.newcomer() for _ in range(20)]
        self._forger = _forged(service.newcomer())
        self._made = 0
        kinds: list[tuple[int, Callable[[str, str], Question]]] = [
            (36, self._true),
            (10, self._false),
            (14, self._fetched),
            (5, self._unknown_verified),
            (5, self._unknown_fetched),
            (8, lambda *_: questions.account(self._bulk)),
            (4, lambda nik, mark: self._of(None, nik, mark)),
            (3, lambda nik, mark: self._of(self._forger, nik, mark)),
            (7, self._outside),
            (5, self._malformed),
            (3, self._limited),
        ]
        self._weights, self._kinds = zip(*kinds, strict=True)

    def __call__(self) -> Question:
        self._made += 1
        (kind,) = self._chance.choices(self._kinds, self._weights)
        made: Question = kind(
            nik_of(self._chance.choice(self._residents)), f"call-{self._made}"
        )
        return made

    def _true(self, _: str, mark: str) -> Question:
        resident = self._chance.choice(self._residents)
        claims = questions.true_claims(resident, "name", "birth_date")
        return questions.verify(self._bulk, nik_of(resident), claims, reference=mark)

    def _of(self, caller: Caller | None, nik: str, mark: str) -> Question:
        claims = {"birth_date": "1801-01-01"}
        return questions.verify(caller, nik, claims, reference=mark)

    def _false(self, nik: str, mark: str) -> Question:
        return self._of(self._bulk, nik, mark)

    def _fetched(self, nik: str, mark: str) -> Question:
        return questions.fetch(self._bulk, nik, ["name", "village"], reference=mark)

    def _unknown_verified(self, _: str, mark: str) -> Question:
        return self._of(self._bulk, UNKNOWN_NIK, mark)

    def _unknown_fetched(self, _: str, mark: str) -> Question:
        return self._fetched(UNKNOWN_NIK, mark)

    def _outside(self, nik: str, mark: str) -> Question:
        outsider = self._chance.choice(self._outsiders)
        return questions.fetch(outsider, nik, ["name", "religion"], reference=mark)

    def _malformed(self, nik: str, mark: str) -> Question:
        whole = self._of(self._stumbler, nik, mark)
        assert whole.json is not None
        return replace(whole, json={**whole.json, "nik": nik[:9]}, nik=None)

    def _limited(self, nik: str, mark: str) -> Question:
        claims = {"birth_date": "1801-01-01"}
        return questions.verify(self._tight, nik, claims, purpose="kyc", reference=mark)


def _forged(caller: Caller) -> Caller:
    """The id of a key that is there, with another secret and a good checksum."""
    body = caller.key[:17] + "0" * keys.SECRET_LENGTH
    return replace(caller, key=body + keys.checksum(body))


@dataclass(frozen=True, slots=True)
class Kill:
    at: float
    in_flight: int


async def kill_and_see_it_back(service: Service, load: Load, at_call: int) -> Kill:
    await load.reach(at_call)
    before = service.gateway.workers()
    assert len(before) == WORKERS
    kill = Kill(time.monotonic(), load.in_flight)
    os.kill(max(before), signal.SIGKILL)
    while not (fresh := service.gateway.workers() - before):
        assert time.monotonic() < kill.at + BACK_SECONDS, "no worker came instead"
        await asyncio.sleep(0.02)
    gateway = service.gateway
    async with gateway.connection_to(fresh.pop(), within=BACK_SECONDS) as connection:
        assert (await connection.ask("GET", "/health/live")).status == 200
    assert time.monotonic() - kill.at <= BACK_SECONDS
    return kill


async def test_every_answer_has_exactly_one_matching_entry_through_three_worker_kills(
    service: Service,
) -> None:
    mixture = Mixture(service)
    async with under_load(service, mixture, callers=CALLERS, most=CALLS) as load:
        kills = [
            await kill_and_see_it_back(service, load, at_call) for at_call in KILL_AT
        ]
        assert load.asked < CALLS, "the last kill came after the load"
    await asyncio.sleep(FLOOD_SECONDS)
    entered = await entries(service.auditor_dsn)
    assert len(load.answered) + len(load.lost) == load.asked >= CALLS
    check_answers(service, load, entered)
    check_nothing_twice(entered)
    check_unanswered(load, entered, kills)
    check_floods(load, entered, kills)
    await check_charges(service, load, entered)


def check_answers(service: Service, load: Load, entered: list[Entry]) -> None:
    by_id = {entry["access_id"]: entry for entry in entered}
    numbered = [one for one in load.answered if one.answer.access_id is not None]
    assert {one.answer.status for one in numbered} == {200, 400, 401, 403, 404, 429}
    for one in numbered:
        assert one.answer.access_id in by_id, f"no entry for {one.answer}"
        expected = questions.entry_of(one.question, one.answer, service.subjects)
        assert not differences(expected, by_id[one.answer.access_id])
    for one in load.answered:
        assert one.answer.access_id is not None or one.answer.reason in FLOODS


def check_nothing_twice(entered: list[Entry]) -> None:
    for member in ("access_id", "reference"):
        times = Counter(entry[member] for entry in entered if entry[member])
        assert not [value for value, count in times.items() if count > 1]


def check_unanswered(load: Load, entered: list[Entry], kills: list[Kill]) -> None:
    answered = {one.answer.access_id for one in load.answered}
    unanswered = [
        entry
        for entry in entered
        if entry["access_id"] not in answered and entry["reason"] not in FLOODS
    ]
    assert len(unanswered) <= sum(kill.in_flight for kill in kills)
    lost = Counter(question.reference for question in load.lost)
    found = Counter(entry["reference"] for entry in unanswered)
    assert not found - lost, "entries that nobody asked for"


def check_floods(load: Load, entered: list[Entry], kills: list[Kill]) -> None:
    for reason in FLOODS:
        refused = [one for one in load.answered if one.answer.reason == reason]
        assert any(one.answer.access_id is None for one in refused)
        losable = [
            one
            for one in refused
            if one.answer.access_id is None
            and any(k.at - FLOOD_SECONDS <= one.until <= k.at + 0.1 for k in kills)
        ]
        counted = sum(entry["count"] for entry in entered if entry["reason"] == reason)
        assert counted >= len(refused) - len(losable), reason
        assert counted <= len(refused) + len(load.lost), reason


async def check_charges(service: Service, load: Load, entered: list[Entry]) -> None:
    """What is charged is entered, but for what a killed worker had not entered yet."""
    bulk = service.sample("bulk")
    day = (await service.put(questions.account(bulk))).json["limits"][1]
    charged = sum(
        entry["charged"]
        for entry in entered
        if entry["institution"] == bulk.institution
    )
    used = day["quota"] - day["remaining"]
    assert charged <= used <= charged + len(load.lost)
