"""What is kept about partners and staff, for the people who keep it: never a secret.

Instants are microseconds since 1970 in UTC. Each list is in the order of its ids (of
keys: in which they were made; tokens are not among them) and takes `only`, the id of the one that is wanted, and
raises NotFound if there is none such; or a `part` of the list.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

import asyncpg

from gateway.clock import from_datetime
from gateway.partners.agreement import (
    Agreement,
    Grant,
    applicable,
    fields_of,
    operations_of,
)
from gateway.partners.certificates import Certificate
from gateway.partners.terms import Network, require_id, require_key_id
from gateway.postgres import Connection, Reader, queries
from gateway.problems import NotFound
from gateway.vocabulary import Limits, Shadow

_SQL: Final = queries("gateway.partners")


class Part(NamedTuple):
    """At most `limit` of a list (None: all), those above the number `after`.

    The number is the record's `number`, or its id where it has none.
    """

    after: int = 0
    limit: int | None = None


_ALL: Final = Part()


@dataclass(frozen=True, slots=True)
class InstitutionRecord:
    id: int
    name: str
    created_at: int


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An institution's key, or a token: then it has no institution.

    Empty `networks` admit it from anywhere. `last_used_at` is to the minute, and some
    seconds late; None where no use is known.
    """

    id: str
    number: int
    institution: int | None
    not_after: int | None
    networks: tuple[Network, ...]
    created_at: int
    revoked_at: int | None
    last_used_at: int | None


class Identity(NamedTuple):
    """Who somebody is to an OpenID provider: what its tokens say under `claim`."""

    issuer: str
    claim: str
    subject: str


@dataclass(frozen=True, slots=True)
class StaffRecord:
    """A member of staff; `token` is the id of the token, not its text."""

    id: int
    role: str
    name: str
    token: str
    number: int
    not_after: int | None
    created_at: int
    revoked_at: int | None
    last_used_at: int | None
    identity: Identity | None


async def list_institutions(
    connection: Reader,
    *,
    only: int | None = None,
    part: Part = _ALL,
    name: str | None = None,
) -> list[InstitutionRecord]:
    """Those whose names hold `name`, in capitals or not, if it is given."""
    wanted = None if only is None else require_id(only)
    rows = await connection.fetch(_SQL["institutions"], 0, wanted, *part, name)
    return [
        InstitutionRecord(row["id"], row["name"], from_datetime(row["created_at"]))
        for row in _found(rows, only)
    ]


async def list_agreements(
    connection: Connection,
    *,
    only: int | None = None,
    part: Part = _ALL,
    institution: int | None = None,
) -> list[Agreement]:
    wanted = None if only is None else require_id(only)
    rows = await connection.fetch(_SQL["agreements"], 0, wanted, *part, institution)
    return [read_agreement(row) for row in _found(rows, only)]


async def list_keys(
    connection: Connection,
    *,
    only: str | None = None,
    part: Part = _ALL,
    institution: int | None = None,
) -> list[KeyRecord]:
    wanted = None if only is None else require_key_id(only)
    rows = await connection.fetch(_SQL["institution_keys"], wanted, *part, institution)
    return [
        KeyRecord(
            id=row["id"],
            number=row["number"],
            institution=row["institution"],
            not_after=read_instant(row["not_after"]),
            networks=tuple(row["cidrs"] or ()),
            created_at=from_datetime(row["created_at"]),
            revoked_at=read_instant(row["revoked_at"]),
            last_used_at=read_instant(row["last_used_at"]),
        )
        for row in _found(rows, only)
    ]


async def list_staff(
    connection: Connection, *, only: int | None = None, part: Part = _ALL
) -> list[StaffRecord]:
    wanted = None if only is None else require_id(only)
    rows = await connection.fetch(_SQL["staff_members"], wanted, *part)
    return [
        StaffRecord(
            id=row["id"],
            role=row["role"],
            name=row["name"],
            token=row["token"],
            number=row["number"],
            not_after=read_instant(row["not_after"]),
            created_at=from_datetime(row["created_at"]),
            revoked_at=read_instant(row["revoked_at"]),
            last_used_at=read_instant(row["last_used_at"]),
            identity=None
            if row["subject"] is None
            else Identity(row["issuer"], row["claim"], row["subject"]),
        )
        for row in _found(rows, only)
    ]


async def list_certificates(
    connection: Connection,
    *,
    only: int | None = None,
    part: Part = _ALL,
    institution: int | None = None,
) -> list[Certificate]:
    """Bindings to certificates, ended ones too."""
    wanted = None if only is None else require_id(only)
    rows = await connection.fetch(_SQL["certificates"], 0, wanted, *part, institution)
    return [read_certificate(row) for row in _found(rows, only)]


async def limits_of(connection: Reader, institution: int) -> Limits | None:
    """The limits an institution is held to now; None without any agreement.

    Raises:
        NotFound: there is no such institution.
    """
    await list_institutions(connection, only=institution)
    rows = await connection.fetch(_SQL["limits_of_an_institution"], institution)
    agreements = [
        Agreement(
            id=row["id"],
            institution=row["institution"],
            from_at=from_datetime(row["from_at"]),
            to_at=from_datetime(row["to_at"]),
            status=row["status"],
            limits=Limits(row["rate"], row["burst"], row["day"], row["month"]),
            grants={},
        )
        for row in rows
    ]
    now = from_datetime(rows[0]["now"]) if rows else 0
    held_to = applicable(agreements, now)
    return None if held_to is None else held_to.limits


def read_agreement(row: asyncpg.Record) -> Agreement:
    """Build an agreement and its grants from a row of the query `agreements`."""
    columns = zip(
        row["purposes"],
        row["purpose_numbers"],
        map(operations_of, row["operations"]),
        map(fields_of, row["fields"]),
        row["name_similarities"],
        strict=True,
    )
    return Agreement(
        id=row["id"],
        institution=row["institution"],
        from_at=from_datetime(row["from_at"]),
        to_at=from_datetime(row["to_at"]),
        status=row["status"],
        limits=Limits(row["rate"], row["burst"], row["day"], row["month"]),
        grants={grant.purpose: grant for grant in (Grant(*each) for each in columns)},
        shadow=_read_shadow(row),
    )


def read_certificate(row: asyncpg.Record) -> Certificate:
    """Build a binding from a row of the query `certificates`."""
    return Certificate(
        id=row["id"],
        institution=row["institution"],
        fingerprint=row["fingerprint"],
        label=row["label"],
        not_after=from_datetime(row["not_after"]),
        created_at=from_datetime(row["created_at"]),
        unbound_at=read_instant(row["unbound_at"]),
    )


def _read_shadow(row: asyncpg.Record) -> Shadow | None:
    if row["shadow_since"] is None:
        return None
    limits = Limits(*(row[f"shadow_{name}"] for name in Limits._fields))
    return Shadow(limits, from_datetime(row["shadow_since"]))


def _found(rows: list[asyncpg.Record], only: object) -> list[asyncpg.Record]:
    if only is not None and not rows:
        raise NotFound
    return rows


def read_instant(moment: datetime | None) -> int | None:
    return None if moment is None else from_datetime(moment)
