"""POST /admin/rehearsals: what other limits would have done to calls that were made."""

from typing import Final

from litestar import Response, post

from gateway.audit.access import Access
from gateway.edge import strict
from gateway.edge.auditing import audited
from gateway.edge.caller import MOST_BODY, HttpRequest, Services, read_json_body
from gateway.edge.listings import keeper_of
from gateway.partners import terms
from gateway.problems import Fault, InvalidRequest
from gateway.rehearsing import Asked
from gateway.vocabulary import Actor, Operation

MEMBERS: Final = frozenset(("institution", "limits", "from", "to"))


@post("/admin/rehearsals", status_code=200, request_max_body_size=MOST_BODY)
async def rehearse(request: HttpRequest) -> Response[bytes]:
    """It changes nothing and needs no reason. A limit left out is the agreement's."""

    async def work(held: Services, _: Access) -> object:
        keeper_of(held)
        asked = _asked(await read_json_body(request), request)
        return (await held.rehearsals.rehearse(asked)).document

    return await audited(request, Operation.LIMITS_REHEARSE, work, role=Actor.ADMIN)


def _asked(body: bytes, request: HttpRequest) -> Asked:
    members = strict.parse_object(body)
    faults: list[Fault] = []
    strict.check_members(members, MEMBERS, faults)
    strict.query_members(request.query_params.multi_items(), (), faults)
    limits = members.get("limits")
    strict.check_once(limits, faults, "/limits")
    # What is left out is looked up later: here it stands for any that would do.
    terms.read_limits(limits, faults, current=terms.MOST)
    institution = strict.read_id(members.get("institution"), faults, "/institution")
    since = strict.read_instant(members.get("from"), faults, "/from")
    until = members.get("to")
    until_at = None if until is None else strict.read_instant(until, faults, "/to")
    if since is not None and until_at is not None and since >= until_at:
        faults.append(Fault("/to", "must be later than from"))
    if faults or since is None or not isinstance(limits, dict):
        raise InvalidRequest(faults)
    return Asked(institution, limits, since, until_at)
