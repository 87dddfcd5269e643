"""An institution's own pages: its use of the limits, its accesses, how to ask."""

import re
from typing import Any, Final

from litestar import Response, get
from litestar.params import FromPath

from gateway.audit.inspection import Mark
from gateway.calls import Call, Question
from gateway.clock import to_text
from gateway.console.auditing import draw_entry
from gateway.console.visit import Visit, shown
from gateway.console.within import Answer, as_signed_in, read
from gateway.edge import auditing, lookups, operations, rendering
from gateway.edge.caller import HttpRequest, begin, header_values, respond
from gateway.partners.directory import Key
from gateway.problems import Fault, InvalidRequest
from gateway.quota.overview import Order
from gateway.vocabulary import Actor, Operation, Outcome

A_PAGE: Final = 50
PARAMETERS: Final = ("outcome", "cursor")
OUTCOMES: Final = [one.word for one in Outcome]
_HOST: Final = re.compile(r"[A-Za-z0-9.-]+(:\d+)?|\[[0-9a-f:]+\](:\d+)?", re.ASCII)
# Nobody's: serials from 9000 on belong to no person.
NIK: Final = "3171014501909001"
CLAIMS: Final = {"name": "SITI AMINAH", "birth_date": "1990-01-05"}


@get("/console/own", include_in_schema=False)
async def use(request: HttpRequest) -> Response[Any]:
    """Use against quota, and who was refused today by which limit."""

    async def work(visit: Visit) -> Response[Any]:
        answer = await visit.ask(lookups.account)
        if not answer.well:
            return visit.problem(answer)
        account = answer.document
        standing = await operations.first(
            *(visit.held, Order.REFUSED, 1), account["institution"]["id"]
        )
        keys = visit.held.directory.keys_of(account["institution"]["id"])
        return visit.draw(
            "own.html",
            account=account,
            standing=standing,
            keys=[_key(visit, key) for key in keys],
        )

    return await shown(request, Actor.INSTITUTION, work)


def _key(visit: Visit, key: Key) -> dict[str, object]:
    over = key.not_after is not None and key.not_after <= visit.held.clock.now()
    return {
        "id": key.id,
        "state": "revoked" if key.revoked else "over" if over else "good",
        "not_after": None if key.not_after is None else to_text(key.not_after),
        "networks": [str(one) for one in key.networks],
        "this": visit.key is not None and visit.key.number == key.number,
    }


@get("/console/own/entries", include_in_schema=False)
async def entries(request: HttpRequest) -> Response[Any]:
    """Its own accesses, the newest first; with an outcome, those that ended so."""

    async def work(visit: Visit) -> Response[Any]:
        asked = {name: visit.query.get(name, "") for name in PARAMETERS}
        answer = await _own_page(visit, asked)
        if not answer.well:
            return visit.problem(answer)
        return visit.draw(
            "own_entries.html", asked=asked, outcomes=OUTCOMES, found=answer.document
        )

    return await shown(request, Actor.INSTITUTION, work)


async def _own_page(visit: Visit, asked: dict[str, str]) -> Answer:
    """A page of its own entries; like its account, it costs a unit of the rate."""
    held = visit.held
    request = as_signed_in(visit.request, visit.proved)
    access = begin(request, Operation.ACCOUNT_ENTRIES)
    call = Call[Question](access, visit.proved, lookups.nothing(request))

    async def answer() -> Response[Any]:
        async with held.lookups.accounted(call):
            account = await held.lookups.of_its_own(call)
            institution = account.institution.id
            question = f"own {institution} {asked['outcome']}"
            outcome, below = _read(visit, asked, question)
            page = await held.lookups.own_entries.page(
                institution, outcome, below, A_PAGE
            )
            access.outcome = Outcome.DONE
        body = auditing.page_document(held, question, page)
        return rendering.answer(
            body, access_id=access.access_id, decision=call.decision
        )

    return read(await respond(access, answer, lambda: call.decision))


def _read(
    visit: Visit, asked: dict[str, str], question: str
) -> tuple[Outcome | None, Mark | None]:
    faults = []
    outcome = Outcome.worded(asked["outcome"])
    if asked["outcome"] and outcome is None:
        faults.append(Fault("?outcome", f"want one of {', '.join(OUTCOMES)}"))
    below = None
    if asked["cursor"]:
        below = visit.held.cursors.open(asked["cursor"], question)
        if below is None:
            faults.append(Fault("?cursor", "is of another question"))
    if faults:
        raise InvalidRequest(faults)
    return outcome, below


@get("/console/own/receipts/{access_id:str}", include_in_schema=False)
async def receipt(request: HttpRequest, access_id: FromPath[str]) -> Response[Any]:
    """One of its own accesses with its proof, which the browser checks for itself."""

    async def work(visit: Visit) -> Response[Any]:
        answer = await visit.ask(lookups.receipt, named={"access_id": access_id})
        if not answer.well:
            return visit.problem(answer)
        return draw_entry(visit, answer.document)

    return await shown(request, Actor.INSTITUTION, work)


@get("/console/own/samples", include_in_schema=False)
async def samples(request: HttpRequest) -> Response[Any]:
    """What to send for each of its own grants, to be copied."""

    async def work(visit: Visit) -> Response[Any]:
        answer = await visit.ask(lookups.account)
        if not answer.well:
            return visit.problem(answer)
        return visit.draw(
            "own_samples.html",
            base=_base(visit.request),
            samples=[
                _sample(grant, operation)
                for grant in answer.document["grants"]
                for operation in grant["operations"]
            ],
        )

    return await shown(request, Actor.INSTITUTION, work)


def _base(request: HttpRequest) -> str:
    """This gateway's address, as the browser knows it."""
    (host,) = header_values(request, b"host")[:1] or [""]
    if not _HOST.fullmatch(host):
        host = "gateway.example"
    local = host.startswith(("localhost", "127.", "[::1]"))
    return f"{'http' if local else 'https'}://{host}"


def _sample(grant: dict[str, Any], operation: str) -> dict[str, object]:
    carried = operation if operation != "batch" else grant["operations"][0]
    asked: dict[str, object] = {"fields": grant["fields"]}
    if carried == "verify":
        asked = {"claims": {name: CLAIMS.get(name, "…") for name in grant["fields"]}}
    body: dict[str, object] = {"nik": NIK, "purpose": grant["purpose"], **asked}
    if operation == "batch":
        items = [{"id": "1", "nik": NIK, **asked}]
        body = {"operation": carried, "purpose": grant["purpose"], "items": items}
    return {"operation": operation, "purpose": grant["purpose"], "body": body}


ROUTES: Final = (use, entries, receipt, samples)
