"""The auditors' page of searches for persons that a second one has to approve."""

from typing import Any, Final

from litestar import Response, get, post
from litestar.params import FromPath

from gateway.audit.access import Access
from gateway.audit.approvals import Approvals
from gateway.clock import to_text
from gateway.console.visit import APPROVALS, Visit, go, shown
from gateway.console.within import Answer, as_signed_in, read
from gateway.edge.auditing import audited
from gateway.edge.caller import MOST_BODY, HttpRequest, Services
from gateway.problems import NotFound
from gateway.vocabulary import Actor, Operation


def _held(visit: Visit) -> Approvals:
    """Raises NotFound: no second auditor is needed here."""
    if visit.held.approvals is None:
        raise NotFound
    return visit.held.approvals


@get(APPROVALS, include_in_schema=False)
async def listing(request: HttpRequest) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        held = _held(visit)
        answer = await visit.enter(Operation.AUDIT_APPROVALS, Actor.AUDITOR)
        if not answer.well:
            return visit.problem(answer)
        staff = visit.key.staff if visit.key else None
        filed = [
            {
                **one._asdict(),
                "asked_at": to_text(one.asked_at),
                "own": staff is not None and one.asked_by == staff.id,
            }
            for one in await held.recent()
        ]
        return visit.draw("approvals.html", filed=filed)

    return await shown(request, Actor.AUDITOR, work)


@post(
    "/console/audit/approvals/{number:int}",
    include_in_schema=False,
    request_max_body_size=MOST_BODY,
)
async def approve(request: HttpRequest, number: FromPath[int]) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        answer = await _approve(visit, _held(visit), number)
        return go(APPROVALS) if answer.well else visit.problem(answer)

    return await shown(request, Actor.AUDITOR, work)


async def _approve(visit: Visit, held: Approvals, number: int) -> Answer:
    """Its entry carries the reason of the search that it approves."""
    staff = visit.key.staff if visit.key else None

    async def approving(_: Services, access: Access) -> object:
        reason = await held.approve(number, staff.id) if staff else None
        if reason is None:
            raise NotFound
        access.reference = reason
        return {}

    asked = as_signed_in(visit.request, visit.proved)
    return read(await audited(asked, Operation.AUDIT_APPROVE, approving))


ROUTES: Final = (listing, approve)
