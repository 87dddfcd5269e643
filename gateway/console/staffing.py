"""The admin's pages of staff: who there is, a new member with a token, and the end of one."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Response, get, post
from litestar.params import FromPath

from gateway.clock import to_text
from gateway.console import history
from gateway.console.forms import AFRESH, again, done
from gateway.console.institutions import lives
from gateway.console.once import and_never_again, go_and_show, shown_here
from gateway.console.pages import moment_of
from gateway.console.visit import Visit, shown
from gateway.edge import administration, listings
from gateway.edge.caller import MOST_BODY, HttpRequest
from gateway.vocabulary import STAFF_ROLES, Actor

A_PAGE: Final = "50"
ROLES: Final = [role.word for role in STAFF_ROLES]


@get("/console/admin/staff", include_in_schema=False)
async def staff(request: HttpRequest) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        return await _draw_all(visit, AFRESH)

    return await shown(request, Actor.ADMIN, work)


async def _draw_all(visit: Visit, told: Mapping[str, Any]) -> Response[bytes]:
    cursor = visit.query.get("cursor")
    query = {"limit": A_PAGE} | ({"cursor": cursor} if cursor else {})
    found = await visit.need(listings.staff, query=query)
    now = to_text(visit.held.clock.now())
    return visit.draw(
        "admin_staff.html",
        members=[one | {"lives": lives(one, now)} for one in found["staff"]],
        following=found["next"],
        roles=ROLES,
        **told,
    )


@post("/console/admin/staff", include_in_schema=False, request_max_body_size=MOST_BODY)
async def add_member(request: HttpRequest) -> Response[Any]:
    """Makes a member of staff, and shows the token once on the member's page."""

    async def work(visit: Visit) -> Response[Any]:
        body = visit.given("role", "name", "reason")
        if visit.text("not_after"):
            body["not_after"] = moment_of(visit.text("not_after"))
        answer = await visit.ask(administration.create_staff, body=body)
        if not answer.well:
            return await _draw_all(visit, again(visit, answer))
        made = answer.document
        return go_and_show(visit, f"/console/admin/staff/{made['id']}", made["token"])

    return await shown(request, Actor.ADMIN, work)


@get("/console/admin/staff/{member:str}", include_in_schema=False)
async def member_page(request: HttpRequest, member: FromPath[str]) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        secret = shown_here(visit)
        page = await draw_member(visit, member, AFRESH, secret)
        return page if secret is None else and_never_again(visit, page)

    return await shown(request, Actor.ADMIN, work)


async def draw_member(
    visit: Visit, member: str, told: Mapping[str, Any], secret: str | None = None
) -> Response[bytes]:
    found = await visit.need(listings.one_of_staff, named={"member": member})
    return visit.draw(
        "admin_member.html",
        member=found,
        lives=lives(found, to_text(visit.held.clock.now())),
        history=history.told(found),
        secret=secret,
        **told,
    )


@post(
    "/console/admin/staff/{member:str}/revocation",
    include_in_schema=False,
    request_max_body_size=MOST_BODY,
)
async def revoke_member(request: HttpRequest, member: FromPath[str]) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        answer = await visit.ask(
            administration.revoke_staff,
            named={"member": member},
            body={"reason": visit.text("reason")},
        )
        if not answer.well:
            return await draw_member(visit, member, again(visit, answer))
        return done(f"/console/admin/staff/{member}", answer)

    return await shown(request, Actor.ADMIN, work)


ROUTES: Final = (staff, add_member, member_page, revoke_member)
