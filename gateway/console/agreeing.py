"""The admin's pages of agreements: what an institution may do, from when to when."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Response, get, post
from litestar.params import FromPath

from gateway.clock import to_text
from gateway.console import history
from gateway.console.forms import AFRESH, again, done, overtaken
from gateway.console.institutions import go_to, standing
from gateway.console.pages import local_of
from gateway.console.terms import Terms
from gateway.console.visit import Visit, shown
from gateway.console.within import Answer
from gateway.edge import administration, listings
from gateway.edge.caller import MOST_BODY, HttpRequest
from gateway.vocabulary import GRANTABLE_OPERATIONS, NAME_FIELDS, RESIDENT_FIELDS, Actor

WORDS: Final = {
    "operations": GRANTABLE_OPERATIONS,
    "fields": RESIDENT_FIELDS,
    "name_fields": NAME_FIELDS,
}


@get("/console/admin/institutions/{institution:str}/agreement", include_in_schema=False)
async def new_agreement(
    request: HttpRequest, institution: FromPath[str]
) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        today = local_of(to_text(visit.held.clock.now())).partition("T")[0]
        terms = Terms(_purposes(visit), {"from": f"{today}T00:00"}, frozenset(), {})
        kept = {"reason": visit.query.get("reason", "")}
        return await _draw_new(visit, institution, terms, {**AFRESH, "kept": kept})

    return await shown(request, Actor.ADMIN, work)


def _purposes(visit: Visit, agreement: Any = None) -> list[str]:
    """All there are; an agreement's too, if this worker has not heard of them yet."""
    known = visit.held.directory.purposes()
    granted = [one["purpose"] for one in agreement["grants"]] if agreement else []
    return list(dict.fromkeys((*known, *granted)))


async def _draw_new(
    visit: Visit, institution: str, terms: Terms, told: Mapping[str, Any]
) -> Response[bytes]:
    found = await visit.need(
        listings.one_institution, named={"institution": institution}
    )
    return visit.draw(
        "admin_new_agreement.html",
        institution=found,
        **_grid(terms, told),
    )


def _grid(terms: Terms, told: Mapping[str, Any]) -> dict[str, Any]:
    """What the grid needs, with what is wrong in it told by purposes."""
    faults = terms.named(told["faults"])
    return {**told, "terms": terms, "words": WORDS, "faults": faults}


@post(
    "/console/admin/institutions/{institution:str}/agreement",
    include_in_schema=False,
    request_max_body_size=MOST_BODY,
)
async def agree(request: HttpRequest, institution: FromPath[str]) -> Response[Any]:
    """Makes an agreement, and goes back to the institution, for its key."""

    async def work(visit: Visit) -> Response[Any]:
        terms = Terms.typed(_purposes(visit), visit.form)
        found = await visit.need(
            listings.one_institution, named={"institution": institution}
        )
        body = {
            "institution": found["id"],
            "grants": terms.grants,
            "limits": terms.limits,
            **terms.span,
            **visit.given("reason"),
        }
        answer = await visit.ask(administration.create_agreement, body=body)
        if not answer.well:
            return await _draw_new(visit, institution, terms, again(visit, answer))
        return go_to(found["id"], reason=visit.text("reason"))

    return await shown(request, Actor.ADMIN, work)


@get("/console/admin/agreements/{agreement:str}", include_in_schema=False)
async def agreement_page(
    request: HttpRequest, agreement: FromPath[str]
) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        found = await find(visit, agreement)
        return _draw(visit, found, Terms.of(_purposes(visit, found), found), AFRESH)

    return await shown(request, Actor.ADMIN, work)


async def find(visit: Visit, agreement: str) -> Any:
    return await visit.need(listings.one_agreement, named={"agreement": agreement})


def _draw(
    visit: Visit, agreement: Any, terms: Terms, told: Mapping[str, Any]
) -> Response[bytes]:
    now = visit.held.clock.now()
    return visit.draw(
        "admin_agreement.html",
        agreement=agreement,
        stands=standing(agreement["status"], agreement["from"], agreement["to"], now),
        history=history.told(agreement),
        **_grid(terms, told),
    )


@post(
    "/console/admin/agreements/{agreement:str}",
    include_in_schema=False,
    request_max_body_size=MOST_BODY,
)
async def change_agreement(
    request: HttpRequest, agreement: FromPath[str]
) -> Response[Any]:
    """Changes its dates and grants, if nobody has changed it since the form was drawn."""

    async def work(visit: Visit) -> Response[Any]:
        found = await find(visit, agreement)
        terms = Terms.typed(_purposes(visit, found), visit.form)
        if newest(found) != visit.text("seen"):
            return _draw(visit, found, terms, overtaken(visit))
        body = terms.changed(found) | visit.given("reason")
        answer = await change(visit, agreement, body)
        if not answer.well:
            return _draw(visit, found, terms, again(visit, answer))
        return done(f"/console/admin/agreements/{agreement}", answer)

    return await shown(request, Actor.ADMIN, work)


async def change(visit: Visit, agreement: str, body: Mapping[str, Any]) -> Answer:
    return await visit.ask(
        administration.change_agreement, named={"agreement": agreement}, body=body
    )


def newest(agreement: Any) -> str:
    """The entry of its last change: a form carries it, to tell what it was drawn from."""
    return str(agreement["changes"][0]["access_id"]) if agreement["changes"] else ""


@get("/console/admin/agreements/{agreement:str}/status", include_in_schema=False)
async def status_page(request: HttpRequest, agreement: FromPath[str]) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        found = await find(visit, agreement)
        return visit.draw("admin_status.html", agreement=found, **AFRESH)

    return await shown(request, Actor.ADMIN, work)


@post(
    "/console/admin/agreements/{agreement:str}/status",
    include_in_schema=False,
    request_max_body_size=MOST_BODY,
)
async def change_status(
    request: HttpRequest, agreement: FromPath[str]
) -> Response[Any]:
    """Suspends it, has it count again, or lets it end now."""

    async def work(visit: Visit) -> Response[Any]:
        body = visit.given("status", "reason")
        if visit.text("status") == "closed":
            del body["status"]
            body["to"] = to_text(visit.held.clock.now())
        answer = await change(visit, agreement, body)
        if not answer.well:
            found = await find(visit, agreement)
            told = again(visit, answer)
            return visit.draw("admin_status.html", agreement=found, **told)
        return done(f"/console/admin/agreements/{agreement}", answer)

    return await shown(request, Actor.ADMIN, work)


ROUTES: Final = (
    new_agreement,
    agree,
    agreement_page,
    change_agreement,
    status_page,
    change_status,
)
