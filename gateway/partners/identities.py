"""Whom an OpenID provider knows as which member of staff.

As in keeping.py: inside the caller's transaction, which holds the entry of the change.
"""

from typing import Final

from gateway.partners import terms
from gateway.partners.keys import Environment
from gateway.partners.listing import Identity
from gateway.postgres import Connection, queries
from gateway.problems import Fault, InvalidRequest, NotFound

SOMEBODY_ELSE: Final = "is another member of staff"
_SQL: Final = queries("gateway.partners")


async def bind_staff(
    connection: Connection, staff: int, identity: Identity, environment: Environment
) -> int:
    """Bind a member of staff to an OpenID provider's subject, and return the member's id.

    Whom it was bound to before is nobody here from then on, and signed out.

    Raises:
        InvalidRequest: the subject is not fit to be one, or another member is bound to it.
        NotFound: there is no such member.
    """
    faults: list[Fault] = []
    subject = terms.read_subject(identity.subject, faults)
    if faults:
        raise InvalidRequest(faults)
    bound = await unbind_staff(connection, staff)
    sandbox = environment is Environment.TEST
    number = await connection.fetchval(
        *(_SQL["insert_identity"], bound, identity.issuer, identity.claim),
        *(subject, sandbox),
    )
    if number is None:
        raise InvalidRequest([Fault("/subject", SOMEBODY_ELSE)])
    return bound


async def unbind_staff(connection: Connection, staff: int) -> int:
    """Take a member of staff's identity away, and return the member's id.

    To do it again changes nothing.

    Raises:
        NotFound: there is no such member.
    """
    number = terms.require_id(staff)
    if await connection.fetchval(_SQL["lock_staff"], number) is None:
        raise NotFound
    await connection.execute(_SQL["delete_identity"], number)
    return number
