"""The auditor's pages: who asked what, who asked about one person, and what proves it."""

from typing import Any, Final

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath

from gateway.console.pages import moment_of
from gateway.console.visit import Visit, shown
from gateway.edge import auditing
from gateway.edge.caller import MOST_BODY, HttpRequest
from gateway.vocabulary import Actor, Operation, Outcome, Reason

FILTERS: Final = ("institution", "key", "purpose", "operation", "outcome", "actor")
TIMES: Final = ("from", "to")
A_PAGE: Final = "50"
OWN_REASON: Final = "my own searches, shown at the console"
WORDS: Final = {
    "operations": [one.word for one in Operation],
    "outcomes": [one.word for one in Outcome],
    "actors": [one.word for one in Actor],
}


@get("/console/audit", include_in_schema=False)
async def entries(request: HttpRequest) -> Response[Any]:
    """The form; with a reason given, what it finds."""

    async def work(visit: Visit) -> Response[Any]:
        asked = visit.query
        told: dict[str, Any] = {"asked": asked, "words": WORDS, "faults": {}}
        if "reason" not in asked:
            return visit.draw("entries.html", found=None, **told)
        answer = await visit.ask(auditing.search, query=_question(asked))
        if not answer.well and not answer.faults:
            return visit.problem(answer)
        found = answer.document if answer.well else None
        told["faults"] = answer.faults
        return visit.draw("entries.html", status=answer.status, found=found, **told)

    return await shown(request, Actor.AUDITOR, work)


def _question(asked: dict[str, str]) -> dict[str, str]:
    """What the page was asked, in the API's words."""
    kept = ("reason", "cursor", *FILTERS)
    question = {name: asked[name] for name in kept if name in asked}
    for name in TIMES:
        if name in asked:
            question[name] = moment_of(asked[name])
    return {"limit": A_PAGE} | question


@get("/console/audit/person", include_in_schema=False)
async def person(request: HttpRequest) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        return visit.draw("person.html", found=None, faults={}, kept={})

    return await shown(request, Actor.AUDITOR, work)


@post("/console/audit/person", include_in_schema=False, request_max_body_size=MOST_BODY)
async def find_person(request: HttpRequest) -> Response[Any]:
    """Who asked about somebody. The NIK goes from page to page sealed, never shown."""

    async def work(visit: Visit) -> Response[Any]:
        kept = visit.given("reason", *TIMES)
        nik = _nik(visit)
        body = {"nik": nik} | {
            name: text if name == "reason" else moment_of(text)
            for name, text in kept.items()
        }
        if visit.text("cursor"):
            body["cursor"] = visit.text("cursor")
        answer = await visit.ask(auditing.search_subject, body=body)
        told: dict[str, Any] = {"faults": answer.faults, "kept": kept}
        if answer.well:
            told["sealed"] = visit.seal(nik)
            return visit.draw("person.html", found=answer.document, **told)
        # Of an auditor only what nobody else has approved yet is forbidden here.
        waits = answer.reason is Reason.FORBIDDEN
        if answer.faults or waits:
            return visit.draw(
                "person.html", status=answer.status, found=None, waits=waits, **told
            )
        return visit.problem(answer)

    return await shown(request, Actor.AUDITOR, work)


def _nik(visit: Visit) -> str:
    """What was typed; of a following page, what the page before had sealed."""
    sealed = visit.text("sealed")
    return (visit.unseal(sealed) or "") if sealed else visit.text("nik")


@get("/console/audit/entries/{access_id:str}", include_in_schema=False)
async def entry(request: HttpRequest, access_id: FromPath[str]) -> Response[Any]:
    """One entry with its proof, which the browser checks for itself."""

    async def work(visit: Visit) -> Response[Any]:
        asked = {"named": {"access_id": access_id}, "query": visit.query}
        answer = await visit.ask(auditing.proof, **asked)
        sealed = answer.well and "entry" in answer.document
        if answer.well and not sealed:
            answer = await visit.ask(auditing.one_entry, **asked)
        if not answer.well:
            return visit.problem(answer)
        return draw_entry(visit, answer.document)

    return await shown(request, Actor.AUDITOR, work)


def draw_entry(visit: Visit, told: dict[str, Any]) -> Response[bytes]:
    """An entry with what proves it, or without as long as it is not sealed."""
    sealed = "entry" in told
    # Of a receipt that is to come, its holder is told no more than its name.
    waiting = not sealed and "at" not in told
    if waiting:
        return visit.draw("receipt_soon.html", access_id=told["access_id"])
    return visit.draw(
        "entry.html",
        entry=msgspec.json.decode(told["entry"]) if sealed else told,
        receipt=told if sealed else None,
        note_keys=[key.text for key in visit.held.note_keys],
    )


@get("/console/audit/own", include_in_schema=False)
async def own(request: HttpRequest) -> Response[Any]:
    """What this auditor looked at, and why."""

    async def work(visit: Visit) -> Response[Any]:
        key = visit.key.id if visit.key else ""
        question = {"reason": OWN_REASON, "key": key, "limit": A_PAGE}
        cursor = visit.query.get("cursor")
        answer = await visit.ask(
            auditing.search, query=question | ({"cursor": cursor} if cursor else {})
        )
        if not answer.well:
            return visit.problem(answer)
        return visit.draw("own_searches.html", found=answer.document)

    return await shown(request, Actor.AUDITOR, work)


ROUTES: Final = (entries, person, find_person, entry, own)
