"""What is asked of admission, and how a flush of it is put to admit.lua."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from gateway.quota.limit import VIOLATIONS, Decision, State
from gateway.vocabulary import Limits

GENERATION_KEY: Final = "gateway:generation"
ADMIT, GIVE_BACK, REFUSE = range(3)
_UNKNOWN: Final = -1
# How many integers the script answers to each.
_ANSWERS: Final = {ADMIT: 6, GIVE_BACK: 5, REFUSE: 1}


class Admit(NamedTuple):
    """Spend these units, or none."""

    institution: int
    key: int
    limits: Limits
    rate_cost: int
    quota_cost: int


class GiveBack(NamedTuple):
    """Return what an admitted decision spent."""

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


def encode(
    asks: Sequence[Ask], generation_key: str, tag: str
) -> list[str | int | bytes]:
    """What follows the script in EVALSHA: the number of keys, the keys, the arguments."""
    keys, numbers = [generation_key], list[int | str]()
    for ask in asks:
        match ask:
            case Admit(institution, key, limits, rate_cost, quota_cost):
                keys += (state_key(institution), refused_key(institution, key))
                numbers += (ADMIT, *limits, rate_cost, quota_cost)
            case GiveBack(institution, decision):
                keys.append(state_key(institution))
                ends = (decision.state.day_ends, decision.state.month_ends)
                numbers += (GIVE_BACK, *decision.returnable, *ends, decision.generation)
            case Refuse(institution, key):
                keys.append(refused_key(institution, key))
                numbers.append(REFUSE)
    return [len(keys), *keys, tag, msgspec.msgpack.encode(numbers)]


def decode(asks: Sequence[Ask], reply: Sequence[int | bytes]) -> list[Answer]:
    """The answer to each ask, of a flush that the script took."""
    at, generation = int(reply[0]), bytes(reply[1]).decode()
    start, answers = 2, list[Answer]()
    for ask in asks:
        kind = ADMIT if isinstance(ask, Admit) else REFUSE
        kind = GIVE_BACK if isinstance(ask, GiveBack) else kind
        end = start + _ANSWERS[kind]
        numbers = [int(number) for number in reply[start:end]]
        answers.append(_answer(ask, at, generation, numbers))
        start = end
    return answers


def _answer(ask: Ask, at: int, generation: str, numbers: list[int]) -> Answer:
    if isinstance(ask, Refuse):
        return numbers[0]
    if isinstance(ask, GiveBack):
        if numbers[0] == _UNKNOWN:
            return None
        given_to = ask.decision.limits
        return Decision(at, given_to, State(*numbers), (), 0, 0, generation)
    if numbers[0] == _UNKNOWN:
        return Unknown(generation)
    violated, state = VIOLATIONS[numbers[0]], State(*numbers[1:])
    costs = (ask.rate_cost, ask.quota_cost)
    return Decision(at, ask.limits, state, violated, *costs, generation)
