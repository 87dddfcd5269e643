"""Whom the OpenID provider knows as which member of staff. An admin's changes.

These routes are where a provider is set up (decision 42).
"""

from typing import Final

from litestar import Response, delete, put
from litestar.params import FromPath

from gateway.changes import Work
from gateway.edge.administration import Asked, change
from gateway.edge.caller import MOST_BODY, HttpRequest, services
from gateway.oidc.provider import IdentityProvider
from gateway.partners import documents, identities, listing, terms
from gateway.partners.listing import Identity, StaffRecord
from gateway.postgres import Connection
from gateway.problems import NotFound
from gateway.vocabulary import Operation

MEMBERS: Final = ("subject",)


def provider_of(request: HttpRequest) -> IdentityProvider:
    """Raises NotFound: there is none, nor these routes."""
    provider = services(request).identity_provider
    if provider is None:
        raise NotFound
    return provider


@put("/admin/staff/{member:str}/identity", request_max_body_size=MOST_BODY)
async def bind(request: HttpRequest, member: FromPath[str]) -> Response[bytes]:
    """Binds a member of staff to the provider's subject; another's sessions by it end."""

    def plan(asked: Asked) -> Work[StaffRecord]:
        provider = provider_of(request)
        # What it is no text is refused where it is read.
        subject: object = asked.members.get("subject")
        identity = Identity(
            *(provider.issuer, provider.claim),
            subject if isinstance(subject, str) else "",
        )

        async def work(connection: Connection) -> StaffRecord:
            number = terms.require_written_id(member)
            await identities.bind_staff(connection, number, identity, asked.environment)
            (kept,) = await listing.list_staff(connection, only=number)
            return kept

        return work

    operation, tell = Operation.STAFF_BIND, documents.of_staff
    return await change(
        request, operation, MEMBERS, plan, tell, target=member, status=200
    )


@delete(
    "/admin/staff/{member:str}/identity",
    status_code=200,
    request_max_body_size=MOST_BODY,
)
async def unbind(request: HttpRequest, member: FromPath[str]) -> Response[bytes]:
    """Takes it away, and signs out who signed in by it. Again changes nothing: 204."""

    def plan(_: Asked) -> Work[int]:
        async def work(connection: Connection) -> int:
            number = terms.require_written_id(member)
            return await identities.unbind_staff(connection, number)

        return work

    return await change(request, Operation.STAFF_UNBIND, (), plan)
