"""What an admin changes: institutions, agreements, keys, certificates and staff.

Each function works on the caller's connection, inside the caller's transaction (READ
COMMITTED), because the entry of the change is written in the same one: a crash leaves
both or neither. Triggers stamp what changed and tell every worker as it commits.

Bad input is one InvalidRequest with all that is wrong; what is not there is NotFound.
Arguments of type `object` are decoded JSON as it came; instants are microseconds.
"""

from dataclasses import dataclass, field
from typing import Final

from gateway.clock import from_datetime, to_datetime
from gateway.keyed import Keyed
from gateway.partners import terms
from gateway.partners.keys import Credential, Environment, Kind, digest, make
from gateway.postgres import Connection, queries
from gateway.problems import Fault, InvalidRequest, NotFound
from gateway.settings import NumberedKeys
from gateway.vocabulary import Limits

MOST_LIVE_KEYS: Final = 2
TOO_MANY_KEYS: Final = f"has {MOST_LIVE_KEYS} live keys; revoke one of them first"
BOUND_ALREADY: Final = "is bound already"

# In place of what is not given, where None says that there is to be none.
UNCHANGED: Final = object()
_NO_LIMITS: Final = (None,) * len(Limits._fields)
_SQL: Final = queries("gateway.partners")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. `text` is all of it: shown once, kept nowhere."""

    id: str
    number: int
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewStaff:
    id: int
    token: NewKey


@dataclass(frozen=True, slots=True)
class Unbound:
    """A binding that is ended; with none `left` its institution calls without again."""

    id: int
    institution: int
    left: int


async def create_institution(connection: Connection, name: object) -> int:
    """Return the id of a new institution.

    Raises:
        InvalidRequest: the name is not fit to be one.
    """
    faults: list[Fault] = []
    read = terms.read_name(name, faults)
    _refuse(faults)
    number: int = await connection.fetchval(_SQL["insert_institution"], read)
    return number


async def release_institution(connection: Connection, institution: int) -> int:
    """End what is done about an institution that seemed to harvest, and return its id.

    It is watched anew from now on: what it asked before is no evidence any more.

    Raises:
        NotFound: there is no such institution.
    """
    released = terms.require_id(institution)
    if await connection.fetchval(_SQL["let_go"], released) is None:
        raise NotFound
    return released


async def create_agreement(
    connection: Connection,
    institution: int,
    *,
    from_at: int,
    to_at: int,
    grants: object,
    limits: object,
) -> int:
    """Return the id of a new agreement, active from the start.

    Args:
        connection: in the caller's transaction.
        institution: whose it is.
        from_at: the first instant.
        to_at: the instant from which it no longer holds.
        grants: `[{"purpose", "operations", "fields", "name_similarity"?}]`.
        limits: `{"rate", "burst", "day", "month"}`.

    Raises:
        InvalidRequest: saying all that is wrong.
        NotFound: there is no such institution.
    """
    faults: list[Fault] = []
    terms.read_span(from_at, to_at, faults)
    granted = terms.read_grants(grants, await _purposes(connection), faults)
    allowed = terms.read_limits(limits, faults)
    _refuse(faults)
    await _lock_institution(connection, institution)
    number: int = await connection.fetchval(
        _SQL["insert_agreement"],
        institution,
        to_datetime(from_at),
        to_datetime(to_at),
        "active",
        *allowed,
    )
    await _insert_grants(connection, number, granted)
    return number


async def change_agreement(
    connection: Connection,
    agreement: int,
    *,
    institution: object = None,
    from_at: int | None = None,
    to_at: int | None = None,
    grants: object = None,
    limits: object = None,
    status: object = None,
    shadow: object = UNCHANGED,
) -> int:
    """Change what is given and leave the rest; return the agreement's id.

    `grants` replaces them all; a limit left out of `limits` stays what it is. An
    `institution` must be the one whose it is: an agreement is never another's. A
    `shadow` begins anew whenever it is given, and ends with None; a limit left out of
    it is the agreement's own.

    Raises:
        NotFound: there is no such agreement.
        InvalidRequest: saying all that is wrong.
    """
    number = terms.require_id(agreement)
    now = await connection.fetchrow(_SQL["lock_agreement"], number)
    if now is None:
        raise NotFound
    faults: list[Fault] = []
    terms.read_same_institution(institution, now["institution"], faults)
    begins = from_datetime(now["from_at"]) if from_at is None else from_at
    ends = from_datetime(now["to_at"]) if to_at is None else to_at
    terms.read_span(begins, ends, faults)
    allowed = Limits(now["rate"], now["burst"], now["day"], now["month"])
    if limits is not None:
        allowed = terms.read_limits(limits, faults, current=allowed)
    stands = now["status"] if status is None else terms.read_status(status, faults)
    beside = None
    if shadow is not UNCHANGED and shadow is not None:
        beside = terms.read_limits(shadow, faults, current=allowed, at="/shadow")
    granted = None
    if grants is not None:
        granted = terms.read_grants(grants, await _purposes(connection), faults)
    _refuse(faults)
    span = (to_datetime(begins), to_datetime(ends))
    await connection.execute(_SQL["update_agreement"], number, *span, stands, *allowed)
    if shadow is not UNCHANGED:
        await connection.execute(_SQL["set_shadow"], number, *(beside or _NO_LIMITS))
    if granted is not None:
        await connection.execute(_SQL["delete_grants"], number)
        await _insert_grants(connection, number, granted)
    return number


async def create_key(
    connection: Connection,
    peppers: NumberedKeys,
    *,
    institution: int,
    not_after: int | None,
    cidrs: object,
    environment: Environment,
) -> NewKey:
    """Make a key of an institution that has at most one live key.

    Args:
        connection: in the caller's transaction.
        peppers: the newest is used.
        institution: whose it is.
        not_after: the instant from which it is dead; None: it has no end of its own.
        cidrs: list of networks it is admitted from; None or empty: anywhere.
        environment: live, or test for a demo or sandbox.

    Raises:
        InvalidRequest: bad networks, or two keys live already.
        NotFound: there is no such institution.
    """
    faults: list[Fault] = []
    networks = terms.read_networks(cidrs, faults)
    _refuse(faults)
    # Locked first, so that of two made at once the later counts the earlier.
    await _lock_institution(connection, institution)
    live = await connection.fetchval(_SQL["count_live_keys"], institution)
    if live >= MOST_LIVE_KEYS:
        raise InvalidRequest([Fault("/institution", TOO_MANY_KEYS)])
    return await _insert_key(
        connection,
        peppers,
        make(Kind.INSTITUTION, environment),
        institution=institution,
        not_after=not_after,
        networks=networks,
    )


async def revoke_key(connection: Connection, key_id: str) -> str:
    """End a key, or a staff token, by its public id, and return that.

    To do it again changes nothing.

    Raises:
        NotFound: there is no such key.
    """
    ended = terms.require_key_id(key_id)
    if await connection.fetchval(_SQL["revoke_key"], ended) is None:
        raise NotFound
    return ended


async def bind_certificate(
    connection: Connection,
    *,
    institution: int,
    fingerprint: object,
    label: object,
    not_after: int,
) -> int:
    """Bind an institution to a client certificate, and return the binding's id.

    From now on its keys are accepted with this one or another that it is bound to, and
    no longer without any.

    Args:
        connection: in the caller's transaction.
        institution: whose keys need it.
        fingerprint: the SHA-256 of the certificate's DER, in hexadecimal.
        label: what people call it.
        not_after: the instant from which it admits nobody.

    Raises:
        InvalidRequest: the fingerprint or the label cannot be one, or it is bound already.
        NotFound: there is no such institution.
    """
    faults: list[Fault] = []
    digest_of_it = terms.read_fingerprint(fingerprint, faults)
    named = terms.read_name(label, faults, "/label")
    _refuse(faults)
    await _lock_institution(connection, institution)
    if await connection.fetchval(_SQL["is_bound"], institution, digest_of_it):
        raise InvalidRequest([Fault("/fingerprint", BOUND_ALREADY)])
    wanted = (institution, digest_of_it, named, to_datetime(not_after))
    number: int = await connection.fetchval(_SQL["insert_certificate"], *wanted)
    return number


async def unbind_certificate(connection: Connection, certificate: int) -> Unbound:
    """End a binding to a certificate. To do it again changes nothing.

    Raises:
        NotFound: there is no such binding.
    """
    ended = terms.require_id(certificate)
    holder = await connection.fetchval(_SQL["unbind_certificate"], ended)
    if holder is None:
        raise NotFound
    left = await connection.fetchval(_SQL["count_certificates"], holder)
    return Unbound(ended, holder, left)


async def create_staff(
    connection: Connection,
    peppers: NumberedKeys,
    *,
    role: object,
    name: object,
    not_after: int | None,
    environment: Environment,
) -> NewStaff:
    """Make a member of staff and the one token that is theirs.

    Raises:
        InvalidRequest: no such role, or the name is not fit to be one.
    """
    faults: list[Fault] = []
    read = (terms.read_role(role, faults).word, terms.read_name(name, faults))
    _refuse(faults)
    staff: int = await connection.fetchval(_SQL["insert_staff"], *read)
    credential = make(Kind.STAFF, environment)
    token = await _insert_key(
        connection, peppers, credential, staff=staff, not_after=not_after
    )
    return NewStaff(staff, token)


async def revoke_staff(connection: Connection, staff: int) -> int:
    """End a member of staff's token, and return the member's id.

    To do it again changes nothing.

    Raises:
        NotFound: there is no such member.
    """
    ended = terms.require_id(staff)
    if await connection.fetchval(_SQL["revoke_staff"], ended) is None:
        raise NotFound
    return ended


async def _insert_key(
    connection: Connection,
    peppers: NumberedKeys,
    credential: Credential,
    *,
    institution: int | None = None,
    staff: int | None = None,
    not_after: int | None,
    networks: list[terms.Network] | None = None,
) -> NewKey:
    pepper = peppers.newest
    number = await connection.fetchval(
        _SQL["insert_key"],
        credential.id,
        digest(credential.text, Keyed(peppers.by_number[pepper])),
        pepper,
        institution,
        staff,
        None if not_after is None else to_datetime(not_after),
        networks or None,
    )
    return NewKey(credential.id, number, credential.text)


async def _insert_grants(
    connection: Connection, agreement: int, granted: list[terms.GrantTerms]
) -> None:
    rows = [(agreement, *grant) for grant in granted]
    await connection.executemany(_SQL["insert_grant"], rows)


async def _purposes(connection: Connection) -> dict[str, int]:
    rows = await connection.fetch(_SQL["purposes"], 0)
    return {row["name"]: row["number"] for row in rows}


async def _lock_institution(connection: Connection, institution: int) -> None:
    number = terms.require_id(institution)
    if await connection.fetchval(_SQL["lock_institution"], number) is None:
        raise NotFound


def _refuse(faults: list[Fault]) -> None:
    if faults:
        raise InvalidRequest(faults)
