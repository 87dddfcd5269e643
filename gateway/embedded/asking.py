"""Clients that keep asking while things break, and keep a ledger of what they were told.

Each call has a reference of its own, by which its entry is found whether or not the
answer came.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from gateway.embedded.wire import Answer, Connection, Lost
from gateway.vocabulary import Limits

# So few that the clients leave most of two cores to what they ask.
CLIENTS: Final = 12
PAUSE_SECONDS: Final = 0.02
# Between calls of one client: a few hundred calls a second are enough to be hit.
REST_SECONDS: Final = 0.01
CALLS_OF_A_CONNECTION: Final = 20
UNKNOWN_NIK: Final = "9999999999999999"
OK: Final = 200
FORBIDDEN: Final = 403
TOO_MANY: Final = 429
UNAVAILABLE: Final = 503
NOBODY_ANSWERED: Final = 0
# Limits that no run reaches.
FAR: Final = Limits(rate=1_000_000, burst=10_000_000, day=10**12, month=10**12)


@dataclass(frozen=True, slots=True)
class Partner:
    """An institution that asks: what it may, and a key of its own."""

    id: int
    limits: Limits
    key: str = field(repr=False)
    # It asks for what it was not granted, and nothing else.
    outsider: bool = False

    @property
    def statuses(self) -> set[int]:
        """Those that are right for it, whatever is away."""
        told = {FORBIDDEN} if self.outsider else {OK}
        limited = {TOO_MANY} if self.outsider or self.limits != FAR else set()
        return told | limited | {UNAVAILABLE, NOBODY_ANSWERED}


@dataclass(slots=True)
class Call:
    """What a client knows of one call. `status` is 0 as long as no answer came."""

    institution: int
    sent: float
    until: float = float("inf")
    status: int = NOBODY_ANSWERED
    # Of its entry, as the answer tells them.
    access_id: str | None = None
    outcome: str | None = None

    @property
    def fate_unknown(self) -> bool:
        """Whether only the log can say what came of it."""
        return self.status == NOBODY_ANSWERED or (
            self.status == UNAVAILABLE and self.access_id is None
        )


@dataclass(slots=True)
class Ledger:
    """Every call by its reference, and what the answers were."""

    calls: dict[str, Call] = field(default_factory=dict)
    told: Counter[tuple[int, int]] = field(default_factory=Counter)
    in_flight: int = 0

    @property
    def statuses(self) -> Counter[int]:
        found: Counter[int] = Counter()
        for (_, status), times in self.told.items():
            found[status] += times
        return found


@dataclass(slots=True)
class Asking:
    """The clients, over these ports, until `ending`."""

    ports: list[int]
    partners: Sequence[Partner]
    niks: Sequence[str]
    chance: Random
    ledger: Ledger = field(default_factory=Ledger)
    ending: bool = False
    # When the newest answer with data came, and when its call had been sent.
    served: tuple[float, float] = (0.0, 0.0)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CLIENTS):
                tasks.create_task(self._keep_asking())

    async def _keep_asking(self) -> None:
        while not self.ending:
            try:
                port = self.chance.choice(self.ports)
                async with Connection.opened(port) as connection:
                    for _ in range(CALLS_OF_A_CONNECTION):
                        last = await self._ask(connection)
                        await asyncio.sleep(REST_SECONDS)
                        if last:
                            break
            except (Lost, TimeoutError):
                # In the ledger; the next call goes over a new connection.
                continue
            except OSError:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _ask(self, connection: Connection) -> bool:
        """One call; whether it was the connection's last."""
        partner = self.chance.choice(self.partners)
        reference = f"call-{len(self.ledger.calls) + 1}"
        path, body = self._question(partner)
        call = Call(partner.id, time.monotonic())
        self.ledger.calls[reference] = call
        self.ledger.in_flight += 1
        try:
            answer = await connection.ask(
                "POST", path, key=partner.key, json={**body, "reference": reference}
            )
            self._note(call, answer)
            return answer.is_last
        finally:
            self.ledger.in_flight -= 1
            call.until = time.monotonic()
            self.ledger.told[call.institution, call.status] += 1

    def _note(self, call: Call, answer: Answer) -> None:
        call.status, call.access_id = answer.status, answer.access_id
        call.outcome = _outcome(answer)
        if answer.status == OK:
            self.served = time.monotonic(), call.sent

    def _question(self, partner: Partner) -> tuple[str, Mapping[str, Any]]:
        """Path and body of a call."""
        asked = {"nik": self.chance.choice(self.niks), "purpose": "treatment"}
        if partner.outsider:
            return "/v1/fetch", {**asked, "fields": ["religion"]}
        claims = {"claims": {"birth_date": "1801-01-01"}}
        fetched = {"fields": ["birth_date", "village"]}
        return self.chance.choice(
            (
                ("/v1/verify", {**asked, **claims}),
                ("/v1/verify", {**asked, **claims, "nik": UNKNOWN_NIK}),
                ("/v1/fetch", {**asked, **fetched}),
            )
        )


def _outcome(answer: Answer) -> str | None:
    """What the entry says if it says what the caller was told."""
    if answer.status == OK and "resident" in answer.json:
        return "disclosed"
    if answer.status == OK and not answer.json["found"]:
        return "not_found"
    if answer.status == OK:
        return "matched" if all(answer.json["matches"].values()) else "mismatched"
    return "failed" if answer.status == UNAVAILABLE else "refused"
