"""What tells an institution that walks NIKs from one that asks about its people.

Who asks about his own people asks about scattered ones, nearly all of whom are there. Who
walks numbers asks about neighbours (NIKs alike in their first twelve digits: a district, a
day, a sex), most of whom nobody is. Each subject that an institution is answered about for the
first time that day adds to its evidence, whichever of its keys asked: `score` is Page's
CUSUM, up for a neighbour and for a miss, down for a stranger and for a hit, never below 0,
so that a lawful past hides nothing and a lawful hour forgives. What one call asks counts
together: a list in the order of its NIKs is one whose people are there.

Everything here is of one institution and one day of Jakarta. Subjects and prefixes are
keyed digests. `admit.lua` gathers the same inside Redis; a property test runs the two side
by side. What of it brings about which step is said here alone.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gateway.vocabulary import Rule, Step

# What a subject asked about for the first time that day adds to the score.
NEIGHBOUR, STRANGER = 3, -1
MISS, HIT = 4, -3
# Prefixes remembered, the last in each slot: enough for every subject of a usual day.
SLOTS: Final = 2_048
NO_PREFIX, NO_CLAIMS = bytes(2), bytes(4)


# From which value of its evidence on a rule asks for a step.
LADDERS: Final[dict[Rule, dict[Step, int]]] = {
    Rule.SCAN: {Step.ALERT: 80, Step.SLOW: 100, Step.STOP: 120},
    Rule.MISSES_ALIKE: {Step.ALERT: 6, Step.SLOW: 9, Step.STOP: 12},
    # One may be mistyped, or given to a clerk by somebody who means harm.
    Rule.CANARY: {Step.ALERT: 1, Step.SLOW: 2, Step.STOP: 3},
}
# More subjects than this, and than so many times what is usual, are told of; no more.
GROWTH_FROM, GROWTH_TIMES = 1_000, 8


class Sight(NamedTuple):
    """One question, as far as detection sees it: keyed digests, and never a NIK.

    `subject` is 8 bytes, `prefix` 8, `claims` 4, or none of a fetch.
    """

    subject: bytes
    prefix: bytes
    claims: bytes = b""
    canary: bool = False


class Seen(NamedTuple):
    """What became of subjects that were new: those found, the prefixes of those not.

    `near` is how many of both were neighbours of others.
    """

    found: int = 0
    missed: tuple[bytes, ...] = ()
    near: int = 0

    def and_also(self, other: "Seen") -> "Seen":
        return Seen(
            self.found + other.found,
            self.missed + other.missed,
            self.near + other.near,
        )

    @property
    def gained(self) -> int:
        """What it adds to the score."""
        found, misses, near = self.found, len(self.missed), self.near
        strangers = found + misses - near
        return MISS * misses + HIT * found + NEIGHBOUR * near + STRANGER * strangers


NOTHING: Final = Seen()


class Evidence(NamedTuple):
    """What is known of an institution once an ask is admitted, and not answered yet.

    `alike` is the most misses under one prefix; `usual` the most subjects of a day lately,
    0 where that is not known. Of this ask `new` is how many of its subjects were not asked
    about before that day, `near` how many of these are neighbours of others, and `guessed`
    how many of its claims were one more than may be asked of a subject.
    """

    score: int
    alike: int
    canaries: int
    subjects: int
    usual: int
    new: int
    near: int
    guessed: int


def seen_of(evidence: Evidence, sights: Sequence[Sight], found: Sequence[bool]) -> Seen:
    """What became of an ask, as far as its subjects were new.

    Which of many were new nobody knows: then as many misses are counted as may be.
    """
    if not evidence.new:
        return NOTHING
    if all(found):
        return Seen(evidence.new, (), evidence.near)
    missed = {
        sight.subject: sight.prefix
        for sight, there in zip(sights, found, strict=True)
        if not there
    }
    misses = tuple(missed.values())[: evidence.new]
    return Seen(evidence.new - len(misses), misses, evidence.near)


class Finding(NamedTuple):
    """A step, and the rule that asks for it."""

    step: Step
    rule: Rule


def judge(evidence: Evidence, seen: Seen = NOTHING) -> Finding | None:
    """The highest step that a rule asks for, if any does, once it is `seen` what came of it."""
    score, alike = evidence.score + seen.gained, evidence.alike
    if seen.missed:
        alike = max(alike, *Counter(seen.missed).values())
    if _is_usual(score, alike, evidence):
        return None
    values = {
        Rule.SCAN: score,
        Rule.MISSES_ALIKE: alike,
        Rule.CANARY: evidence.canaries,
    }
    findings = [
        Finding(step, rule)
        for rule, value in values.items()
        for step, least in LADDERS[rule].items()
        if value >= least
    ]
    if _has_grown(evidence):
        findings.append(Finding(Step.ALERT, Rule.GROWTH))
    return max(findings, key=lambda one: one.step, default=None)


# Below these a rule asks for nothing.
_SCORE, _ALIKE = (LADDERS[rule][Step.ALERT] for rule in (Rule.SCAN, Rule.MISSES_ALIKE))


def _is_usual(score: int, alike: int, evidence: Evidence) -> bool:
    """As of nearly every ask: told at once, since each one is judged."""
    return (
        score < _SCORE
        and alike < _ALIKE
        and not evidence.canaries
        and not _has_grown(evidence)
    )


def _has_grown(evidence: Evidence) -> bool:
    subjects, usual = evidence.subjects, evidence.usual
    return subjects > GROWTH_FROM and 0 < GROWTH_TIMES * usual < subjects


@dataclass(slots=True)
class Day:
    """The evidence of one day: the model of what admit.lua keeps."""

    usual: int = 0
    score: int = 0
    canaries: int = 0
    claims: dict[bytes, list[bytes]] = field(default_factory=dict)
    slots: dict[int, bytes] = field(default_factory=dict)
    misses: Counter[bytes] = field(default_factory=Counter)

    def watch(
        self, sights: Iterable[Sight], seen: Seen = NOTHING, *, most_claims: int
    ) -> Evidence:
        """Adds an ask, and what became of earlier ones; gives what is known then."""
        self._learn(seen)
        new = near = guessed = 0
        for sight in sights:
            asked = self.claims.get(sight.subject)
            if asked is None:
                new += 1
                near += self._meet(sight.prefix)
                asked = self.claims[sight.subject] = []
                self.canaries += sight.canary
            if sight.claims and sight.claims not in asked:
                if len(asked) >= most_claims:
                    guessed += 1
                else:
                    asked.append(sight.claims)
        alike = max(self.misses.values(), default=0)
        known = (self.score, alike, self.canaries, len(self.claims), self.usual)
        return Evidence(*known, new, near, guessed)

    def _learn(self, seen: Seen) -> None:
        self.score = max(0, self.score + seen.gained)
        self.misses.update(seen.missed)

    def _meet(self, prefix: bytes) -> bool:
        slot, tag = slot_of(prefix)
        known = self.slots.get(slot, NO_PREFIX) == tag
        self.slots[slot] = tag
        return known

    def next(self) -> "Day":
        """The day after, which knows of this one how many were asked about."""
        return Day(usual=max(len(self.claims), self.usual * 7 // 8))


def slot_of(prefix: bytes) -> tuple[int, bytes]:
    """Where a prefix is remembered, and as what."""
    return int.from_bytes(prefix[:2]) % SLOTS, prefix[2:4]
