"""The admin's pages of client certificates: binding an institution to one, and unbinding."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Response, get, post
from litestar.params import FromPath

from gateway.clock import to_text
from gateway.console import history
from gateway.console.forms import AFRESH, again, done
from gateway.console.institutions import all_of
from gateway.console.pages import moment_of
from gateway.console.visit import Visit, shown
from gateway.edge import administration, listings
from gateway.edge.caller import MOST_BODY, HttpRequest
from gateway.vocabulary import Actor

_OF_ONE: Final = "/console/admin/certificates"


@get(
    "/console/admin/institutions/{institution:str}/certificates",
    include_in_schema=False,
)
async def certificates_page(
    request: HttpRequest, institution: FromPath[str]
) -> Response[Any]:
    """All that an institution is bound to, or was, and the form to bind it to another."""

    async def work(visit: Visit) -> Response[Any]:
        return await _draw_all(visit, institution, AFRESH)

    return await shown(request, Actor.ADMIN, work)


async def _draw_all(
    visit: Visit, institution: str, told: Mapping[str, Any]
) -> Response[bytes]:
    named = {"institution": institution}
    found = await visit.need(listings.one_institution, named=named)
    held = await all_of(visit, listings.certificates, "certificates", institution)
    return visit.draw(
        "admin_certificates.html",
        institution=found,
        certificates=[_standing(visit, one) for one in reversed(held)],
        **told,
    )


def _standing(visit: Visit, one: Mapping[str, Any]) -> dict[str, Any]:
    over = one["not_after"] <= to_text(visit.held.clock.now())
    return {**one, "over": over}


@post(
    "/console/admin/institutions/{institution:str}/certificates",
    include_in_schema=False,
    request_max_body_size=MOST_BODY,
)
async def bind(request: HttpRequest, institution: FromPath[str]) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        named = {"institution": institution}
        found = await visit.need(listings.one_institution, named=named)
        body = {
            "institution": found["id"],
            "not_after": moment_of(visit.text("not_after")),
            **visit.given("fingerprint", "label", "reason"),
        }
        answer = await visit.ask(administration.bind_certificate, body=body)
        if not answer.well:
            return await _draw_all(visit, institution, again(visit, answer))
        return done(f"{_OF_ONE}/{answer.document['id']}", answer)

    return await shown(request, Actor.ADMIN, work)


@get("/console/admin/certificates/{certificate:str}", include_in_schema=False)
async def certificate_page(
    request: HttpRequest, certificate: FromPath[str]
) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        return await _draw(visit, certificate, AFRESH)

    return await shown(request, Actor.ADMIN, work)


async def _draw(
    visit: Visit, certificate: str, told: Mapping[str, Any]
) -> Response[bytes]:
    named = {"certificate": certificate}
    found = await visit.need(listings.one_certificate, named=named)
    holder = str(found["institution"])
    held = await all_of(visit, listings.certificates, "certificates", holder)
    bound = [one["id"] for one in held if one["unbound_at"] is None]
    return visit.draw(
        "admin_certificate.html",
        certificate=_standing(visit, found),
        institution=await visit.need(
            listings.one_institution, named={"institution": holder}
        ),
        is_last=bound == [found["id"]],
        history=history.told(found),
        **told,
    )


@post(
    "/console/admin/certificates/{certificate:str}/unbinding",
    include_in_schema=False,
    request_max_body_size=MOST_BODY,
)
async def unbind(request: HttpRequest, certificate: FromPath[str]) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        answer = await visit.ask(
            administration.unbind_certificate,
            named={"certificate": certificate},
            body=visit.given("reason"),
        )
        if not answer.well:
            return await _draw(visit, certificate, again(visit, answer))
        return done(f"{_OF_ONE}/{certificate}", answer)

    return await shown(request, Actor.ADMIN, work)


ROUTES: Final = (certificates_page, bind, certificate_page, unbind)
