"""One call, whole, on real servers: exactly one entry, charged where it says so."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.audit.entry import place_of
from gateway.calls import Call, Question
from gateway.clock import SECOND, from_datetime
from gateway.lookup import Lookups
from gateway.postgres import Connection
from gateway.problems import (
    AddressNotAllowed,
    AgreementInactive,
    AuditUnavailable,
    Forbidden,
    InvalidRequest,
    NotGranted,
    Problem,
    QuotaExceeded,
    ReducedCapacity,
    RegistryUnavailable,
    ResidentNotFound,
    Unauthenticated,
)
from gateway.redis import open_server
from gateway.vocabulary import Actor, Outcome, Reason
from tests.conftest import Database
from tests.integration.cancelling import Work, suspensions
from tests.integration.desks import (
    CLAIMS,
    LIMITS,
    NOBODY,
    Desk,
    Prepare,
    a_faulty_body,
    a_field_not_granted,
    a_foreign_address,
    a_future_agreement,
    a_revoked_key,
    a_staff_token,
    a_suspended_agreement,
    a_wrong_secret,
    an_ended_agreement,
    an_operation_not_granted,
    another_purpose,
    new_key,
    no_key,
    now,
    opened_desk,
)

pytestmark = pytest.mark.integration

LOCK = "LOCK TABLE batches IN ACCESS EXCLUSIVE MODE"


@pytest.fixture
async def desk(
    database: Database, redis: Redis, admin: Connection, superuser: Connection
) -> AsyncIterator[Desk]:
    async with opened_desk(database, admin, superuser, redis) as one:
        await one.lookups.directory.refresh()
        yield one


async def test_a_verify_is_answered_entered_and_charged(desk: Desk) -> None:
    call = desk.call()
    assert await desk.lookups.verify(call) == {"name": True, "birth_date": True}
    row = await desk.entry()
    assert place_of(str(call.access.access_id)) == (row["batch"], row["position"])
    assert (row["outcome"], row["reason"]) == (Outcome.MATCHED, None)
    assert (row["reference"], row["operator"]) == ("INV-7", "Budi")
    assert (row["institution"], row["actor"]) == (desk.institution, Actor.INSTITUTION)
    assert call.decision is not None
    assert from_datetime(row["at"]) == call.decision.at
    await desk.accounted(charged=1)


async def test_one_claim_that_is_not_so_makes_a_mismatch(desk: Desk) -> None:
    desk.question.claims = CLAIMS | {"birth_date": "1990-01-06"}
    answer = await desk.lookups.verify(desk.call())
    assert answer == {"name": True, "birth_date": False}
    assert (await desk.entry())["outcome"] == Outcome.MISMATCHED
    await desk.accounted(charged=1)


async def test_a_verify_of_nobody_is_an_answer_and_charged(desk: Desk) -> None:
    desk.question.nik = NOBODY
    assert await desk.lookups.verify(desk.call()) is None
    row = await desk.entry()
    assert (row["outcome"], row["reason"]) == (Outcome.NOT_FOUND, None)
    await desk.accounted(charged=1)


async def test_a_fetch_discloses_what_was_asked_and_nothing_else(desk: Desk) -> None:
    disclosed = {"name": "SITI AMINAH", "birth_date": "1990-01-05"}
    assert await desk.lookups.fetch(desk.call()) == disclosed
    assert (await desk.entry())["outcome"] == Outcome.DISCLOSED
    await desk.accounted(charged=1)


async def test_a_fetch_of_nobody_is_charged(desk: Desk) -> None:
    desk.question.nik = NOBODY
    with pytest.raises(ResidentNotFound):
        await desk.lookups.fetch(desk.call())
    row = await desk.entry()
    assert row["outcome"] == Outcome.NOT_FOUND
    assert row["reason"] == Reason.RESIDENT_NOT_FOUND
    await desk.accounted(charged=1)


async def test_an_account_costs_rate_and_no_quota_and_is_an_entry(desk: Desk) -> None:
    desk.question = Question()
    account = await desk.lookups.account(desk.call())
    assert account.institution.id == desk.institution
    assert [one.remaining for one in account.decision.standings] == [999, 1000, 10_000]
    assert (await desk.entry())["outcome"] == Outcome.DONE
    await desk.accounted(charged=0)


async def test_no_answer_is_released_before_its_entry_is_durable(desk: Desk) -> None:
    await desk.lookups.verify(desk.call())
    async with asyncio.TaskGroup() as tasks, desk.superuser.transaction():
        await desk.superuser.execute(LOCK)
        answer = tasks.create_task(desk.lookups.verify(desk.call()))
        await asyncio.sleep(0.3)
        assert not answer.done()
    assert answer.result() == {"name": True, "birth_date": True}


REFUSALS: list[tuple[Prepare, type[Problem], Reason]] = [
    (no_key, Unauthenticated, Reason.UNAUTHENTICATED),
    (a_wrong_secret, Unauthenticated, Reason.UNAUTHENTICATED),
    (a_revoked_key, Unauthenticated, Reason.UNAUTHENTICATED),
    (a_staff_token, Forbidden, Reason.FORBIDDEN),
    (a_foreign_address, AddressNotAllowed, Reason.ADDRESS_NOT_ALLOWED),
    (a_faulty_body, InvalidRequest, Reason.INVALID_REQUEST),
    (a_suspended_agreement, AgreementInactive, Reason.AGREEMENT_INACTIVE),
    (an_ended_agreement, AgreementInactive, Reason.AGREEMENT_INACTIVE),
    (a_future_agreement, AgreementInactive, Reason.AGREEMENT_INACTIVE),
    (another_purpose, NotGranted, Reason.NOT_GRANTED),
    (an_operation_not_granted, NotGranted, Reason.NOT_GRANTED),
    (a_field_not_granted, NotGranted, Reason.NOT_GRANTED),
]
BEFORE_THE_BODY = {
    Reason.UNAUTHENTICATED,
    Reason.FORBIDDEN,
    Reason.ADDRESS_NOT_ALLOWED,
}
NO_INSTITUTION = {no_key, a_wrong_secret, a_revoked_key, a_staff_token}


@pytest.mark.parametrize(
    ("prepare", "problem", "reason"),
    REFUSALS,
    ids=[one[0].__name__ for one in REFUSALS],
)
async def test_a_refusal_is_one_entry_and_charges_nothing(
    desk: Desk,
    admin: Connection,
    prepare: Prepare,
    problem: type[Problem],
    reason: Reason,
) -> None:
    call = desk.call(**await prepare(desk, admin))
    with pytest.raises(problem):
        await desk.lookups.verify(call)
    row = await desk.entry()
    assert (row["outcome"], row["reason"]) == (Outcome.REFUSED, reason)
    body_was_read = reason not in BEFORE_THE_BODY
    assert (row["subject"] is not None) == body_was_read
    assert (row["reference"] is not None) == body_was_read
    assert (row["institution"] is None) == (prepare in NO_INSTITUTION)
    assert (row["key"] is None) == (prepare is no_key)
    await desk.accounted(charged=0)


@pytest.mark.parametrize(
    ("prepare", "problem"),
    [(a_wrong_secret, Unauthenticated), (a_staff_token, Forbidden)],
    ids=["wrong-secret", "staff"],
)
@pytest.mark.parametrize("work", [Lookups.fetch, Lookups.account])
async def test_every_route_refuses_a_caller_alike(
    desk: Desk, admin: Connection, prepare: Prepare, problem: type[Problem], work: Work
) -> None:
    call = desk.call(**await prepare(desk, admin))
    with pytest.raises(problem):
        await work(desk.lookups, call)
    await desk.accounted(charged=0)


async def test_the_first_check_that_fails_answers(
    desk: Desk, admin: Connection
) -> None:
    call = await a_foreign_address(desk, admin)
    await a_faulty_body(desk, admin)
    await a_suspended_agreement(desk, admin)
    await desk.agree(admin, limits=LIMITS | {"day": 1, "burst": 1})
    desk.question.purpose = "treatment"
    wrong = call | {"credential": (await a_wrong_secret(desk, admin))["credential"]}
    await fails(desk, Unauthenticated, **wrong)
    await fails(desk, AddressNotAllowed, **call)
    await fails(desk, InvalidRequest)
    desk.question.faults = []
    await fails(desk, AgreementInactive)
    await desk.agree(admin, status="active")
    await fails(desk, NotGranted)
    assert await desk.used() == (0, 0)
    desk.question.purpose = "kyc"
    await desk.lookups.verify(desk.call())
    await fails(desk, QuotaExceeded)
    assert await desk.superuser.fetchval("SELECT count(*) FROM entries") == 7


async def fails(desk: Desk, problem: type[Problem], **changes: Any) -> Call[Question]:
    call = desk.call(**changes)
    with pytest.raises(problem):
        await desk.lookups.verify(call)
    return call


async def test_a_call_over_a_limit_is_refused_at_the_instant_of_admission(
    desk: Desk, admin: Connection
) -> None:
    await desk.agree(admin, limits={"day": 1})
    await desk.lookups.verify(desk.call())
    call = await fails(desk, QuotaExceeded)
    rows = await desk.superuser.fetch("SELECT * FROM readable_entries ORDER BY at")
    assert rows[1]["reason"] == Reason.QUOTA_EXCEEDED
    assert rows[1]["subject"] == rows[0]["subject"]
    assert call.decision is not None
    assert from_datetime(rows[1]["at"]) == call.decision.at
    assert await desk.used() == (1, 1)


async def test_a_key_that_collects_over_120_refusals_a_minute_is_refused_all(
    desk: Desk,
) -> None:
    if now() // SECOND % 60 >= 50:
        await asyncio.sleep(60 - now() // SECOND % 60)
        await desk.lookups.directory.refresh()
    desk.question.purpose = "treatment"
    for _ in range(120):
        await fails(desk, NotGranted)
    await fails(desk, QuotaExceeded)
    desk.question.purpose = "kyc"
    await fails(desk, QuotaExceeded)
    assert await desk.superuser.fetchval("SELECT count(*) FROM entries") == 122
    assert await desk.used() == (0, 0)


@pytest.mark.parametrize("last", [0, 10**9], ids=["once", "again-and-again"])
@pytest.mark.parametrize("work", [Lookups.verify, Lookups.fetch, Lookups.account])
async def test_a_call_cancelled_at_any_await_leaves_one_entry_that_says_what_it_cost(
    desk: Desk, work: Work, last: int
) -> None:
    await suspensions(desk, work, 0, 0)
    steps = len(await suspensions(desk, work, 0, 0))
    assert steps >= 3
    for step in range(1, steps + 1):
        used = await desk.used()
        entries = await desk.superuser.fetchval("SELECT count(*) FROM entries")
        await suspensions(desk, work, step, last or step)
        rows = await desk.superuser.fetch(
            "SELECT outcome FROM readable_entries ORDER BY at, batch"
        )
        assert len(rows) == entries + 1
        spent = (await desk.used())[0] - used[0]
        outcome = Outcome.numbered(rows[-1]["outcome"])
        # The first await is that of the body: it comes before admission.
        assert (outcome is Outcome.FAILED) == (step == 1)
        assert spent == int(outcome in {Outcome.MATCHED, Outcome.DISCLOSED})


async def test_an_agreement_that_ends_before_admission_refuses_at_that_instant(
    desk: Desk, admin: Connection
) -> None:
    await desk.agree(admin, to_at=now() - 5 * SECOND)
    # What this worker last heard lies before the end; admission asks Redis.
    desk.lookups.clock.observe(now() - 10 * SECOND)
    call = await fails(desk, AgreementInactive)
    row = await desk.entry()
    assert row["reason"] == Reason.AGREEMENT_INACTIVE
    assert abs(from_datetime(row["at"]) - now()) < SECOND
    assert call.decision is not None
    assert call.decision.standings[1].remaining == LIMITS["day"]
    await desk.accounted(charged=0)


async def test_a_key_that_expires_before_admission_is_dead_at_that_instant(
    desk: Desk, admin: Connection
) -> None:
    text = await new_key(admin, desk.institution, not_after=now() - 5 * SECOND)
    await desk.lookups.directory.refresh()
    desk.lookups.clock.observe(now() - 10 * SECOND)
    await fails(desk, Unauthenticated, credential=text)
    row = await desk.entry()
    assert row["reason"] == Reason.UNAUTHENTICATED
    assert row["institution"] == desk.institution
    await desk.accounted(charged=0)


async def test_a_registry_that_is_away_costs_nothing(
    database: Database, redis: Redis, admin: Connection, superuser: Connection
) -> None:
    away = "postgres://gateway_registry:x@127.0.0.1:1/gateway"
    async with opened_desk(database, admin, superuser, redis, registry=away) as desk:
        await desk.lookups.directory.refresh()
        await fails(desk, RegistryUnavailable)
        row = await desk.entry()
        assert row["outcome"] == Outcome.FAILED
        assert row["reason"] == Reason.REGISTRY_UNAVAILABLE
        await desk.accounted(charged=0)


async def test_an_entry_known_not_to_be_written_costs_nothing(
    desk: Desk, database: Database, superuser: Connection
) -> None:
    role = f"ALTER ROLE gateway_hot IN DATABASE {database.name}"
    await superuser.execute(f"{role} SET default_transaction_read_only = on")
    await fails(desk, AuditUnavailable)
    assert await superuser.fetchval("SELECT count(*) FROM entries") == 0
    assert await desk.used() == (0, 0)


@pytest.mark.hurried
async def test_a_charge_stays_while_the_fate_of_its_entry_is_unknown(
    desk: Desk, superuser: Connection
) -> None:
    await desk.lookups.verify(desk.call())
    async with superuser.transaction():
        await superuser.execute(LOCK)
        await fails(desk, AuditUnavailable)
        assert await desk.used() == (2, 2)


async def test_without_redis_a_call_fails_and_says_so(
    database: Database, admin: Connection, superuser: Connection
) -> None:
    away = open_server("redis://127.0.0.1:1/0")
    async with opened_desk(database, admin, superuser, away) as desk:
        await desk.lookups.directory.refresh()
        await fails(desk, ReducedCapacity)
        row = await desk.entry()
        assert row["reason"] == Reason.TEMPORARY_REDUCED_CAPACITY
        assert row["subject"] is not None
    await away.aclose()


async def test_before_any_server_told_the_time_calls_fail_for_want_of_capacity(
    database: Database, redis: Redis, admin: Connection, superuser: Connection
) -> None:
    async with opened_desk(database, admin, superuser, redis) as desk:
        with pytest.raises((ReducedCapacity, AuditUnavailable)):
            await desk.lookups.verify(desk.call())
        assert await desk.used() == (0, 0)
