"""Signing in by the ministry's OpenID provider: leaving for it, and coming back.

What comes back proves who somebody is there; who that is here an admin has said. Roles,
sessions and entries are those of a sign-in by token.
"""

from enum import StrEnum
from typing import Any, Final

import structlog
from litestar import Response, get
from litestar.datastructures import Cookie

from gateway.audit.access import Access
from gateway.clock import SECOND
from gateway.console.sessions import NotBound, Session
from gateway.console.visit import HOME, Visit, cookie_name, go, session_cookie, shown
from gateway.console.within import Answer, read
from gateway.edge import rendering
from gateway.edge.caller import HttpRequest, begin, client_address, respond
from gateway.edge.identities import provider_of
from gateway.edge.log import Bounds
from gateway.lookup import identify
from gateway.oidc import id_token
from gateway.oidc.departure import SECONDS, Departure, Departures
from gateway.oidc.id_token import NotBelieved
from gateway.oidc.provider import ProviderUnavailable
from gateway.problems import QuotaExceeded, Unauthenticated
from gateway.settings import ARRIVAL_PATH
from gateway.vocabulary import Operation, Outcome

log = structlog.get_logger()

# Of one address in each worker, as at a sign-in by token: leaving, and coming back.
_LEAVING: Final = Bounds(a_second=0.2, at_once=10)
_ARRIVING: Final = Bounds(a_second=0.2, at_once=10)


class Why(StrEnum):
    """Why nobody was signed in, as the entry's reference has it."""

    DEPARTURE = "oidc: departure"
    PROVIDER = "oidc: provider"
    DOUBT = "oidc: doubt"
    BINDING = "oidc: binding"


class NotSignedIn(Unauthenticated):
    """`subject` is whom the provider named, where that is all that is wrong."""

    def __init__(self, why: Why, subject: str = "") -> None:
        super().__init__()
        self.why = why
        self.subject = subject


@get("/console/oidc", include_in_schema=False)
async def leave(request: HttpRequest) -> Response[Any]:
    """Sends the browser to the provider, with what it must bring back in a cookie.

    A link leads here and no form: a form may only lead to us, by its page's policy.
    """

    async def work(visit: Visit) -> Response[Any]:
        try:
            _LEAVING.spend(client_address(request))
            departure = Departure.make()
            address = await provider_of(request).address(departure)
        except QuotaExceeded as refusal:
            return visit.problem(read(rendering.problem(refusal)))
        except ProviderUnavailable as failure:
            return _told(visit, read(rendering.problem(failure)), None)
        now = visit.held.clock.now() // SECOND
        sealed = _departures(request).seal(departure, now)
        sent = go(address)
        sent.set_cookie(_cookie(request, sealed))
        return sent

    return await shown(request, None, work)


@get(ARRIVAL_PATH, include_in_schema=False)
async def arrive(request: HttpRequest) -> Response[Any]:
    """Signs in who comes back, or says why not; either is an entry."""

    async def work(visit: Visit) -> Response[Any]:
        try:
            _ARRIVING.spend(client_address(request))
        except QuotaExceeded as exceeded:
            return visit.problem(read(rendering.problem(exceeded)))
        session, answer, refusal = await _sign_in(visit)
        if session is None:
            page = _told(visit, answer, refusal)
        else:
            # A page and no redirect: the provider began this navigation, so that to
            # wherever it went on the browser would not send a SameSite=Strict cookie.
            page = visit.draw("signed_in.html", home=HOME)
            page.set_cookie(session_cookie(request, session.secret))
        page.set_cookie(_cookie(request, ""))
        return page

    return await shown(request, None, work)


def _told(
    visit: Visit, answer: Answer, refusal: Unauthenticated | None
) -> Response[bytes]:
    return visit.draw(
        "not_signed_in.html",
        status=answer.status,
        why=refusal.why.name if isinstance(refusal, NotSignedIn) else "",
        ended=refusal is not None,
        subject=refusal.subject if isinstance(refusal, NotSignedIn) else "",
        access_id=answer.headers.get("Access-Id"),
    )


async def _sign_in(
    visit: Visit,
) -> tuple[Session | None, Answer, Unauthenticated | None]:
    """The session that began, entered in the log; and so is that none did."""
    access = begin(visit.request, Operation.CONSOLE_SIGN_IN)
    access.reference = "oidc"
    begun: list[Session] = []
    refused: list[Unauthenticated] = []

    async def answer() -> Response[Any]:
        async with visit.held.journal.recording(access):
            try:
                session = await _let_in(visit, access)
            except Unauthenticated as refusal:
                refused.append(refusal)
                if isinstance(refusal, NotSignedIn):
                    access.reference = refusal.why
                raise
            access.outcome = Outcome.DONE
        begun.append(session)
        return rendering.done(access_id=access.access_id)

    answered = read(await respond(access, answer))
    session = begun[0] if begun else None
    return session, answered, refused[0] if refused else None


async def _let_in(visit: Visit, access: Access) -> Session:
    """Raises NotSignedIn, ProviderUnavailable; Unauthenticated: the token is over."""
    provider = provider_of(visit.request)
    departure = await _departure(visit)
    now = visit.held.clock.now()
    try:
        code = await _code(visit)
        claims = await provider.claims(code, departure, now // SECOND)
        subject = id_token.subject(claims, provider.claim)
    except NotBelieved as doubt:
        log.warning("oidc_not_believed", issuer=provider.issuer, why=str(doubt))
        raise NotSignedIn(Why.DOUBT) from None
    bound = await visit.sessions.bound_to(provider.issuer, provider.claim, subject)
    if bound is None:
        raise NotSignedIn(Why.BINDING, subject)
    identify(visit.held.directory, access, bound.proved, now)
    try:
        # Nobody has its secret yet; without the entry nobody ever gets it.
        return await visit.sessions.begin(bound.proved, bound.identity)
    except NotBound:
        raise NotSignedIn(Why.BINDING, subject) from None


async def _departure(visit: Visit) -> Departure:
    """What this browser left with, the first time that it comes back.

    Raises:
        NotSignedIn: it did not leave from here, or too long ago, or came back before.
    """
    now = visit.held.clock.now() // SECOND
    sealed = visit.request.cookies.get(_name(visit.request), "")
    departure = _departures(visit.request).open(sealed, now)
    state = _one(visit, "state") or ""
    if departure is None or not departure.is_answered_by(state):
        raise NotSignedIn(Why.DEPARTURE)
    if not await visit.sessions.arrive(departure.state, SECONDS):
        raise NotSignedIn(Why.DEPARTURE)
    return departure


async def _code(visit: Visit) -> str:
    """Raises NotSignedIn: the provider sends none; NotBelieved: it is another one."""
    if not await provider_of(visit.request).is_told_by(_one(visit, "iss")):
        raise NotBelieved("another issuer answers")
    code = _one(visit, "code")
    if code is None:
        raise NotSignedIn(Why.PROVIDER)
    return code


def _one(visit: Visit, name: str) -> str | None:
    """What the address says under this name, if it says it once."""
    values = visit.request.query_params.getall(name, [])
    return values[0] if len(values) == 1 else None


def _departures(request: HttpRequest) -> Departures:
    held = request.app.state["departures"]
    if not isinstance(held, Departures):
        raise TypeError("the application has no departures")
    return held


def _name(request: HttpRequest) -> str:
    return f"{cookie_name(request)}-oidc"


def _cookie(request: HttpRequest, sealed: str) -> Cookie:
    """Lax, unlike the others: it is another site that sends the browser back to us."""
    name = _name(request)
    return Cookie(
        name,
        "/",
        sealed,
        max_age=SECONDS if sealed else 0,
        httponly=True,
        secure=name.startswith("__Host-"),
        samesite="lax",
    )


ROUTES: Final = (leave, arrive)
