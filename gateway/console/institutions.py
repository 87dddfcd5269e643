"""The admin's pages of institutions: finding one, taking one on, and all that it has."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.clock import to_text
from gateway.console import history
from gateway.console.forms import AFRESH, again, typed
from gateway.console.once import go_and_show
from gateway.console.pages import moment_of
from gateway.console.visit import Visit, go, shown
from gateway.edge import administration, listings
from gateway.edge.caller import MOST_BODY, HttpRequest
from gateway.partners.agreement import applicable
from gateway.partners.keeping import MOST_LIVE_KEYS
from gateway.partners.terms import HIGHEST_ID
from gateway.vocabulary import Actor

A_PAGE: Final = "50"
MOST: Final = "1000"
LONGEST_NUMBER: Final = len(str(HIGHEST_ID))


@get("/console/admin", include_in_schema=False)
async def institutions(request: HttpRequest) -> Response[Any]:
    """All of them, or those whose names hold a text; a number leads to its page."""

    async def work(visit: Visit) -> Response[Any]:
        asked = visit.query
        name = asked.get("name", "")
        # No longer than a number of one is: a NIK must not get into an address.
        if name.isascii() and name.isdigit() and len(name) <= LONGEST_NUMBER:
            return go_to(name.lstrip("0") or "0")
        question = {one: asked[one] for one in ("name", "cursor") if one in asked}
        answer = await visit.ask(
            listings.institutions, query={"limit": A_PAGE} | question
        )
        if not answer.well and not answer.faults:
            return visit.problem(answer)
        nothing: dict[str, Any] = {"institutions": [], "next": None}
        found = answer.document if answer.well else nothing
        return visit.draw(
            "admin_institutions.html",
            status=answer.status,
            asked=asked,
            found=found,
            faults=answer.faults,
            standing={
                one["id"]: _stands(visit, one["id"]) for one in found["institutions"]
            },
        )

    return await shown(request, Actor.ADMIN, work)


def go_to(institution: int | str, **query: str) -> Response[bytes]:
    """Sends the browser on to an institution's page."""
    address = f"/console/admin/institutions/{institution}"
    return go(address + (f"?{urlencode(query)}" if query else ""))


def _stands(visit: Visit, institution: int) -> str:
    """How its agreement stands, as far as this worker's copy of the directory knows."""
    held, now = visit.held.directory.institution(institution), visit.held.clock.now()
    agreement = applicable(held.agreements, now) if held else None
    if agreement is None:
        return "none"
    return standing(
        agreement.status, to_text(agreement.from_at), to_text(agreement.to_at), now
    )


def standing(status: str, from_at: str, to_at: str, now: int) -> str:
    """How an agreement stands now; the API's instants sort as texts."""
    if to_text(now) >= to_at:
        return "ended"
    if status != "active":
        return "suspended"
    return "in force" if from_at <= to_text(now) else "not begun"


@get("/console/admin/take-on", include_in_schema=False)
async def taking_on(request: HttpRequest) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        return visit.draw("admin_take_on.html", alike=(), **AFRESH)

    return await shown(request, Actor.ADMIN, work)


@post(
    "/console/admin/take-on", include_in_schema=False, request_max_body_size=MOST_BODY
)
async def take_on(request: HttpRequest) -> Response[Any]:
    """Makes it, and goes on to its agreement. One of the same name is asked about first."""

    async def work(visit: Visit) -> Response[Any]:
        given = visit.given("name", "reason")
        alike = () if visit.text("again") else await _of_the_name(visit, given)
        if alike:
            told = {**AFRESH, "status": 409, "kept": typed(visit)}
            return visit.draw("admin_take_on.html", alike=alike, **told)
        answer = await visit.ask(administration.create_institution, body=given)
        if not answer.well:
            told = again(visit, answer)
            return visit.draw("admin_take_on.html", alike=(), **told)
        reason = urlencode({"reason": given["reason"]})
        made = f"/console/admin/institutions/{answer.document['id']}"
        return go(f"{made}/agreement?{reason}")

    return await shown(request, Actor.ADMIN, work)


async def _of_the_name(visit: Visit, given: Mapping[str, str]) -> list[Any]:
    """Institutions that are called so already."""
    name = given.get("name", "")
    query = {"name": name, "limit": MOST}
    answer = await visit.ask(listings.institutions, query=query)
    # A name that cannot be searched for cannot be given either: the API will say why.
    found = answer.document["institutions"] if answer.well else ()
    return [one for one in found if one["name"].casefold() == name.casefold()]


@get("/console/admin/institutions/{institution:str}", include_in_schema=False)
async def institution_page(
    request: HttpRequest, institution: FromPath[str]
) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        kept = {"reason": visit.query.get("reason", "")}
        return await _draw(visit, institution, {**AFRESH, "kept": kept})

    return await shown(request, Actor.ADMIN, work)


async def _draw(
    visit: Visit, institution: str, told: Mapping[str, Any]
) -> Response[bytes]:
    """An institution with its agreements and its keys; `told` is of the form for a key."""
    found = await visit.need(
        listings.one_institution, named={"institution": institution}
    )
    agreements = await all_of(visit, listings.agreements, "agreements", institution)
    keys = await all_of(visit, listings.keys, "keys", institution)
    now = visit.held.clock.now()
    return visit.draw(
        "admin_institution.html",
        institution=found,
        history=history.told(found),
        agreements=[
            one | {"stands": standing(one["status"], one["from"], one["to"], now)}
            for one in reversed(agreements)
        ],
        held_to=held_to(agreements, to_text(now)),
        keys=[one | {"lives": lives(one, to_text(now))} for one in reversed(keys)],
        most_keys=MOST_LIVE_KEYS,
        **told,
    )


async def all_of(
    visit: Visit, handler: HTTPRouteHandler, kind: str, institution: str
) -> list[Any]:
    """What the institution has of one kind, oldest first, however many pages it is."""
    query = {"institution": institution, "limit": MOST}
    found: list[Any] = []
    while True:
        page = await visit.need(handler, query=query)
        found += page[kind]
        if page["next"] is None:
            return found
        query["cursor"] = page["next"]


def held_to(agreements: list[Any], now: str) -> int | None:
    """Which of an institution's agreements it is held to now: the newest that covers it."""
    covering = [one["id"] for one in agreements if one["from"] <= now < one["to"]]
    return max(covering, default=None)


def lives(key: Mapping[str, Any], now: str) -> bool:
    ended = key["not_after"] is not None and key["not_after"] <= now
    return key["revoked_at"] is None and not ended


@post(
    "/console/admin/institutions/{institution:str}/keys",
    include_in_schema=False,
    request_max_body_size=MOST_BODY,
)
async def issue_key(request: HttpRequest, institution: FromPath[str]) -> Response[Any]:
    """Makes a key, and shows it once on its page."""

    async def work(visit: Visit) -> Response[Any]:
        found = await visit.need(
            listings.one_institution, named={"institution": institution}
        )
        body: dict[str, Any] = {"institution": found["id"], **visit.given("reason")}
        if visit.text("not_after"):
            body["not_after"] = moment_of(visit.text("not_after"))
        if visit.text("cidrs"):
            body["cidrs"] = visit.text("cidrs").replace(",", " ").split()
        answer = await visit.ask(administration.create_key, body=body)
        if not answer.well:
            return await _draw(visit, institution, again(visit, answer))
        made = answer.document
        return go_and_show(visit, f"/console/admin/keys/{made['id']}", made["key"])

    return await shown(request, Actor.ADMIN, work)


ROUTES: Final = (institutions, taking_on, take_on, institution_page, issue_key)
