"""The admin's pages of changes that need a second admin: what waits, and what is said of it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.console import history
from gateway.console.forms import AFRESH, again, done
from gateway.console.once import go_and_show
from gateway.console.visit import PROPOSALS, Visit, shown
from gateway.console.within import Answer
from gateway.edge import administration, identities, proposals
from gateway.edge.caller import MOST_BODY, HttpRequest
from gateway.problems import NotFound
from gateway.vocabulary import Actor, Operation

MOST: Final = "1000"


@get(PROPOSALS, include_in_schema=False)
async def listing(request: HttpRequest) -> Response[Any]:
    """Those of the last two days, the newest first."""

    async def work(visit: Visit) -> Response[Any]:
        found = await visit.need(proposals.listed, query={"limit": MOST})
        return visit.draw("admin_proposals.html", found=found["proposals"][::-1])

    return await shown(request, Actor.ADMIN, work)


@get("/console/admin/proposals/{proposal:str}", include_in_schema=False)
async def proposal_page(request: HttpRequest, proposal: FromPath[str]) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        return await _draw(visit, proposal, AFRESH)

    return await shown(request, Actor.ADMIN, work)


async def _find(visit: Visit, proposal: str) -> Any:
    return await visit.need(proposals.one_proposal, named={"proposal": proposal})


async def _draw(
    visit: Visit, proposal: str, told: Mapping[str, Any]
) -> Response[bytes]:
    found = await _find(visit, proposal)
    changes = found["operation"] == Operation.AGREEMENT_CHANGE.word
    before = found["before"][0] if changes else {}
    return visit.draw(
        "admin_proposal.html",
        proposal=found,
        differences=history.compared(before, found["after"]),
        beside=() if changes else found["before"],
        own=_is_own(visit, found),
        history=history.told(found),
        **told,
    )


def _is_own(visit: Visit, proposal: Any) -> bool:
    staff = visit.key.staff if visit.key else None
    return staff is not None and proposal["asked_by"]["id"] == staff.id


async def _speak(
    request: HttpRequest, proposal: str, handler: HTTPRouteHandler
) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        body = visit.given("reason")
        answer = await visit.ask(handler, named={"proposal": proposal}, body=body)
        if not answer.well:
            return await _draw(visit, proposal, again(visit, answer))
        return done(f"{PROPOSALS}/{proposal}", answer)

    return await shown(request, Actor.ADMIN, work)


@post(
    "/console/admin/proposals/{proposal:str}/approval",
    include_in_schema=False,
    request_max_body_size=MOST_BODY,
)
async def approve(request: HttpRequest, proposal: FromPath[str]) -> Response[Any]:
    return await _speak(request, proposal, proposals.approve)


@post(
    "/console/admin/proposals/{proposal:str}/rejection",
    include_in_schema=False,
    request_max_body_size=MOST_BODY,
)
async def reject(request: HttpRequest, proposal: FromPath[str]) -> Response[Any]:
    return await _speak(request, proposal, proposals.reject)


@post(
    "/console/admin/proposals/{proposal:str}/change",
    include_in_schema=False,
    request_max_body_size=MOST_BODY,
)
async def carry_out(request: HttpRequest, proposal: FromPath[str]) -> Response[Any]:
    """Asks again for what was asked, to the letter, as whoever asked for it."""

    async def work(visit: Visit) -> Response[Any]:
        found = await _find(visit, proposal)
        operation = Operation.worded(found["operation"])
        if operation not in _ASKED_BY or not _is_own(visit, found):
            raise NotFound
        handler, go_on = _ASKED_BY[operation]
        named = {_TARGET[operation]: found["target"]} if found["target"] else {}
        answer = await visit.ask(handler, named=named, body=found["asked"])
        return go_on(visit, answer) if answer.well else visit.problem(answer)

    return await shown(request, Actor.ADMIN, work)


def _to_agreement(_: Visit, answer: Answer) -> Response[bytes]:
    return done(f"/console/admin/agreements/{answer.document['id']}", answer)


def _to_key(visit: Visit, answer: Answer) -> Response[bytes]:
    made = answer.document
    return go_and_show(visit, f"/console/admin/keys/{made['id']}", made["key"])


def _to_member(visit: Visit, answer: Answer) -> Response[bytes]:
    made = answer.document
    return go_and_show(visit, f"/console/admin/staff/{made['id']}", made["token"])


def _to_bound(_: Visit, answer: Answer) -> Response[bytes]:
    return done(f"/console/admin/staff/{answer.document['id']}", answer)


# What the id in the path is called.
_TARGET: Final[Mapping[Operation | None, str]] = {
    Operation.AGREEMENT_CHANGE: "agreement",
    Operation.STAFF_BIND: "member",
}
_ASKED_BY: Final[
    Mapping[
        Operation | None,
        tuple[HTTPRouteHandler, Callable[[Visit, Answer], Response[bytes]]],
    ]
] = {
    Operation.AGREEMENT_CREATE: (administration.create_agreement, _to_agreement),
    Operation.AGREEMENT_CHANGE: (administration.change_agreement, _to_agreement),
    Operation.KEY_CREATE: (administration.create_key, _to_key),
    Operation.STAFF_CREATE: (administration.create_staff, _to_member),
    Operation.STAFF_BIND: (identities.bind, _to_bound),
}

ROUTES: Final = (listing, proposal_page, approve, reject, carry_out)
