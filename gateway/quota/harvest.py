"""What tells an institution that walks NIKs from one that asks about its people.

Who asks about his own people asks about scattered ones, nearly all of whom are there. Who
walks numbers asks about neighbours (NIKs alike in their first twelve digits: a district, a
day, a sex), most of whom nobody is. Each subject that an institution asks about for the
first time that day adds to its evidence, whichever of its keys asked: `score` is Page's
CUSUM, up for a neighbour and for a miss, down for a stranger and for a hit, never below 0,
so that a lawful past hides nothing and a lawful hour forgives.

Everything here is of one institution and one day of Jakarta. Subjects and prefixes are
keyed digests. `admit.lua` gathers the same inside Redis; a property test runs the two side
by side. What of it brings about which step is said here alone.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

# What a subject asked about for the first time that day adds to the score.
NEIGHBOUR, STRANGER = 3, -1
MISS, HIT = 4, -3
# Prefixes remembered, the last in each slot: enough for every subject of a usual day.
SLOTS: Final = 2_048
NO_PREFIX, NO_CLAIMS = bytes(2), bytes(4)


class Step(IntEnum):
    """What is done about it: each step includes those below."""

    NONE = 0
    ALERT = 1
    SLOW = 2
    STOP = 3


class Rule(IntEnum):
    """Why. A stored number: never renumber."""

    SCAN = 1
    MISSES_ALIKE = 2
    CANARY = 3
    GROWTH = 4

    @property
    def word(self) -> str:
        return self.name.lower().replace("_", "-")


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
    """What became of subjects that were new: those found, the prefixes of those not."""

    found: int = 0
    missed: tuple[bytes, ...] = ()


NOTHING: Final = Seen()


class Evidence(NamedTuple):
    """What is known of an institution after an ask.

    `new` is how many of its subjects were asked about for the first time that day, and
    `guessed` how many of its claims were one more than may be asked of a subject.
    `alike` is the most misses under one prefix; `usual` the most subjects of a day lately,
    0 where that is not known.
    """

    score: int
    alike: int
    canaries: int
    subjects: int
    usual: int
    new: int
    guessed: int


class Finding(NamedTuple):
    """A step, and the rule that asks for it."""

    step: Step
    rule: Rule


def judge(evidence: Evidence) -> Finding | None:
    """The highest step that a rule asks for, if any does."""
    if _is_usual(evidence):
        return None
    values = {
        Rule.SCAN: evidence.score,
        Rule.MISSES_ALIKE: evidence.alike,
        Rule.CANARY: evidence.canaries,
    }
    findings = [
        Finding(step, rule)
        for rule, value in values.items()
        for step, least in LADDERS[rule].items()
        if value >= least
    ]
    if evidence.usual and _has_grown(evidence):
        findings.append(Finding(Step.ALERT, Rule.GROWTH))
    return max(findings, key=lambda one: one.step, default=None)


def _is_usual(evidence: Evidence) -> bool:
    """As of nearly every ask: told at once, since each one is judged."""
    return (
        evidence.score < LADDERS[Rule.SCAN][Step.ALERT]
        and evidence.alike < LADDERS[Rule.MISSES_ALIKE][Step.ALERT]
        and not evidence.canaries
        and evidence.subjects <= GROWTH_FROM
    )


def _has_grown(evidence: Evidence) -> bool:
    return evidence.subjects > max(GROWTH_FROM, GROWTH_TIMES * evidence.usual)


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
        new = guessed = 0
        for sight in sights:
            asked = self.claims.get(sight.subject)
            if asked is None:
                new += 1
                asked = self.claims[sight.subject] = []
                self.canaries += sight.canary
                self._meet(sight.prefix)
            if sight.claims and sight.claims not in asked:
                if len(asked) >= most_claims:
                    guessed += 1
                else:
                    asked.append(sight.claims)
        alike = max(self.misses.values(), default=0)
        known = (self.score, alike, self.canaries, len(self.claims), self.usual)
        return Evidence(*known, new, guessed)

    def _learn(self, seen: Seen) -> None:
        """A batch's at once: in it one does not come before another."""
        gained = MISS * len(seen.missed) + HIT * seen.found
        self.score = max(0, self.score + gained)
        self.misses.update(seen.missed)

    def _meet(self, prefix: bytes) -> None:
        slot, tag = slot_of(prefix)
        known = self.slots.get(slot, NO_PREFIX) == tag
        self.score = max(0, self.score + (NEIGHBOUR if known else STRANGER))
        self.slots[slot] = tag

    def next(self) -> "Day":
        """The day after, which knows of this one how many were asked about."""
        return Day(usual=max(len(self.claims), self.usual * 7 // 8))


def slot_of(prefix: bytes) -> tuple[int, bytes]:
    """Where a prefix is remembered, and as what."""
    return int.from_bytes(prefix[:2]) % SLOTS, prefix[2:4]
