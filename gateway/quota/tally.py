"""How many asks of each institution were refused today, for those who run the gateway.

Beside admission and no part of it: a refused ask writes nothing on its way. A worker
counts its refusals and adds them to Redis twice a second, a flood in one command, so
a crash loses the last half second of a count that decides nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from gateway.clock import SECOND
from gateway.quota import notices
from gateway.redis import Client

PAUSE: Final = 0.5
MOST_AT_ONCE: Final = 500
# Read a little after the day has turned, and not for ever.
GRACE_SECONDS: Final = 86_400
# Beside the policies of a shadow: how many asks it would have refused.
ASKS: Final = "asks"


class Refusal(NamedTuple):
    """Refusals alike: of the day (that ends then), the institution and the policies.

    Those that limits in shadow would have made name the instant since which they are
    one; they are counted for each policy, and together under ASKS, so that the first of
    a policy shows.
    """

    day_ends: int
    institution: int
    violated: tuple[str, ...]
    shadow: int | None = None

    @property
    def field(self) -> str:
        whose = str(self.institution)
        if self.shadow is not None:
            whose += f"#{self.shadow}"
        return f"{whose}:{'+'.join(self.violated)}"


@dataclass(slots=True)
class Refused:
    """Asks refused: one that several policies refused counts once, and for each.

    `shadows` has what each shadow of the day would have refused, by its `since`.
    """

    asks: int = 0
    by_policy: Counter[str] = field(default_factory=Counter)
    shadows: "dict[int, Refused]" = field(default_factory=dict)

    def of_shadow(self, since: int) -> "Refused":
        return self.shadows.get(since) or Refused()


def tally_key(day_ends: int) -> str:
    """One hash a day, of all institutions, by the second at which the day ends.

    The braces put all days into one slot of a cluster, so that one write takes in two.
    """
    return f"{{refused}}:{day_ends // SECOND}"


class Tally:
    """One worker's count of refusals, and what all workers have added up in Redis."""

    def __init__(self, redis: Client) -> None:
        self._redis = redis
        self._waiting = Counter[Refusal]()

    def add(self, institution: int, day_ends: int, violated: tuple[str, ...]) -> None:
        self._waiting[Refusal(day_ends, institution, violated)] += 1

    def add_shadow(
        self, institution: int, day_ends: int, violated: tuple[str, ...], since: int
    ) -> None:
        """An ask that limits in shadow since then would have refused."""
        for counted in (ASKS, *violated):
            self._waiting[Refusal(day_ends, institution, (counted,), since)] += 1

    async def keep_writing(self) -> None:
        """For ever: what was counted is in Redis within the pause."""
        while True:
            await asyncio.sleep(PAUSE)
            await self.write()

    async def write(self) -> None:
        """Adds what was counted. What cannot be written stays, and may count twice.

        Raises:
            RedisError: Redis did not take it all.
        """
        waiting, self._waiting = self._waiting, Counter()
        try:
            while waiting:
                some = dict(islice(waiting.items(), MOST_AT_ONCE))
                await self._send(some)
                for written in some:
                    del waiting[written]
        finally:
            self._waiting.update(waiting)

    async def _send(self, counted: dict[Refusal, int]) -> None:
        # In one step, or a crash could leave a hash that never expires.
        async with self._redis.pipeline(transaction=True) as commands:
            for refusal, times in counted.items():
                key = tally_key(refusal.day_ends)
                commands.execute_command("HINCRBY", key, refusal.field, times)
            for day_ends in {refusal.day_ends for refusal in counted}:
                dies_at = day_ends // SECOND + GRACE_SECONDS
                commands.execute_command("EXPIREAT", tally_key(day_ends), dies_at)
            totals = await commands.execute()
        # The totals come first, then what EXPIREAT answers.
        for refusal, total in zip(counted, totals, strict=False):
            _tell_if_first(refusal, first=total == counted[refusal])

    async def read(self, day_ends: int) -> dict[int, Refused]:
        """The refusals of that day by institution; those that have none are absent.

        Raises:
            RedisError: Redis does not answer.
        """
        ask: Callable[..., Awaitable[dict[bytes, bytes]]] = self._redis.execute_command
        return _by_institution((await ask("HGETALL", tally_key(day_ends))).items())


def _tell_if_first(refusal: Refusal, *, first: bool) -> None:
    (policy, *_), since = refusal.violated, refusal.shadow
    if first and since is not None and policy != ASKS:
        notices.tell_first_of_the_day(refusal.institution, policy, since)


def _by_institution(pairs: Iterable[tuple[bytes, bytes]]) -> dict[int, Refused]:
    refused: dict[int, Refused] = {}
    for name, times in pairs:
        whose, _, policies = name.decode().partition(":")
        institution, _, since = whose.partition("#")
        own = refused.setdefault(int(institution), Refused())
        if since:
            _add_of_shadow(own.shadows, int(since), policies, int(times))
            continue
        own.asks += int(times)
        own.by_policy.update(dict.fromkeys(policies.split("+"), int(times)))
    return refused


def _add_of_shadow(
    shadows: dict[int, Refused], since: int, counted: str, times: int
) -> None:
    shadow = shadows.setdefault(since, Refused())
    if counted == ASKS:
        shadow.asks += times
    else:
        shadow.by_policy[counted] += times
