"""How many asks of each institution were refused today, for those who run the gateway.

Beside admission and no part of it: a refused ask writes nothing on its way. A worker
counts its refusals and adds them to Redis twice a second, a flood in one command, so
a crash loses the last half second of a count that decides nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from gateway.clock import SECOND
from gateway.redis import Client

PAUSE: Final = 0.5
MOST_AT_ONCE: Final = 500
# Read a little after the day has turned, and not for ever.
GRACE_SECONDS: Final = 86_400


class Refusal(NamedTuple):
    """Refusals alike: of the day (that ends then), the institution and the policies."""

    day_ends: int
    institution: int
    violated: tuple[str, ...]

    @property
    def field(self) -> str:
        return f"{self.institution}:{'+'.join(self.violated)}"


@dataclass(slots=True)
class Refused:
    """Asks refused: one that several policies refused counts once, and for each."""

    asks: int
    by_policy: Counter[str]


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
            await commands.execute()

    async def read(self, day_ends: int) -> dict[int, Refused]:
        """The refusals of that day by institution; those that have none are absent.

        Raises:
            RedisError: Redis does not answer.
        """
        ask: Callable[..., Awaitable[dict[bytes, bytes]]] = self._redis.execute_command
        return _by_institution((await ask("HGETALL", tally_key(day_ends))).items())


def _by_institution(pairs: Iterable[tuple[bytes, bytes]]) -> dict[int, Refused]:
    refused: dict[int, Refused] = {}
    for field, times in pairs:
        institution, _, policies = field.decode().partition(":")
        own = refused.setdefault(int(institution), Refused(0, Counter()))
        own.asks += int(times)
        own.by_policy.update(dict.fromkeys(policies.split("+"), int(times)))
    return refused
