"""Puts the asks of a flush to the servers that hold the counters, in one round trip.

What one script call decides is a portion: all asks of a flush where there is one server,
those of one institution in a cluster. A portion may need a second round: where the server
does not know the script, or the generation is another's, or the slot is elsewhere by now.
In none of these was anything done, so nothing is spent twice.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from gateway.gathering import Failed
from gateway.quota.script import Answer, Ask, decode, encode
from gateway.quota.servers import Servers
from gateway.redis import Command, Wire

# The generation, the script and the slot may each be unknown once.
ROUNDS: Final = 4
# The slot is held by another server, or will be in a moment.
_ELSEWHERE: Final = (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    ReadOnlyError,
    TryAgainError,
)


class Script:
    """One of the package's scripts, known to a server by its digest once it was sent."""

    def __init__(self, name: str) -> None:
        self.text = files("gateway.quota").joinpath(name).read_text("utf-8")
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


ADMIT, GENERATION, LOAD = map(Script, ("admit.lua", "generation.lua", "load.lua"))


@dataclass(slots=True, eq=False)
class Portion:
    """Asks that one script call decides, their places in the flush, and what came of it.

    `lost_on` is the way on which no answer came: what was done there is unknown. Only
    another server may be asked again, which counts under another generation.
    """

    generation_key: str
    institution: int
    asks: list[Ask] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    reply: Sequence[Any] | None = None
    error: Exception | None = None
    over: bool = False
    begins: bool = False
    in_full: bool = False
    lost_on: Wire | None = None

    def commands(self, process: str, epoch: int) -> list[Command]:
        tag = f"{process}:{epoch}"
        script = ("EVAL", ADMIT.text) if self.in_full else ("EVALSHA", ADMIT.sha)
        asked: list[Command] = [(*script, *encode(self.asks, self.generation_key, tag))]
        if self.begins:
            key = self.generation_key
            asked.insert(0, ("EVAL", GENERATION.text, 1, key, tag))
        return asked

    def hear(self, answer: Any) -> None:
        """What the server said: it is over, or there is to be another round."""
        if isinstance(answer, NoScriptError):
            self.in_full = True
        elif isinstance(answer, ResponseError):
            self.error = answer
            self.over = not isinstance(answer, _ELSEWHERE)
        elif answer[1]:
            self.reply, self.error, self.over = answer, None, True
        elif self.begins:
            self._fail(RedisError("another worker knows another server or epoch"))
        else:
            self.begins = True

    def lose(self, error: Exception, wire: Wire) -> None:
        self.error, self.lost_on = error, wire

    def _fail(self, error: Exception) -> None:
        self.error, self.over = error, True

    def goes_by(self, wire: Wire) -> bool:
        """Whether it may be put to that server (still)."""
        self.over = wire is self.lost_on
        return not self.over

    def outcomes(self) -> Sequence[Answer | Failed]:
        """Of each ask of the portion."""
        if self.reply is None:
            error = self.error or RedisError("the servers answer otherwise every time")
            return [Failed(sent=True, cause=error)] * len(self.asks)
        return decode(self.asks, self.reply)


def portions_of(servers: Servers, asks: Sequence[Ask]) -> list[Portion]:
    portions: dict[str, Portion] = {}
    for place, ask in enumerate(asks):
        key = servers.generation_key(ask.institution)
        portion = portions.get(key)
        if portion is None:
            portion = portions[key] = Portion(key, ask.institution)
        portion.asks.append(ask)
        portion.places.append(place)
    return list(portions.values())


async def put(servers: Servers, portions: Sequence[Portion], epoch: int) -> None:
    """Has the portions decided; each tells then what came of it.

    Raises:
        RedisError: nobody says who holds them.
    """
    waiting = list(portions)
    for _ in range(ROUNDS):
        ways = defaultdict[Wire, list[Portion]](list)
        for portion in waiting:
            wire = await servers.wire_of(portion.institution)
            if portion.goes_by(wire):
                ways[wire].append(portion)
        # One way is the usual case, and no task then need be made.
        for one in list(ways.items())[:1] if len(ways) == 1 else ():
            await _ask(*one, epoch)
        if len(ways) > 1:
            await asyncio.gather(*(_ask(*one, epoch) for one in ways.items()))
        waiting = [portion for portion in waiting if not portion.over]
        if not waiting:
            return
        if any(portion.error for portion in waiting):
            await servers.look_again()


async def _ask(wire: Wire, portions: list[Portion], epoch: int) -> None:
    counts: list[int] = []

    def commands(process: str) -> list[Command]:
        asked = [portion.commands(process, epoch) for portion in portions]
        counts[:] = map(len, asked)
        return [command for one in asked for command in one]

    try:
        answers = await wire.ask(commands)
    except (RedisError, OSError) as error:
        for portion in portions:
            portion.lose(error, wire)
        return
    last = -1
    for portion, count in zip(portions, counts, strict=True):
        last += count
        portion.hear(answers[last])
