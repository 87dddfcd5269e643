"""Claims: of all attempts with one idempotency key, one at a time is answered.

A claim is made first, and only then is it looked whether the key was answered before. An
answer is remembered in the statement that enters it in the log, within the ten seconds
of its claim: so whoever gets the claim after it finds it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg
import structlog

from gateway import telemetry
from gateway.audit.batch import SQL
from gateway.audit.entry import Place, access_id
from gateway.audit.idempotency import Attempt
from gateway.gathering import Gatherer, Unanswered
from gateway.postgres import Connection, Link
from gateway.problems import (
    AuditUnavailable,
    IdempotencyConflict,
    KeyInProgress,
    KeyReused,
)

log = structlog.get_logger()

# The log's server does not answer: that is told within a second.
PATIENCE = 0.9
MOST_A_FLUSH = 500
CAPACITY = 5_000

Name = tuple[int, bytes]
Known = Mapping[Name, Sequence[asyncpg.Record]]


class Claim(NamedTuple):
    """An attempt that nobody else makes before `until`, which tells it from later ones."""

    attempt: Attempt
    until: datetime


Judged = Claim | UUID | IdempotencyConflict


class Claims:
    """One worker's claims: kept in PostgreSQL, where all workers see them."""

    def __init__(self, link: Link, *, tasks: asyncio.TaskGroup) -> None:
        self._link = link
        self._gatherer = Gatherer[Attempt | Claim, Judged](
            self._flush,
            stage="claims",
            tasks=tasks,
            most=MOST_A_FLUSH,
            capacity=CAPACITY,
            patience=PATIENCE,
        )

    async def claim(self, attempt: Attempt) -> Claim | UUID:
        """The claim of an attempt that is the first; else the access_id of the first.

        Raises:
            KeyReused: the key came with another body.
            KeyInProgress: another attempt is being answered.
            AuditUnavailable: within a second, if it cannot be told.
        """
        try:
            judged = await self._gatherer.ask(attempt)
        except Unanswered as unanswered:
            raise AuditUnavailable(fate_unknown=False) from unanswered
        if isinstance(judged, IdempotencyConflict):
            raise judged
        return judged

    async def release(self, claim: Claim) -> None:
        """Lets the next attempt be the first."""
        try:
            await self._gatherer.ask(claim)
        except Unanswered:
            # Then it runs out by itself; meanwhile the key is told to be in progress.
            return

    async def _flush(self, asks: list[Attempt | Claim]) -> list[Judged]:
        given_up = [
            (ask.attempt.institution, digests.key, ask.until)
            for ask in asks
            if isinstance(ask, Claim)
            for digests in ask.attempt.digests
        ]
        attempts = [ask for ask in asks if isinstance(ask, Attempt)]
        try:
            with telemetry.flush_seconds_of("claims").time():
                async with self._link.connection() as connection:
                    await _give_up(connection, given_up)
                    judged = iter(await _claim(connection, attempts))
        except BaseException as error:
            telemetry.FLUSH_FAILURES.labels("claims").inc()
            log.warning("claims_flush_failed", error=type(error).__name__)
            raise
        telemetry.flush_size_of("claims").observe(len(asks))
        return [ask if isinstance(ask, Claim) else next(judged) for ask in asks]


async def _give_up(
    connection: Connection, held: Sequence[tuple[int, bytes, datetime]]
) -> None:
    if held:
        await connection.execute(SQL["release_claims"], *zip(*held, strict=True))


async def _claim(connection: Connection, attempts: list[Attempt]) -> list[Judged]:
    """Two statements, so that the second sees what was answered before the first."""
    asked = {
        (attempt.institution, digests.key): digests.body
        # The last of those alike stays: the first to come.
        for attempt in reversed(attempts)
        for digests in attempt.digests
    }
    if not asked:
        return []
    institutions, keys = zip(*asked, strict=True)
    taken = await connection.fetch(
        SQL["claim_keys"], institutions, keys, list(asked.values())
    )
    rows = await connection.fetch(SQL["recall_keys"], institutions, keys)
    won: dict[Name, datetime] = {(row[0], row[1]): row[2] for row in taken}
    known: dict[Name, list[asyncpg.Record]] = {}
    for row in rows:
        known.setdefault((row["institution"], row["key_digest"]), []).append(row)
    judged = [_judge(attempt, _take(won, attempt), known) for attempt in attempts]
    # Won under one pepper, while a worker that knows no other is at it under another.
    await _give_up(connection, [(*name, until) for name, until in won.items()])
    return judged


def _take(won: dict[Name, datetime], attempt: Attempt) -> datetime | None:
    """Until when the attempt has its claim, if it has; of those alike, the first has."""
    names = [(attempt.institution, digests.key) for digests in attempt.digests]
    if not won.keys() >= set(names):
        return None
    until, *_ = [won.pop(name) for name in names]
    return until


def _judge(attempt: Attempt, until: datetime | None, known: Known) -> Judged:
    """What answered the key decides; else who is at it."""
    about = [
        (row, row["body_digest"] == digests.body)
        for digests in attempt.digests
        for row in known.get((attempt.institution, digests.key), ())
    ]
    answers = [(row, same) for row, same in about if row["batch"] is not None]
    firsts = [Place(row["batch"], row["position"]) for row, same in answers if same]
    if firsts:
        return UUID(access_id(min(firsts)))
    if until is not None and not answers:
        return Claim(attempt, until)
    if not all(same for _, same in about):
        return KeyReused()
    # Whoever was at it may just have given it up: then a second is long enough.
    return KeyInProgress(max((row["seconds"] for row, _ in about), default=1))
