"""What an admin changes over HTTP counts on every worker within a second, exactly."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Final

import pytest

from tests.acceptance import questions
from tests.acceptance.admins import Admin
from tests.acceptance.callers import PLENTY, TREATMENT, Caller
from tests.acceptance.questions import UNKNOWN_NIK, Question
from tests.acceptance.service import KNOWN_EVERYWHERE, WORKERS, Service
from tests.acceptance.windows import DAY, clear_of_turn
from tests.acceptance.wire import Connection

pytestmark = [pytest.mark.acceptance]

WITHIN: Final = 1.0
MOST_ASKED: Final = 60


@pytest.fixture
async def workers(service: Service) -> AsyncIterator[list[Connection]]:
    """A connection to each worker."""
    first, second = service.gateway.workers()
    async with (
        service.gateway.connection_to(first) as to_first,
        service.gateway.connection_to(second) as to_second,
    ):
        yield [to_first, to_second]


def asked(caller: Caller) -> Question:
    return questions.verify(caller, UNKNOWN_NIK, {"name": "A"}, purpose="kyc")


async def each_answers(
    workers: list[Connection], question: Question, status: int
) -> None:
    """Every worker answers so, within a second of now, and goes on to."""
    began = time.monotonic()
    for connection in workers:
        while (await question.put(connection)).status != status:
            assert time.monotonic() < began + WITHIN
    for connection in workers:
        assert (await question.put(connection)).status == status


async def change(admin: Admin, caller: Caller, **terms: object) -> None:
    answer = await admin.ask("PATCH", f"agreements/{caller.agreement}", **terms)
    assert answer.status == 200, answer.body


async def admitted(workers: list[Connection], caller: Caller) -> int:
    """How many calls get in, over all workers at once, until each says no."""
    statuses: list[int] = []

    async def exhaust(connection: Connection) -> None:
        for _ in range(MOST_ASKED):
            statuses.append((await asked(caller).put(connection)).status)
            if statuses[-1] == 429:
                return

    await asyncio.gather(*map(exhaust, workers))
    assert set(statuses) <= {200, 429}
    assert statuses.count(429) == WORKERS
    return statuses.count(200)


async def test_a_new_key_is_known_and_a_revoked_one_dead_within_a_second(
    admin: Admin, workers: list[Connection]
) -> None:
    caller = await admin.caller()
    await each_answers(workers, asked(caller), 200)
    second = await admin.made("keys", institution=caller.institution)
    other = Caller(caller.institution, caller.agreement, second["id"], second["key"])
    await each_answers(workers, asked(other), 200)
    assert (await admin.ask("DELETE", f"keys/{caller.key_id}")).status == 204
    await each_answers(workers, asked(caller), 401)
    await each_answers(workers, asked(other), 200)


async def test_a_bound_key_is_refused_without_its_certificate_within_a_second(
    admin: Admin, workers: list[Connection]
) -> None:
    caller = await admin.caller()
    await each_answers(workers, asked(caller), 200)
    bound = []
    for digit in "ab":
        terms = {"fingerprint": digit * 64, "not_after": "2100-01-01T00:00:00Z"}
        wanted = {"institution": caller.institution, "label": "core banking", **terms}
        bound.append((await admin.made("certificates", **wanted))["id"])
        # These connections have none.
        await each_answers(workers, asked(caller), 401)
    first, last = bound
    assert (await admin.ask("DELETE", f"certificates/{first}")).status == 204
    await each_answers(workers, asked(caller), 401)
    assert (await admin.ask("DELETE", f"certificates/{last}")).status == 204
    await each_answers(workers, asked(caller), 200)


async def test_a_token_of_staff_is_known_and_dead_within_a_second(
    admin: Admin, workers: list[Connection]
) -> None:
    made = await admin.made("staff", role="auditor", name="Wayan")

    async def each(status: int) -> None:
        began = time.monotonic()
        for connection in workers:
            target = "/audit/entries?reason=checking&limit=1"
            while True:
                answer = await connection.ask("GET", target, key=made["token"])
                if answer.status == status:
                    break
                assert time.monotonic() < began + WITHIN

    await each(200)
    assert (await admin.ask("DELETE", f"staff/{made['id']}")).status == 204
    await each(401)


async def test_a_suspended_agreement_is_inactive_until_it_is_restored(
    admin: Admin, workers: list[Connection]
) -> None:
    caller = await admin.caller()
    await each_answers(workers, asked(caller), 200)
    await change(admin, caller, status="suspended")
    await each_answers(workers, asked(caller), 403)
    await change(admin, caller, status="active")
    await each_answers(workers, asked(caller), 200)
    await change(admin, caller, grants=[dict(TREATMENT)])
    await each_answers(workers, asked(caller), 403)
    await change(admin, caller, to="2026-01-02T00:00:00Z")
    await each_answers(workers, asked(caller), 403)


@pytest.mark.parametrize("window", ["day", "month"])
async def test_a_raised_limit_admits_exactly_the_rest_and_a_lowered_one_no_more(
    admin: Admin, workers: list[Connection], window: str
) -> None:
    await clear_of_turn(DAY, seconds=15)
    caller = await admin.caller(limits={**PLENTY, window: 10})
    await each_answers(workers, questions.account(caller), 200)
    assert await admitted(workers, caller) == 10
    for limit, more in ((20, 10), (5, 0), (20, 0), (23, 3)):
        await change(admin, caller, limits={window: limit})
        await asyncio.sleep(KNOWN_EVERYWHERE)
        assert await admitted(workers, caller) == more


async def test_a_raised_limit_is_raised_while_calls_go_on(
    admin: Admin, workers: list[Connection]
) -> None:
    await clear_of_turn(DAY, seconds=15)
    caller = await admin.caller(limits={**PLENTY, "day": 10})
    await each_answers(workers, questions.account(caller), 200)
    assert await admitted(workers, caller) == 10
    statuses: list[int] = []
    known = asyncio.Event()

    async def go_on(connection: Connection) -> None:
        while not (known.is_set() and statuses[-1:] == [429]):
            statuses.append((await asked(caller).put(connection)).status)
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as tasks:
        for connection in workers:
            tasks.create_task(go_on(connection))
        await change(admin, caller, limits={"day": 20})
        await asyncio.sleep(KNOWN_EVERYWHERE)
        known.set()
    assert statuses.count(200) == 10
    assert set(statuses) == {200, 429}
