"""What waits for a second admin (decision 43): the list, and what that one says of it.

A proposal is approved or rejected by another admin than the one who asked; who asked may
reject it too, and so takes it back. Either is a change, with its reason and its entry.
"""

from litestar import Response, get, post
from litestar.params import FromPath

from gateway.changes import Work
from gateway.edge.administration import Asked, change
from gateway.edge.caller import MOST_BODY, HttpRequest
from gateway.edge.listings import item_of, page_of
from gateway.partners import proposals
from gateway.partners.kinds import PROPOSALS
from gateway.partners.terms import require_written_id
from gateway.postgres import Connection
from gateway.vocabulary import Operation


@get("/admin/proposals")
async def listed(request: HttpRequest) -> Response[bytes]:
    """Those of the last two days, and what became of them."""
    return await page_of(request, PROPOSALS)


@get("/admin/proposals/{proposal:str}")
async def one_proposal(
    request: HttpRequest, proposal: FromPath[str]
) -> Response[bytes]:
    return await item_of(request, PROPOSALS, lambda: require_written_id(proposal))


@post(
    "/admin/proposals/{proposal:str}/approval",
    status_code=200,
    request_max_body_size=MOST_BODY,
)
async def approve(request: HttpRequest, proposal: FromPath[str]) -> Response[bytes]:
    operation = Operation.PROPOSAL_APPROVE
    return await _speak(request, operation, proposal, approved=True)


@post(
    "/admin/proposals/{proposal:str}/rejection",
    status_code=200,
    request_max_body_size=MOST_BODY,
)
async def reject(request: HttpRequest, proposal: FromPath[str]) -> Response[bytes]:
    operation = Operation.PROPOSAL_REJECT
    return await _speak(request, operation, proposal, approved=False)


async def _speak(
    request: HttpRequest, operation: Operation, proposal: str, *, approved: bool
) -> Response[bytes]:
    def plan(asked: Asked) -> Work[int]:
        async def work(connection: Connection) -> int:
            number = require_written_id(proposal)
            # Without a reason there is a fault, and nothing is kept.
            why = asked.reason or ""
            return await proposals.give_verdict(
                connection, number, asked.by, why, approved=approved
            )

        return work

    return await change(request, operation, (), plan)
