"""The auditor's further pages: the log counted, and the log to take away."""

from typing import Any, Final

from litestar import Response, get

from gateway.audit.summary import DAY, By
from gateway.clock import JAKARTA_OFFSET, to_text
from gateway.console.pages import HEADERS, local_of, moment_of
from gateway.console.visit import Visit, shown
from gateway.console.within import ask, read
from gateway.edge import exports, summaries
from gateway.edge.caller import HttpRequest
from gateway.vocabulary import Actor

TIMES: Final = ("from", "to")
MOST_ROWS: Final = 100
DAYS_AT_FIRST: Final = 30


@get("/console/audit/trends", include_in_schema=False)
async def trends(request: HttpRequest) -> Response[Any]:
    """How often and by whom; the most first, days in their order."""

    async def work(visit: Visit) -> Response[Any]:
        asked = {"by": By.DAY.value, **visit.query}
        told: dict[str, Any] = {"asked": asked, "words": [one.value for one in By]}
        if "reason" not in asked:
            asked.setdefault("from", local_of(to_text(_at_first(visit))))
            return visit.draw("trends.html", rows=None, more=0, faults={}, **told)
        answer = await visit.ask(summaries.summary, query=_question(asked, "by"))
        if not answer.well and not answer.faults:
            return visit.problem(answer)
        rows = answer.document["rows"] if answer.well else None
        if rows is not None and asked["by"] != By.DAY:
            rows.sort(key=lambda row: -row["entries"])
        return visit.draw(
            "trends.html",
            status=answer.status,
            rows=rows and rows[:MOST_ROWS],
            more=max(0, len(rows or ()) - MOST_ROWS),
            faults=answer.faults,
            **told,
        )

    return await shown(request, Actor.AUDITOR, work)


def _at_first(visit: Visit) -> int:
    """A midnight of Jakarta: whole days are counted before they are asked for."""
    days = (visit.held.clock.now() + JAKARTA_OFFSET) // DAY - DAYS_AT_FIRST
    return days * DAY - JAKARTA_OFFSET


def _question(asked: dict[str, str], *further: str) -> dict[str, str]:
    kept = {name: asked[name] for name in ("reason", *further) if name in asked}
    return kept | {name: moment_of(asked[name]) for name in TIMES if name in asked}


@get("/console/audit/export", include_in_schema=False)
async def export(request: HttpRequest) -> Response[Any]:
    """The form; what it asks for is sent by the next route."""

    async def work(visit: Visit) -> Response[Any]:
        formats = list(exports.MEDIA_TYPES)
        return visit.draw("export.html", asked=visit.query, formats=formats)

    return await shown(request, Actor.AUDITOR, work)


@get("/console/audit/export/file", include_in_schema=False)
async def export_file(request: HttpRequest) -> Response[Any]:
    """The export as the API sends it, to be saved."""

    async def work(visit: Visit) -> Response[Any]:
        asked = visit.query
        question = _question(asked, "format")
        sent = await ask(request, visit.proved, exports.export, query=question)
        if (sent.status_code or 0) >= 400:  # noqa: PLR2004 - HTTP status
            answer = read(sent)
            if not answer.faults:
                return visit.problem(answer)
            formats = list(exports.MEDIA_TYPES)
            told = {"asked": asked, "formats": formats, "faults": answer.faults}
            return visit.draw("export.html", status=answer.status, **told)
        name = f"log.{question.get('format', 'ndjson')}"
        sent.headers |= HEADERS | {
            "Content-Disposition": f'attachment; filename="{name}"'
        }
        return sent

    return await shown(request, Actor.AUDITOR, work)


ROUTES: Final = (trends, export, export_file)
