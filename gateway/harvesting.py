"""Harvesting: every question about a resident is seen, and what is done comes in steps.

What is seen goes to Redis with the ask for admission and comes back with its decision
(gateway/quota/harvest.py has the rules). What is done is kept in PostgreSQL, where every
worker reads it with the directory: it outlives Redis and ends by a person alone, but for
the lower steps, which end with their day. Until a step is known everywhere, every worker
finds it by itself in the same evidence.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from gateway.audit.access import Access
from gateway.audit.journal import Journal
from gateway.audit.subject import Subject, SubjectKeys
from gateway.clock import SECOND, to_datetime
from gateway.partners.directory import Institution
from gateway.postgres import Link, queries
from gateway.problems import AbnormalUsage
from gateway.quota.harvest import NOTHING, Finding, Seen, Sight, judge, seen_of
from gateway.quota.limit import DAY, Decision, day_end
from gateway.quota.script import Watch
from gateway.telemetry import HARVEST_STEPS
from gateway.vocabulary import Actor, Limits, Operation, Outcome, Step

# What is left of a rate that is slowed.
SHARE: Final = 10
OPERATIONS: Final = {
    Step.ALERT: Operation.HARVEST_ALERT,
    Step.SLOW: Operation.HARVEST_SLOW,
    Step.STOP: Operation.HARVEST_STOP,
}
HARVESTING: Final = "NIKs seem to be guessed; ask those who run the gateway"
GUESSING: Final = "too many different claims about this resident today"
_SQL: Final = queries("gateway.partners")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Suspicion:
    """A step to be taken, and the call that brought it about."""

    finding: Finding
    access: Access
    at: int


def step_of(institution: Institution, now: int) -> Step:
    """What is done about it now: a stop holds, the lower steps end with their day."""
    step, _, at, _ = institution.precaution
    return step if step is Step.STOP or now < day_end(at) else Step.NONE


def held_to(institution: Institution, limits: Limits, now: int) -> Limits:
    """Its limits: of a rate that is slowed a tenth, and its burst, so that batches fit."""
    if step_of(institution, now) < Step.SLOW:
        return limits
    return limits._replace(rate=max(1, limits.rate // SHARE))


class Harvesting:
    """One worker's eye on what institutions ask.

    Args:
        subjects: make keyed digests of all that is seen.
        journal: where each step is entered.
        link: the connection on which it is taken, of the hot role.
        canaries: NIKs that nobody has and nobody lawfully asks about.
        most_claims: how many different claims about one subject may be asked a day.
    """

    def __init__(
        self,
        subjects: SubjectKeys,
        journal: Journal,
        link: Link,
        *,
        canaries: frozenset[str],
        most_claims: int,
    ) -> None:
        self._subjects = subjects
        self._journal = journal
        self._link = link
        self._canaries = canaries
        self._most_claims = most_claims
        # What became of the subjects of each institution since its last ask.
        self._seen: dict[int, Seen] = {}
        self._taken: dict[tuple[int, int], tuple[Step, int]] = {}
        self._suspicions: dict[int, _Suspicion] = {}
        self._suspected = asyncio.Event()

    def sight(self, nik: str, subject: Subject, claims: Mapping[str, str]) -> Sight:
        """What is seen of a question: keyed digests of the NIK, its prefix and claims."""
        digest = self._subjects.digest
        claimed = b""
        if claims:
            text = msgspec.json.encode(claims, order="deterministic")
            claimed = digest(b"claims", text)[:4]
        return Sight(
            subject.head.to_bytes(8, signed=True),
            digest(b"prefix", nik[:12].encode("ascii"))[:8],
            claimed,
            nik in self._canaries,
        )

    def watch(self, institution: Institution, sights: Sequence[Sight]) -> Watch:
        """What an ask tells, and with it what became of the asks before."""
        seen = self._seen.pop(institution.id, NOTHING)
        since = institution.precaution.since
        return Watch(since, self._most_claims, seen, sights)

    def check(
        self, institution: Institution, access: Access, decision: Decision
    ) -> None:
        """Of an ask that is admitted, before the registry is asked.

        Raises:
            AbnormalUsage: it guesses at claims, or the institution at NIKs.
        """
        evidence = decision.evidence
        if evidence is None:
            return
        self._act(institution, access, decision.at, judge(evidence))
        if evidence.guessed:
            ends = decision.state.day_ends
            raise AbnormalUsage(GUESSING, -(-(ends - decision.at) // SECOND))

    def learn(
        self,
        institution: Institution,
        access: Access,
        decision: Decision | None,
        sights: Sequence[Sight],
        found: Sequence[bool],
    ) -> None:
        """What became of an ask, before it is answered.

        Raises:
            AbnormalUsage: with this the institution has guessed at too many NIKs.
        """
        if decision is None or decision.evidence is None or not decision.evidence.new:
            return
        evidence = decision.evidence
        seen = seen_of(evidence, sights, found)
        earlier = self._seen.get(institution.id)
        self._seen[institution.id] = seen if earlier is None else earlier.and_also(seen)
        self._act(institution, access, decision.at, judge(evidence, seen))

    def _act(
        self, institution: Institution, access: Access, at: int, finding: Finding | None
    ) -> None:
        if finding is None:
            return
        if finding.step > step_of(institution, at):
            self._suspect(institution, _Suspicion(finding, access, at))
        if finding.step is Step.STOP:
            raise AbnormalUsage(HARVESTING)

    def _suspect(self, institution: Institution, suspicion: _Suspicion) -> None:
        # The directory tells of a step a moment after it was taken.
        watched = (institution.id, institution.precaution.since)
        taken, until = self._taken.get(watched, (Step.NONE, 0))
        if suspicion.finding.step <= taken and suspicion.at < until:
            return
        self._taken[watched] = (suspicion.finding.step, day_end(suspicion.at))
        self._suspicions[institution.id] = suspicion
        self._suspected.set()

    async def take_steps(self) -> None:
        """For ever: takes each step as soon as it is found."""
        while True:
            while self._suspicions:
                institution, suspicion = next(iter(self._suspicions.items()))
                await self._take(institution, suspicion)
                if self._suspicions[institution] is suspicion:
                    del self._suspicions[institution]
            self._suspected.clear()
            await self._suspected.wait()

    async def _take(self, institution: int, suspicion: _Suspicion) -> None:
        """Once, whichever workers found it; never without its entry.

        The entry is durable before the step is: a crash between leaves an entry of a step
        that is then taken, and entered, again.
        """
        (step, rule), at = suspicion.finding, suspicion.at
        began = to_datetime(day_end(at) - DAY)
        async with self._link.connection() as connection, connection.transaction():
            taken = await connection.fetchval(
                *(_SQL["take_step"], institution, step, rule, to_datetime(at), began)
            )
            if taken is None:
                return
            entered = _entered(suspicion)
            async with self._journal.recording(entered):
                entered.outcome = Outcome.DONE
        HARVEST_STEPS.labels(step.word, rule.word).inc()
        log.warning(
            "harvesting_suspected",
            institution=institution,
            step=step.word,
            rule=rule.word,
        )


def _entered(suspicion: _Suspicion) -> Access:
    """Whose call it was, and by which rule; not about whom."""
    access, (step, rule) = suspicion.access, suspicion.finding
    return Access(
        OPERATIONS[step],
        access.address,
        actor=Actor.INSTITUTION,
        institution=access.institution,
        key=access.key,
        reference=rule.word,
    )
