"""Claims on a real PostgreSQL, by two workers: one attempt at a time is answered."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final
from uuid import UUID

import pytest

from gateway.audit.claims import Claim, Claims
from gateway.audit.idempotency import Attempts
from gateway.postgres import Connection
from gateway.problems import (
    AuditUnavailable,
    IdempotencyConflict,
    KeyInProgress,
    KeyReused,
)
from gateway.settings import NumberedKeys
from gateway.vocabulary import Outcome, Reason
from tests.conftest import Database
from tests.integration.attempts import (
    DAY_MS,
    age_answers,
    answered,
    attempt,
    claimed,
    entry_of,
    found,
    run_out,
    worker,
)
from tests.integration.logs import write
from tests.integration.wires import wire_to

pytestmark = pytest.mark.integration

SECONDS: Final = range(1, 11)
NOTICED: Final = 1.0


@pytest.fixture
async def workers(database: Database) -> AsyncIterator[tuple[Claims, Claims]]:
    dsn = database.dsn("hot")
    async with worker(dsn) as one, worker(dsn) as other:
        yield one, other


async def test_of_attempts_at_once_on_both_workers_one_gets_the_claim(
    workers: tuple[Claims, Claims],
) -> None:
    for n in range(20):
        key = f"k{n}"
        got = await asyncio.gather(
            *(found(claims, attempt(key)) for claims in workers * 10)
        )
        assert sum(isinstance(one, Claim) for one in got) == 1
        others = [one for one in got if not isinstance(one, Claim)]
        assert {type(one) for one in others} == {KeyInProgress}
        assert all(
            one.retry_after in SECONDS
            for one in others
            if isinstance(one, KeyInProgress)
        )


async def test_another_body_is_told_so_while_the_first_is_in_progress(
    workers: tuple[Claims, Claims],
) -> None:
    one, other = workers
    got = await asyncio.gather(*(found(one, attempt(body=body)) for body in "abab"))
    assert [type(each) for each in got] == [Claim, KeyReused, KeyInProgress, KeyReused]
    assert isinstance(await found(other, attempt(body="b")), KeyReused)
    assert isinstance(await found(other, attempt()), KeyInProgress)


async def test_neither_keys_nor_institutions_stand_in_each_others_way(
    workers: tuple[Claims, Claims], hot: Connection
) -> None:
    one, other = workers
    await claimed(one, attempt())
    await claimed(other, attempt(key="another"))
    await claimed(other, attempt(institution=2))
    await answered(hot, attempt(institution=3))
    await claimed(other, attempt(institution=4))


async def test_a_claim_that_is_given_up_is_free_at_once_for_any_body(
    workers: tuple[Claims, Claims],
) -> None:
    one, other = workers
    await one.release(await claimed(one, attempt()))
    await other.release(await claimed(other, attempt(body="b")))
    await claimed(one, attempt())


async def test_a_claim_that_ran_out_is_anothers_and_not_the_firsts_to_give_up(
    workers: tuple[Claims, Claims], superuser: Connection
) -> None:
    one, other = workers
    first = await claimed(one, attempt())
    await run_out(superuser)
    await claimed(other, attempt())
    await one.release(first)
    assert isinstance(await found(one, attempt()), KeyInProgress)


async def test_what_was_answered_is_known_to_every_worker_and_names_the_first(
    workers: tuple[Claims, Claims], hot: Connection, superuser: Connection
) -> None:
    one, other = workers
    await claimed(one, attempt())
    first = await answered(hot, attempt())
    for _ in range(2):
        for claims in workers:
            assert await found(claims, attempt()) == first
            assert isinstance(await found(claims, attempt(body="b")), KeyReused)
        await run_out(superuser)
    assert isinstance(await found(other, attempt(body="b")), KeyReused)
    assert await found(one, attempt()) == first


async def test_an_answer_counts_for_24_hours(
    workers: tuple[Claims, Claims], hot: Connection, superuser: Connection
) -> None:
    one, other = workers
    await answered(hot, attempt())
    await age_answers(superuser, DAY_MS - 60_000)
    assert isinstance(await found(one, attempt()), UUID)
    await run_out(superuser)
    await age_answers(superuser, 60_000)
    await claimed(other, attempt(body="b"))


@pytest.mark.parametrize("outcome", list(Outcome), ids=lambda outcome: outcome.word)
async def test_only_what_was_charged_is_remembered(
    workers: tuple[Claims, Claims], hot: Connection, outcome: Outcome
) -> None:
    entry = replace(entry_of(attempt(), outcome), reason=Reason.INTERNAL_ERROR)
    await write(hot, [entry])
    assert isinstance(await found(workers[0], attempt()), UUID) == bool(entry.charged)


async def test_a_replay_is_not_remembered_itself(
    hot: Connection, superuser: Connection
) -> None:
    first = await answered(hot, attempt())
    await write(hot, [replace(entry_of(attempt()), replay_of=first)])
    count = await superuser.fetchval("SELECT count(*) FROM idempotency_answers")
    assert count == 1


async def test_an_entry_and_what_it_answered_are_of_one_transaction(
    hot: Connection, superuser: Connection
) -> None:
    plain = replace(entry_of(attempt()), attempt=None)
    entries = [plain, entry_of(attempt("x")), plain, entry_of(attempt("y"))]
    await write(hot, entries)
    rows = await superuser.fetch(
        "SELECT e.position, (e.xmin = a.xmin AND a.xmin = b.xmin) AS together"
        " FROM entries AS e JOIN idempotency_answers AS a USING (batch, position)"
        " JOIN batches AS b USING (batch) ORDER BY 1"
    )
    assert [tuple(row) for row in rows] == [(1, True), (3, True)]
    assert await superuser.fetchval("SELECT count(*) FROM entries") == 4


async def test_two_answers_of_one_key_fail_no_flush_and_each_body_finds_its_own(
    workers: tuple[Claims, Claims], hot: Connection
) -> None:
    """As after a commit whose fate was unknown for longer than its claim."""
    a, b = attempt(body="a"), attempt(body="b")
    ids = await write(hot, [entry_of(a), entry_of(b), entry_of(b)])
    assert await found(workers[0], a) == UUID(ids[0])
    assert await found(workers[1], b) == UUID(ids[1])
    assert isinstance(await found(workers[1], attempt(body="c")), KeyReused)


async def test_workers_before_and_after_a_rotation_of_the_pepper_share_keys(
    workers: tuple[Claims, Claims], hot: Connection
) -> None:
    peppers = {1: b"p" * 32, 2: b"q" * 32}
    rotated = Attempts(NumberedKeys(peppers)).of(1, "k", "a")
    newest = Attempts(NumberedKeys({2: peppers[2]})).of(1, "k", "a")
    one, other = workers
    claim = await claimed(one, attempt())
    # It has the key under the second pepper alone, and leaves it to others.
    assert isinstance(await found(other, rotated), KeyInProgress)
    await one.release(claim)
    await other.release(await claimed(other, rotated))
    claim = await claimed(other, rotated)
    assert isinstance(await found(one, attempt()), KeyInProgress)
    assert isinstance(await found(one, newest), KeyInProgress)
    first = await answered(hot, rotated)
    for known in (attempt(), rotated, newest):
        assert await found(one, known) == first


async def test_those_who_claim_and_give_up_the_same_keys_never_wait_in_a_ring(
    database: Database, superuser: Connection
) -> None:
    async def churn(claims: Claims, seed: int) -> int:
        chance = random.Random(seed)  # noqa: S311 - nothing here is secret
        won = 0
        for _ in range(60):
            keys = chance.sample(range(12), 8)
            got = await asyncio.gather(*(found(claims, attempt(f"{k}")) for k in keys))
            held = [one for one in got if isinstance(one, Claim)]
            won += len(held)
            await asyncio.gather(*map(claims.release, held))
        return won

    dsn = database.dsn("hot")
    async with worker(dsn) as a, worker(dsn) as b, worker(dsn) as c:
        won = await asyncio.gather(*(churn(one, n) for n, one in enumerate((a, b, c))))
    assert all(won)
    assert await superuser.fetchval("SELECT count(*) FROM idempotency_claims") == 0


class Model:
    """What must be found, whichever worker is asked: who is at a key, what answered it."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}
        self.answers: dict[str, dict[str, UUID]] = {}

    def expect(self, key: str, body: str) -> UUID | type[Claim | IdempotencyConflict]:
        if answers := self.answers.get(key):
            return answers.get(body, KeyReused)
        if key not in self.held:
            self.held[key] = body
            return Claim
        return KeyInProgress if self.held[key] == body else KeyReused


async def test_any_course_of_claims_answers_and_failures_ends_as_the_model_says(
    workers: tuple[Claims, Claims], hot: Connection, superuser: Connection
) -> None:
    chance = random.Random(1945)  # noqa: S311 - nothing here is secret
    model = Model()
    open_claims: dict[str, Claim] = {}
    kinds = set()
    for _ in range(400):
        key = chance.choice("klm")
        match chance.randrange(8):
            case 0 if claim := open_claims.pop(key, None):
                await chance.choice(workers).release(claim)
                del model.held[key]
            case 1 if claim := open_claims.pop(key, None):
                first = await answered(hot, claim.attempt)
                model.answers[key] = {model.held[key]: first}
            case 2 if chance.random() < 0.3:
                await run_out(superuser)
                await age_answers(superuser, DAY_MS + 1)
                model, open_claims = Model(), {}
            case _:
                expected = model.expect(key, body := chance.choice("ab"))
                got = await found(chance.choice(workers), attempt(key, body))
                assert expected in {got, type(got)}
                if isinstance(got, Claim):
                    open_claims[key] = got
                kinds.add(type(got))
    assert kinds == {Claim, UUID, KeyReused, KeyInProgress}


async def lost(claims: Claims) -> float:
    """How long it took to be told that nothing can be told."""
    began = time.perf_counter()
    with pytest.raises(AuditUnavailable) as unavailable:
        await claims.claim(attempt())
    assert not unavailable.value.fate_unknown
    return time.perf_counter() - began


@pytest.mark.hurried
async def test_without_postgresql_it_is_told_within_a_second(
    database: Database,
) -> None:
    async with worker("postgres://gateway_hot:x@127.0.0.1:1/gateway") as claims:
        assert await lost(claims) < NOTICED
    async with wire_to(database.dsn("hot")) as (wire, dsn), worker(dsn) as claims:
        claim = await claimed(claims, attempt("another"))
        wire.heard.clear()
        assert await lost(claims) < NOTICED
        # Nor does giving up hold anybody.
        await claims.release(claim)
        wire.heard.set()
        await claimed(claims, attempt("a third"))
