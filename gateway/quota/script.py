"""What is asked of admission, and how a flush of it is put to admit.lua."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from gateway.quota.harvest import NO_CLAIMS, Evidence, Seen, Sight
from gateway.quota.limit import VIOLATIONS, Decision, State
from gateway.vocabulary import Limits, Shadow

GENERATION_KEY: Final = "gateway:generation"
ADMIT, GIVE_BACK, REFUSE, ADMIT_SHADOWED, WATCH = range(5)
_UNKNOWN: Final = -1
# How many integers the script answers: of a decision, and of a state.
_DECISION: Final = 6
_STATE: Final = 5
_EVIDENCE: Final = len(Evidence._fields)


class Watch(NamedTuple):
    """What an ask adds to the evidence of harvesting.

    Args:
        since: the instant since which the institution is watched: evidence from before
            another is forgotten.
        most_claims: how many different claims about one subject may be asked a day.
        seen: what became of subjects asked about before.
        sights: the questions of this ask.
    """

    since: int
    most_claims: int
    seen: Seen
    sights: Sequence[Sight]


class Admit(NamedTuple):
    """Spend these units, or none; from the counters of a shadow too, if there is one.

    A `watch` goes with asks about residents; what is not admitted adds no sights.
    """

    institution: int
    key: int
    limits: Limits
    rate_cost: int
    quota_cost: int
    shadow: Shadow | None = None
    watch: Watch | None = None


class GiveBack(NamedTuple):
    """Return what an admitted decision spent, and its shadow."""

    institution: int
    decision: Decision


class Refuse(NamedTuple):
    """Count a refusal that names a subject."""

    institution: int
    key: int


class Unknown(NamedTuple):
    """The answer where no counters of this generation are there: they are to be loaded."""

    generation: str


Ask = Admit | GiveBack | Refuse
# None where nothing was given back: the units are not in this generation's count.
Answer = Decision | Unknown | int | None


def state_key(institution: int) -> str:
    """The braces put all keys of an institution into one slot of a cluster."""
    return f"{{i:{institution}}}"


def refused_key(institution: int, key: int) -> str:
    return f"{{i:{institution}}}:refused:{key}"


def shadow_key(institution: int) -> str:
    return f"{{i:{institution}}}:shadow"


def watch_keys(institution: int) -> tuple[str, str, str]:
    """Its evidence, the subjects and misses of a day, and the last prefixes."""
    own = state_key(institution)
    return f"{own}:harvest", f"{own}:asked", f"{own}:prefixes"


def of_shadow(generation: str, since: int) -> str:
    """What the counters of a shadow count under: another shadow begins anew."""
    return f"{generation}#{since}"


def encode(
    asks: Sequence[Ask], generation_key: str, tag: str
) -> list[str | int | bytes]:
    """What follows the script in EVALSHA: the number of keys, the keys, the arguments."""
    keys, numbers, texts = [generation_key], list[int | str](), list[bytes]()
    for ask in asks:
        match ask:
            case Admit(institution, key, limits, rate_cost, quota_cost, shadow, watch):
                if watch is not None:
                    keys += watch_keys(institution)
                    numbers += (WATCH, *_numbers(watch))
                    texts += _watched(watch)
                keys += (state_key(institution), refused_key(institution, key))
                kind = ADMIT if shadow is None else ADMIT_SHADOWED
                numbers += (kind, *limits, rate_cost, quota_cost)
                if shadow is not None:
                    keys.append(shadow_key(institution))
                    # As a text: Lua writes no number of so many digits whole.
                    numbers += (*shadow.limits, of_shadow("", shadow.since))
            case GiveBack(institution, decision):
                keys.append(state_key(institution))
                numbers += _given_back(decision)
                if (shadowed := returnable_shadow(decision)) is not None:
                    keys.append(shadow_key(institution))
                    numbers += _given_back(shadowed)
            case Refuse(institution, key):
                keys.append(refused_key(institution, key))
                numbers.append(REFUSE)
    return [len(keys), *keys, tag, msgspec.msgpack.encode(numbers), *texts]


def _numbers(watch: Watch) -> tuple[int, int, int, int]:
    return watch.since, watch.most_claims, watch.seen.found, watch.seen.near


def _watched(watch: Watch) -> tuple[bytes, bytes]:
    """Its misses and its sights, each packed: the script unpacks no bytes itself."""
    sights = [
        subject + prefix + (claims or NO_CLAIMS) + (b"\1" if canary else b"\0")
        for subject, prefix, claims, canary in watch.sights
    ]
    return b"".join(watch.seen.missed), b"".join(sights)


def _given_back(decision: Decision) -> tuple[int | str, ...]:
    ends = (decision.state.day_ends, decision.state.month_ends)
    return (GIVE_BACK, *decision.returnable, *ends, decision.generation)


def returnable_shadow(decision: Decision) -> Decision | None:
    """What the shadow spent, if it did: a shadow may refuse what the limits admit."""
    shadow = decision.shadow
    return shadow if shadow is not None and shadow.admitted else None


def decode(asks: Sequence[Ask], reply: Sequence[Any]) -> list[Answer]:
    """The answer to each ask, of a flush that the script took."""
    at, generation = reply[0], reply[1].decode()
    start, answers = 2, list[Answer]()
    for ask in asks:
        end = start + _answered(ask)
        answers.append(_answer(ask, at, generation, reply[start:end]))
        start = end
    return answers


def _answered(ask: Ask) -> int:
    """How many integers the script answers to it."""
    if isinstance(ask, Admit):
        decisions = _DECISION if ask.shadow is None else 2 * _DECISION
        return decisions if ask.watch is None else decisions + _EVIDENCE
    if isinstance(ask, GiveBack):
        return _STATE if returnable_shadow(ask.decision) is None else 2 * _STATE
    return 1


def _answer(ask: Ask, at: int, generation: str, numbers: Sequence[int]) -> Answer:
    if isinstance(ask, Refuse):
        return numbers[0]
    if numbers[0] == _UNKNOWN:
        return None if isinstance(ask, GiveBack) else Unknown(generation)
    if isinstance(ask, GiveBack):
        given_to, state = ask.decision.limits, State(*numbers[:_STATE])
        return Decision(at, given_to, state, (), 0, 0, generation)
    evidence = None
    if ask.watch is not None:
        evidence = Evidence(*numbers[-_EVIDENCE:])
    shadow = ask.shadow
    if shadow is None:
        return _decision(ask, at, ask.limits, numbers, (generation, None, evidence))
    of = (of_shadow(generation, shadow.since), None, None)
    beside = _decision(ask, at, shadow.limits, numbers[_DECISION:], of)
    return _decision(ask, at, ask.limits, numbers, (generation, beside, evidence))


def _decision(
    ask: Admit,
    at: int,
    limits: Limits,
    numbers: Sequence[int],
    of: tuple[str, Decision | None, Evidence | None],
) -> Decision:
    violated, state = VIOLATIONS[numbers[0]], State(*numbers[1:_DECISION])
    return Decision(at, limits, state, violated, ask.rate_cost, ask.quota_cost, *of)
