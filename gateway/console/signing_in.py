"""Signing in by a staff token or an institution's key, and out again."""

from typing import Any, Final

from litestar import Response, get, post

from gateway.audit.access import Access
from gateway.console.visit import HOME, PAGES, Visit, go, session_cookie, shown
from gateway.console.within import Answer, as_signed_in, read
from gateway.edge import rendering
from gateway.edge.caller import (
    MOST_BODY,
    HttpRequest,
    Services,
    begin,
    client_address,
    respond,
)
from gateway.edge.log import Bounds
from gateway.lookup import identify
from gateway.partners.directory import Key
from gateway.partners.keys import Proved, environment_of
from gateway.problems import QuotaExceeded
from gateway.vocabulary import Operation, Outcome, Reason

# Attempts of one address in each worker: so many at once, then one in five seconds.
_BOUNDS: Final = Bounds(a_second=0.2, at_once=10)


@get("/console", include_in_schema=False)
async def home(request: HttpRequest) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        if visit.role is None:
            return visit.draw("signing_in.html", refused=None)
        return go(PAGES[visit.role][0][0])

    return await shown(request, None, work)


@post("/console/session", include_in_schema=False, request_max_body_size=MOST_BODY)
async def sign_in(request: HttpRequest) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        try:
            _BOUNDS.spend(client_address(request))
        except QuotaExceeded as refusal:
            return visit.problem(read(rendering.problem(refusal)))
        credential = visit.text("credential")
        key, answer = await _identify(request, visit.held, credential)
        if key is None:
            return _refused(visit, answer)
        proved = Proved(key.number, environment_of(credential))
        session = await visit.sessions.begin(proved)
        sent = go(HOME)
        sent.set_cookie(session_cookie(request, session.secret))
        return sent

    return await shown(request, None, work)


def _refused(visit: Visit, answer: Answer) -> Response[bytes]:
    if answer.reason is Reason.UNAUTHENTICATED:
        return visit.draw("signing_in.html", status=answer.status, refused=True)
    return visit.problem(answer)


async def _identify(
    request: HttpRequest, held: Services, credential: str
) -> tuple[Key | None, Answer]:
    """Whose this is, entered in the log, and so is that it is nobody's."""
    access = begin(request, Operation.CONSOLE_SIGN_IN)
    found: list[Key] = []

    async def answer() -> Response[Any]:
        async with held.journal.recording(access):
            key = identify(held.directory, access, credential, held.clock.now())
            access.outcome = Outcome.DONE
        found.append(key)
        return rendering.done(access_id=access.access_id)

    answered = read(await respond(access, answer))
    return (found[0] if found else None), answered


@post("/console/session/end", include_in_schema=False, request_max_body_size=MOST_BODY)
async def sign_out(request: HttpRequest) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        if visit.session is not None:
            await _enter_sign_out(visit)
            await visit.sessions.end(visit.session)
        sent = go(HOME)
        sent.set_cookie(session_cookie(request, ""))
        return sent

    return await shown(request, None, work)


async def _enter_sign_out(visit: Visit) -> None:
    asked = as_signed_in(visit.request, visit.proved)
    access: Access = begin(asked, Operation.CONSOLE_SIGN_OUT)
    held = visit.held

    async def answer() -> Response[Any]:
        async with held.journal.recording(access):
            identify(held.directory, access, visit.proved, held.clock.now())
            access.outcome = Outcome.DONE
        return rendering.done(access_id=access.access_id)

    # Whatever becomes of the entry, who wants to leave is let go.
    await respond(access, answer)
