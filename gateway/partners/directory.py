"""Who may call: every worker's own copy, so that identifying touches no network.

The copy is brought up to date when PostgreSQL says that something changed, and asked
for every half second besides, since a NOTIFY can be lost. Every row carries the
version at which it last changed, and versions commit in order, so only rows above the
last one seen are read. A worker that has not been able to ask for five seconds no
longer knows who was revoked, and answers nobody.
"""

import asyncio
import math
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from hmac import compare_digest
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import asyncpg

from gateway.clock import ServerClock, from_datetime
from gateway.keyed import Keyed
from gateway.partners import keys
from gateway.partners.agreement import Agreement
from gateway.partners.certificates import Bindings, Certificate
from gateway.partners.listing import read_agreement, read_certificate, read_instant
from gateway.partners.terms import Network
from gateway.postgres import SERVER_GONE, Connection, Link, queries
from gateway.problems import ReducedCapacity, Unauthenticated
from gateway.settings import NumberedKeys
from gateway.tasks import keep_running
from gateway.telemetry import DIRECTORY_AGE
from gateway.vocabulary import STAFF_ROLES, Actor, Precaution, Rule, Step

CHANNEL: Final = "directory"
POLL_SECONDS: Final = 0.5
STALE_SECONDS: Final = 5.0
ASK_SECONDS: Final = 1.0
LOAD_SECONDS: Final = 30.0
ROWS_AT_ONCE: Final = 500

_SQL: Final = queries("gateway.partners")
_ROLES: Final = {role.word: role for role in STAFF_ROLES}
# What an unknown id is compared with: no secret has this digest.
_NOBODY: Final = bytes(32)
_NO_PRECAUTION: Final = Precaution()
_CONNECTION_ERRORS: Final = (*SERVER_GONE, asyncpg.PostgresError)


@dataclass(frozen=True, slots=True)
class Staff:
    id: int
    role: Actor
    name: str


@dataclass(frozen=True, slots=True)
class Key:
    """A key of an institution, or a token of staff: exactly one of the two is set.

    `number` is what the log names it by, `id` its public part, `pepper` the number
    of the pepper under which `digest` was made, `not_after` the instant from which it
    is dead, `networks` where it is admitted from (none: anywhere).
    """

    number: int
    id: str
    digest: bytes = field(repr=False)
    pepper: int
    institution: int | None
    staff: Staff | None
    not_after: int | None
    networks: tuple[Network, ...]
    revoked: bool

    def admits(self, address: IPv4Address | IPv6Address) -> bool:
        """Tell whether a call may come from here (IPv4-mapped addresses unwrapped)."""
        return not self.networks or any(address in net for net in self.networks)


@dataclass(frozen=True, slots=True)
class Institution:
    """`precaution` is what was last done about it, in force or not."""

    id: int
    name: str
    agreements: tuple[Agreement, ...]
    precaution: Precaution = _NO_PRECAUTION


@dataclass(slots=True)
class _Snapshot:
    """All that is known as of `version`. Only its Directory changes it."""

    version: int = 0
    purpose_numbers: dict[str, int] = field(default_factory=dict)
    institutions: dict[int, Institution] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    keys_by_number: dict[int, Key] = field(default_factory=dict)
    bindings: Bindings = field(default_factory=Bindings)


@dataclass(slots=True)
class _Changes:
    """Rows above a snapshot's version, all read in one transaction."""

    version: int
    purposes: list[tuple[int, str]]
    institutions: list[tuple[int, str, Precaution]]
    agreements: list[Agreement]
    keys: list[Key]
    certificates: list[Certificate]

    def apply(self, snapshot: _Snapshot) -> None:
        """Bring a snapshot up to date without waiting, so that nobody sees half."""
        for number, purpose in self.purposes:
            snapshot.purpose_numbers[purpose] = number
        for key in self.keys:
            snapshot.keys[key.id] = snapshot.keys_by_number[key.number] = key
        known = snapshot.institutions
        for number, name, precaution in self.institutions:
            before = known.get(number)
            agreements = () if before is None else before.agreements
            known[number] = Institution(number, name, agreements, precaution)
        for agreement in self.agreements:
            holder = known[agreement.institution]
            others = (one for one in holder.agreements if one.id != agreement.id)
            known[holder.id] = replace(holder, agreements=(*others, agreement))
        snapshot.bindings.apply(self.certificates)
        snapshot.version = self.version


class Directory:
    """Institutions, agreements, keys and purposes, as this worker knows them.

    Args:
        link: the connection for questions, of a role that reads the directory.
        listener: the connection that hears of changes, of the same role.
        peppers: the secrets under which keys are proved.
        clock: is told PostgreSQL's time at every question.
    """

    def __init__(
        self, link: Link, listener: Link, peppers: NumberedKeys, clock: ServerClock
    ) -> None:
        self._link = link
        self._listener = listener
        self._peppers = {
            number: Keyed(pepper) for number, pepper in peppers.by_number.items()
        }
        self._newest_pepper = self._peppers[peppers.newest]
        self._clock = clock
        self._snapshot = _Snapshot()
        self._server_started: int | None = None
        self._current_at = -math.inf
        self._asking = asyncio.Lock()
        self._changed = asyncio.Event()

    def identify(self, credential: str | keys.Proved | None, now: int) -> Key:
        """Return the key that this proves, as of the server's instant `now`.

        An unknown id costs the same work as a wrong secret, so that the time taken
        does not tell which ids exist.

        Raises:
            Unauthenticated: with the key's number where the id is known.
        """
        if isinstance(credential, keys.Proved):
            return _living(self._snapshot.keys_by_number.get(credential.number), now)
        presented = None if credential is None else keys.parse(credential)
        if presented is None:
            raise Unauthenticated
        key = self._snapshot.keys.get(presented.id)
        pepper = self._newest_pepper
        stored = _NOBODY
        if key is not None:
            # Under another pepper than its own nothing proves a key.
            pepper = self._peppers.get(key.pepper, pepper)
            stored = key.digest
        proved = compare_digest(keys.digest(presented.text, pepper), stored)
        if not proved:
            raise Unauthenticated(None if key is None else key.number)
        return _living(key, now)

    def check_certificate(self, key: Key, presented: bytes | None, now: int) -> None:
        """Refuse a key that needs another certificate than the connection's, or any.

        Raises:
            Unauthenticated: as of the server's instant `now`.
        """
        bindings = self._snapshot.bindings
        bindings.check(key.institution, key.number, presented, now)

    def institution(self, number: int) -> Institution | None:
        return self._snapshot.institutions.get(number)

    def institutions(self) -> list[Institution]:
        """All of them, as they are now."""
        return list(self._snapshot.institutions.values())

    def purposes(self) -> list[str]:
        """Their names, in the order of their numbers."""
        numbers = self._snapshot.purpose_numbers
        return sorted(numbers, key=numbers.__getitem__)

    def purpose_number(self, name: str) -> int | None:
        return self._snapshot.purpose_numbers.get(name)

    def key_of(self, number: int) -> Key:
        """Find a key by the log's number; KeyError if this worker never saw it."""
        return self._snapshot.keys_by_number[number]

    def keys_of(self, institution: int) -> list[Key]:
        """All that this institution ever had, the newest first."""
        found = [
            key
            for key in self._snapshot.keys_by_number.values()
            if key.institution == institution
        ]
        return sorted(found, key=lambda key: -key.number)

    def key_named(self, key_id: str) -> Key | None:
        return self._snapshot.keys.get(key_id)

    def age(self) -> float:
        """Seconds since this was last known to be current; infinite if never."""
        return time.monotonic() - self._current_at

    def check_fresh(self) -> None:
        """Refuse to judge anyone by a copy that may be out of date.

        Raises:
            ReducedCapacity: not known to be current for five seconds.
        """
        if self.age() > STALE_SECONDS:
            raise ReducedCapacity("the directory may be out of date")

    async def watch(self) -> None:
        """Stay current for ever: on every NOTIFY, and every half second."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_running("directory-listener", self._listen))
            tasks.create_task(keep_running("directory", self._poll, pause=POLL_SECONDS))

    async def refresh(self) -> None:
        """Read what changed since the last time; everything, the first time.

        Raises:
            OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError:
                PostgreSQL could not be asked, nor on a connection made anew.
        """
        async with self._asking:
            try:
                await self._catch_up()
            except _CONNECTION_ERRORS:
                # Most often the connection died since it was last used.
                self._link.drop()
                await self._catch_up()
            finally:
                DIRECTORY_AGE.set(self.age())

    async def _catch_up(self) -> None:
        # Current as of before the question: what commits during it may be missed.
        asked_at = time.monotonic()
        async with self._link.connection() as connection:
            async with asyncio.timeout(ASK_SECONDS):
                state = await connection.fetchrow(_SQL["directory_state"])
            if state is None:
                raise asyncpg.InterfaceError("the directory has no version")
            self._clock.observe_postgres(from_datetime(state["at"]))
            started = from_datetime(state["server_started"])
            snapshot = self._still_good(started, state["version"])
            if state["version"] > snapshot.version:
                async with asyncio.timeout(LOAD_SECONDS):
                    changes = await _read_changes(connection, snapshot.version)
                changes.apply(snapshot)
        self._snapshot = snapshot
        self._server_started = started
        self._current_at = asked_at

    def _still_good(self, server_started: int, version: int) -> _Snapshot:
        # A failover may have lost versions that were seen here, and given their
        # numbers to other changes: of another server everything is read again.
        same_server = server_started == self._server_started
        if same_server and version >= self._snapshot.version:
            return self._snapshot
        return _Snapshot()

    async def _poll(self) -> None:
        while True:
            # Cleared before the question, so that a change during it is asked again.
            self._changed.clear()
            await self.refresh()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._changed.wait()

    async def _listen(self) -> None:
        async with self._listener.connection() as connection:
            ended = asyncio.Event()
            connection.add_termination_listener(lambda _: ended.set())
            await connection.add_listener(CHANNEL, self._hear)
            # What was said while nobody listened.
            self._changed.set()
            await ended.wait()
            raise ConnectionResetError("the listening connection ended")

    def _hear(self, *_: object) -> None:
        self._changed.set()


def _living(key: Key | None, now: int) -> Key:
    """Raises Unauthenticated for one that is revoked or over, or that nobody has."""
    if key is None:
        raise Unauthenticated
    if key.revoked or (key.not_after is not None and now >= key.not_after):
        raise Unauthenticated(key.number, proved=True)
    return key


async def _read_changes(connection: Connection, since: int) -> _Changes:
    changed = (since, None, 0, None, None)
    # A worker goes on serving while it reads everything anew.
    in_portions = partial(connection.cursor, prefetch=ROWS_AT_ONCE)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return _Changes(
            version=await connection.fetchval(_SQL["directory_version"]),
            purposes=[
                (row["number"], row["name"])
                for row in await connection.fetch(_SQL["purposes"], since)
            ],
            institutions=[
                (row["id"], row["name"], _read_precaution(row))
                for row in await connection.fetch(_SQL["institutions"], *changed)
            ],
            agreements=[
                read_agreement(row)
                async for row in in_portions(_SQL["agreements"], *changed)
            ],
            keys=[_read_key(row) async for row in in_portions(_SQL["keys"], since)],
            certificates=[
                read_certificate(row)
                for row in await connection.fetch(_SQL["certificates"], *changed)
            ],
        )


def _read_precaution(row: asyncpg.Record) -> Precaution:
    if not row["harvest_step"] and row["watched_since"] is None:
        # Of thousands of institutions nearly all.
        return _NO_PRECAUTION
    rule = row["harvest_rule"]
    return Precaution(
        Step.numbered(row["harvest_step"]),
        None if rule is None else Rule.numbered(rule),
        read_instant(row["harvest_at"]) or 0,
        read_instant(row["watched_since"]) or 0,
    )


def _read_key(row: asyncpg.Record) -> Key:
    staff = None
    if row["staff_id"] is not None:
        staff = Staff(row["staff_id"], _ROLES[row["role"]], row["name"])
    return Key(
        number=row["number"],
        id=row["id"],
        digest=row["digest"],
        pepper=row["pepper"],
        institution=row["institution"],
        staff=staff,
        not_after=read_instant(row["not_after"]),
        networks=tuple(row["cidrs"] or ()),
        revoked=row["revoked_at"] is not None,
    )
