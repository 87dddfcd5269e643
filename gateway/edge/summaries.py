"""GET /audit/summary: the log counted by institution, day, outcome or purpose."""

from litestar import Response, get

from gateway.audit.access import Access
from gateway.audit.summary import By
from gateway.edge import strict
from gateway.edge.auditing import REASON, audited
from gateway.edge.caller import HttpRequest, Services
from gateway.problems import Fault, InvalidRequest
from gateway.vocabulary import Operation

PARAMETERS = ("by", "from", "to", "reason")


@get("/audit/summary")
async def summary(request: HttpRequest) -> Response[bytes]:
    async def work(held: Services, access: Access) -> object:
        faults: list[Fault] = []
        given = strict.query_members(
            request.query_params.multi_items(), PARAMETERS, faults
        )
        access.reference = strict.read_text(
            given.get("reason"), faults, "?reason", **REASON
        )
        bounds = [
            strict.read_instant(given[name], faults, f"?{name}")
            if name in given
            else None
            for name in ("from", "to")
        ]
        if given.get("by") not in set(By):
            faults.append(Fault("?by", f"want one of {', '.join(By)}"))
        if faults:
            raise InvalidRequest(faults)
        by = By(given["by"])
        return {"by": by, "rows": await held.summaries.summarise(by, *bounds)}

    return await audited(request, Operation.AUDIT_SUMMARY, work)
