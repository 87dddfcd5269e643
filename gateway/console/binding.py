"""The admin's forms that bind a member of staff to an OpenID provider's subject."""

from typing import Any, Final

from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.console.forms import again, done
from gateway.console.staffing import draw_member
from gateway.console.visit import Visit, shown
from gateway.edge import identities
from gateway.edge.caller import MOST_BODY, HttpRequest
from gateway.vocabulary import Actor


@post(
    "/console/admin/staff/{member:str}/identity",
    include_in_schema=False,
    request_max_body_size=MOST_BODY,
)
async def bind(request: HttpRequest, member: FromPath[str]) -> Response[Any]:
    return await _change(request, member, identities.bind, ("subject", "reason"))


@post(
    "/console/admin/staff/{member:str}/identity/removal",
    include_in_schema=False,
    request_max_body_size=MOST_BODY,
)
async def unbind(request: HttpRequest, member: FromPath[str]) -> Response[Any]:
    return await _change(request, member, identities.unbind, ("reason",))


async def _change(
    request: HttpRequest, member: str, how: HTTPRouteHandler, names: tuple[str, ...]
) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        body = visit.given(*names)
        answer = await visit.ask(how, named={"member": member}, body=body)
        if not answer.well:
            return await draw_member(visit, member, again(visit, answer))
        return done(f"/console/admin/staff/{member}", answer)

    return await shown(request, Actor.ADMIN, work)


ROUTES: Final = (bind, unbind)
