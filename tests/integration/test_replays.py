"""Calls with an idempotency key, whole, on real servers: charged once, answered anew."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from redis.asyncio import Redis

from gateway.audit.entry import Place, access_id
from gateway.calls import Call, Question
from gateway.lookup import Lookups
from gateway.postgres import Connection
from gateway.problems import (
    AgreementInactive,
    AuditUnavailable,
    InvalidRequest,
    KeyInProgress,
    KeyReused,
    NotGranted,
    Problem,
    QuotaExceeded,
    RegistryUnavailable,
    ResidentNotFound,
)
from gateway.vocabulary import Outcome, Reason
from tests.conftest import Database
from tests.integration.cancelling import Work, suspensions
from tests.integration.desks import (
    CLAIMS,
    GRANT,
    LIMITS,
    NOBODY,
    SITI,
    Desk,
    Prepare,
    a_faulty_body,
    a_field_not_granted,
    a_suspended_agreement,
    another_purpose,
    opened_desk,
)
from tests.integration.wires import wire_to

pytestmark = pytest.mark.integration

MATCHED = {"name": True, "birth_date": True}


@pytest.fixture
async def desk(
    database: Database, redis: Redis, admin: Connection, superuser: Connection
) -> AsyncIterator[Desk]:
    async with opened_desk(database, admin, superuser, redis) as one:
        await one.lookups.directory.refresh()
        one.question.idempotency_key = "loan-4711"
        yield one


async def entries(desk: Desk) -> list[asyncpg.Record]:
    return await desk.superuser.fetch(
        "SELECT * FROM readable_entries ORDER BY at, batch, position"
    )


async def verified(desk: Desk) -> Call[Question]:
    call = desk.call()
    assert await desk.lookups.verify(call) == MATCHED
    return call


async def fails(desk: Desk, problem: type[Problem]) -> Call[Question]:
    call = desk.call()
    with pytest.raises(problem):
        await desk.lookups.verify(call)
    return call


def standing(call: Call[Question]) -> list[int]:
    assert call.decision is not None
    return [one.remaining for one in call.decision.standings]


async def test_a_replay_costs_rate_and_no_quota_and_names_the_first(
    desk: Desk, admin: Connection
) -> None:
    await desk.agree(admin, limits=LIMITS | {"rate": 1, "burst": 10})
    first = await verified(desk)
    replays = [await verified(desk) for _ in range(2)]
    assert standing(first) == [9, 999, 9999]
    assert [standing(one) for one in replays] == [[8, 999, 9999], [7, 999, 9999]]
    named = UUID(str(first.access.access_id))
    rows = await entries(desk)
    assert [row["replay_of"] for row in rows] == [None, named, named]
    assert {row["outcome"] for row in rows} == {Outcome.MATCHED}
    assert len({one.access.access_id for one in (first, *replays)}) == 3
    assert await desk.used() == (1, 1)


async def test_a_replay_is_answered_from_the_registry_as_it_is_now(desk: Desk) -> None:
    await verified(desk)
    change = "UPDATE registry.residents SET name = 'SITI RAHAYU' WHERE nik = $1"
    await desk.superuser.execute(change, int(SITI))
    changed = await desk.lookups.verify(desk.call())
    assert changed == {"name": False, "birth_date": True}
    await desk.superuser.execute("DELETE FROM registry.residents")
    assert await desk.lookups.verify(desk.call()) is None
    rows = await entries(desk)
    outcomes = [Outcome.MATCHED, Outcome.MISMATCHED, Outcome.NOT_FOUND]
    assert [row["outcome"] for row in rows] == outcomes
    assert [row["replay_of"] is None for row in rows] == [True, False, False]
    assert await desk.used() == (1, 1)


async def test_a_replay_is_permitted_anew(desk: Desk, admin: Connection) -> None:
    await verified(desk)
    await desk.agree(admin, status="suspended")
    await fails(desk, AgreementInactive)
    await desk.agree(admin, status="active", grants=[GRANT | {"fields": ["sex"]}])
    await fails(desk, NotGranted)
    assert [row["replay_of"] for row in await entries(desk)] == [None] * 3


async def test_a_replay_needs_no_quota_but_a_unit_of_rate(
    desk: Desk, admin: Connection
) -> None:
    await desk.agree(admin, limits=LIMITS | {"day": 1, "rate": 1, "burst": 2})
    await verified(desk)
    await verified(desk)
    limited = await fails(desk, QuotaExceeded)
    assert limited.decision is not None
    assert limited.decision.violated == ("rate",)
    desk.question.idempotency_key = None
    await asyncio.sleep(1)
    over = await fails(desk, QuotaExceeded)
    assert over.decision is not None
    assert over.decision.violated == ("day",)


@pytest.mark.parametrize("nik", [SITI, NOBODY])
@pytest.mark.parametrize("work", [Lookups.verify, Lookups.fetch])
async def test_every_charged_answer_is_remembered(
    desk: Desk, nik: str, work: Work
) -> None:
    desk.question.nik = nik
    answers: list[Any] = []
    for _ in range(2):
        try:
            answers.append(await work(desk.lookups, desk.call()))
        except ResidentNotFound:
            answers.append(ResidentNotFound)
    assert answers[0] == answers[1]
    rows = await entries(desk)
    assert [row["replay_of"] is None for row in rows] == [True, False]
    assert rows[0]["outcome"] == rows[1]["outcome"]
    assert await desk.used() == (1, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"nik": NOBODY},
        {"claims": CLAIMS | {"name": "Siti"}},
        {"claims": {"name": "Siti Aminah"}, "fields": ("name",)},
        {"reference": None},
        {"operator": "Bima"},
    ],
    ids=str,
)
async def test_another_body_is_refused_before_anything_is_spent(
    desk: Desk, change: dict[str, Any]
) -> None:
    await verified(desk)
    asked = desk.question
    desk.question = replace(asked, **change)
    conflict = await fails(desk, KeyReused)
    assert conflict.decision is None
    row = (await entries(desk))[-1]
    assert (row["outcome"], row["reason"]) == (
        Outcome.REFUSED,
        Reason.IDEMPOTENCY_CONFLICT,
    )
    assert row["subject"] is not None
    assert row["replay_of"] is None
    desk.question = asked
    await verified(desk)
    assert await desk.used() == (1, 1)


async def test_the_same_body_to_another_operation_is_another(desk: Desk) -> None:
    await verified(desk)
    desk.question.claims = {}
    with pytest.raises(KeyReused):
        await desk.lookups.fetch(desk.call())


async def test_the_order_of_claims_makes_no_other_body_and_that_of_fields_does(
    desk: Desk,
) -> None:
    await verified(desk)
    turned = dict(reversed(CLAIMS.items()))
    desk.question = replace(desk.question, claims=turned, fields=tuple(turned))
    assert await desk.lookups.verify(desk.call()) == MATCHED
    desk.question = replace(desk.question, idempotency_key="x", claims={})
    await desk.lookups.fetch(desk.call())
    desk.question.fields = desk.question.fields[::-1]
    with pytest.raises(KeyReused):
        await desk.lookups.fetch(desk.call())


async def test_the_body_and_the_grant_are_told_before_a_conflict(
    desk: Desk, admin: Connection
) -> None:
    await verified(desk)
    desk.question.operator = "somebody else"
    prepared: list[tuple[Prepare, type[Problem]]] = [
        (a_field_not_granted, NotGranted),
        (a_suspended_agreement, AgreementInactive),
        (a_faulty_body, InvalidRequest),
    ]
    for prepare, problem in prepared:
        await prepare(desk, admin)
        await fails(desk, problem)


async def test_a_conflict_is_told_before_the_limits(
    desk: Desk, admin: Connection
) -> None:
    await desk.agree(admin, limits=LIMITS | {"burst": 1, "day": 1})
    await verified(desk)
    desk.question.operator = "somebody else"
    await fails(desk, KeyReused)


async def test_while_the_first_is_in_progress_others_are_told_so(desk: Desk) -> None:
    await desk.lookups.directory.refresh()
    async with asyncio.TaskGroup() as tasks, desk.superuser.transaction():
        await desk.superuser.execute("LOCK TABLE registry.residents")
        first = tasks.create_task(desk.lookups.verify(desk.call()))
        await asyncio.sleep(0.2)
        with pytest.raises(KeyInProgress) as told:
            await desk.lookups.verify(desk.call())
        assert 1 <= told.value.retry_after <= 10
        desk.question = replace(desk.question, operator="somebody else")
        with pytest.raises(KeyReused):
            await desk.lookups.verify(desk.call())
    assert first.result() == MATCHED
    assert await desk.used() == (1, 1)


async def test_a_refused_attempt_is_not_remembered(
    desk: Desk, admin: Connection
) -> None:
    await desk.agree(admin, limits=LIMITS | {"day": 1})
    desk.question.idempotency_key = None
    await verified(desk)
    desk.question.idempotency_key = "loan-4711"
    await fails(desk, QuotaExceeded)
    await another_purpose(desk, admin)
    await fails(desk, NotGranted)
    desk.question = replace(desk.question, purpose="kyc", operator="somebody else")
    await desk.agree(admin, limits=LIMITS)
    await verified(desk)
    assert [row["replay_of"] for row in await entries(desk)] == [None] * 4
    assert await desk.used() == (2, 2)


async def test_a_failed_attempt_is_not_remembered(desk: Desk) -> None:
    """Nor is a replay that fails one, in its entry."""
    revoke = "REVOKE SELECT ON registry.gateway_residents FROM gateway_registry"
    grant = "GRANT SELECT ON registry.gateway_residents TO gateway_registry"
    await desk.superuser.execute(revoke)
    await fails(desk, RegistryUnavailable)
    await desk.superuser.execute(grant)
    await verified(desk)
    await desk.superuser.execute(revoke)
    failed = await fails(desk, RegistryUnavailable)
    assert standing(failed)[1:] == [999, 9999]
    await desk.superuser.execute(grant)
    await verified(desk)
    rows = await entries(desk)
    assert [row["replay_of"] is None for row in rows] == [True, True, True, False]
    assert await desk.used() == (1, 1)


@asynccontextmanager
async def registry_locked(superuser: Connection) -> AsyncIterator[None]:
    """Calls get as far as the registry, and no further until the end."""
    async with superuser.transaction():
        await superuser.execute("LOCK TABLE registry.residents")
        yield


@pytest.mark.hurried
async def test_an_entry_that_was_written_unheard_of_is_what_its_key_replays(
    database: Database, redis: Redis, admin: Connection, superuser: Connection
) -> None:
    async with (
        wire_to(database.dsn("hot")) as (wire, dsn),
        opened_desk(database, admin, superuser, redis, hot=dsn) as desk,
    ):
        await desk.lookups.directory.refresh()
        # So that the statement is prepared, and only its last answer can be missed.
        desk.question.idempotency_key = "another"
        await verified(desk)
        desk.question.idempotency_key = "loan-4711"
        async with asyncio.TaskGroup() as tasks, registry_locked(superuser):
            lost = tasks.create_task(fails(desk, AuditUnavailable))
            await asyncio.sleep(0.2)
            # What follows is the entry: it is written, and nobody hears of it.
            wire.heard.clear()
        assert lost.result().claim is not None
        wire.heard.set()
        desk.lookups.journal.found_writable()
        replay = await verified(desk)
        rows = await entries(desk)
        assert [row["outcome"] for row in rows] == [Outcome.MATCHED] * 3
        unheard_of = access_id(Place(rows[1]["batch"], rows[1]["position"]))
        assert str(replay.access.replay_of) == unheard_of
        assert await desk.used() == (2, 2)


@pytest.mark.hurried
async def test_while_the_fate_of_an_entry_is_unknown_its_key_stays_claimed(
    desk: Desk, superuser: Connection
) -> None:
    async with superuser.transaction():
        await superuser.execute("LOCK TABLE batches IN ACCESS EXCLUSIVE MODE")
        lost = await fails(desk, AuditUnavailable)
        held = await superuser.fetch("SELECT until FROM idempotency_claims")
    assert lost.claim is not None
    assert [row["until"] for row in held] == [lost.claim.until]


async def test_where_no_claim_can_be_made_nothing_is_spent_or_entered(
    desk: Desk, superuser: Connection
) -> None:
    await superuser.execute("REVOKE ALL ON idempotency_claims FROM gateway_hot")
    call = await fails(desk, AuditUnavailable)
    assert (call.decision, call.access.access_id) == (None, None)
    assert await entries(desk) == []
    desk.question.idempotency_key = None
    await verified(desk)


@pytest.mark.parametrize("last", [0, 10**9], ids=["once", "again-and-again"])
@pytest.mark.parametrize("work", [Lookups.verify, Lookups.fetch])
async def test_a_call_cancelled_at_any_await_leaves_its_key_as_its_entry_says(
    desk: Desk, work: Work, last: int
) -> None:
    # The first call has the counters loaded, and waits for that as no other does.
    await work(desk.lookups, desk.call())
    steps = len(await suspensions(desk, work, 0, 0))
    for step in range(1, steps + 1):
        desk.question.idempotency_key = f"step-{step}"
        await suspensions(desk, work, step, last or step)
        charged = (await entries(desk))[-1]["outcome"] != Outcome.FAILED
        # The first await is that of the body: it comes before the claim.
        assert charged == (step > 1)
        used = await desk.used()
        again = desk.call()
        await work(desk.lookups, again)
        assert (again.access.replay_of is not None) == charged
        units = used[0] + (not charged)
        assert await desk.used() == (units, units)


async def test_no_key_and_nothing_of_a_body_is_kept(desk: Desk) -> None:
    desk.question.idempotency_key = "canary-key-4711"
    await verified(desk)
    tables = ("idempotency_claims", "idempotency_answers")
    for table in tables:
        rows = await desk.superuser.fetch(f"SELECT t::text FROM {table} AS t")
        assert len(rows) == 1
        for said in ("canary", SITI, "siti", f"{int(SITI):x}", "budi", "kyc"):
            assert said.encode().hex() not in rows[0][0].lower()
            assert said not in rows[0][0].lower()
