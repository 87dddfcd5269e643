"""One request for a page: who is signed in, in which language, and what the form holds."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from litestar import Response
from litestar.datastructures import Cookie
from litestar.handlers import HTTPRouteHandler

from gateway.audit.access import Access
from gateway.console.pages import HEADERS, draw, html
from gateway.console.sessions import LONGEST_SECONDS, Session, Sessions
from gateway.console.texts import LANGUAGES, Texts, preferred
from gateway.console.within import Answer, as_signed_in, ask, read
from gateway.edge import rendering
from gateway.edge.auditing import audited
from gateway.edge.caller import (
    MOST_BODY,
    HttpRequest,
    Services,
    certificate,
    check_declared,
    header_values,
    read_body,
    services,
    tell_unforeseen,
)
from gateway.edge.explanations import EXPLANATION
from gateway.edge.rendering import TITLE
from gateway.partners.directory import Key
from gateway.partners.keys import Proved
from gateway.partners.proposals import count_waiting
from gateway.postgres import SERVER_GONE
from gateway.problems import (
    AuditUnavailable,
    Forbidden,
    InternalError,
    Problem,
    Unauthenticated,
)
from gateway.vocabulary import Actor, Operation

HOME: Final = "/console"
FORM: Final = "application/x-www-form-urlencoded"
LANGUAGE_COOKIE: Final = "gateway-language"
_LOOPBACK: Final = ("localhost", "127.", "[::1]")
_YEAR: Final = 365 * 86_400
_FRESH: Final[Callable[[], dict[str, list[str]]]] = dict

APPROVALS: Final = "/console/audit/approvals"
PROPOSALS: Final = "/console/admin/proposals"

# Who sees which pages; the first is where one begins.
PAGES: Final = {
    Actor.AUDITOR: (
        ("/console/audit", "Entries"),
        ("/console/audit/person", "By person"),
        ("/console/audit/trends", "Trends"),
        ("/console/audit/export", "Export"),
        ("/console/audit/own", "My searches"),
        (APPROVALS, "Approvals"),
    ),
    Actor.OPS: (
        ("/console/ops", "Now"),
        ("/console/ops/limits", "Limits"),
    ),
    Actor.INSTITUTION: (
        ("/console/own", "Use"),
        ("/console/own/entries", "My accesses"),
        ("/console/own/samples", "Samples"),
    ),
    Actor.ADMIN: (
        ("/console/admin", "Institutions"),
        ("/console/admin/take-on", "Take on an institution"),
        ("/console/admin/keys", "Find a key"),
        ("/console/admin/staff", "Staff"),
        (PROPOSALS, "Proposals"),
    ),
}


class Refused(Exception):
    """What a page needs to be drawn at all, the API refuses."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("the API refuses")
        self.answer = answer


@dataclass(slots=True)
class Visit:
    """A request of somebody, who may be nobody. `key` is whose session it is.

    `waiting` is how many changes wait for this admin's approval.
    """

    request: HttpRequest
    held: Services
    sessions: Sessions
    t: Texts
    session: Session | None = None
    key: Key | None = None
    form: dict[str, list[str]] = field(default_factory=_FRESH)
    waiting: int = 0

    @property
    def proved(self) -> Proved | None:
        return self.session.proved if self.session and self.key else None

    @property
    def role(self) -> Actor | None:
        if self.key is None:
            return None
        return self.key.staff.role if self.key.staff else Actor.INSTITUTION

    @property
    def name(self) -> str:
        """Who is signed in, as people call them."""
        if self.key is None:
            return ""
        if self.key.staff is not None:
            return self.key.staff.name
        return self.institution(self.key.institution)

    @property
    def csrf(self) -> str:
        return self.session.csrf if self.session else ""

    @property
    def path(self) -> str:
        path: str = self.request.scope["path"]
        return path

    @property
    def query(self) -> dict[str, str]:
        """What the address asks, the first of each name, without what is empty."""
        given = reversed(list(self.request.query_params.multi_items()))
        return {name: text.strip() for name, text in given if text.strip()}

    def text(self, name: str) -> str:
        """What the form holds under this name; empty where it holds nothing."""
        return self.form.get(name, [""])[0].strip()

    def given(self, *names: str) -> dict[str, str]:
        """What the form holds under these names, without what is empty."""
        return {name: text for name in names if (text := self.text(name))}

    def institution(self, number: int | None) -> str:
        """Its name; empty for none, and for one that the directory does not have."""
        held = self.held.directory.institution(number) if number else None
        return held.name if held else ""

    def staff_with(self, key_id: str | None) -> str:
        """Whose token this is; empty for none, and for one that the directory has not."""
        key = self.held.directory.key_named(key_id) if key_id else None
        return key.staff.name if key and key.staff else ""

    @property
    def has_provider(self) -> bool:
        """Whether staff may sign in at an OpenID provider."""
        return self.held.identity_provider is not None

    def seal(self, text: str) -> str:
        """A text for the next page of this session, unreadable on this one."""
        return self.sessions.seal(self.session, text) if self.session else ""

    def unseal(self, sealed: str) -> str | None:
        return self.sessions.open(self.session, sealed) if self.session else None

    async def find_session(self, *, seen: bool) -> None:
        """Who is signed in just now; `seen` lets the session live on."""
        self.session = self.key = None
        secret = self.request.cookies.get(cookie_name(self.request))
        if secret:
            self.session = await self.sessions.find(secret, seen=seen)
        if self.session is not None:
            with suppress(Unauthenticated):
                now = self.held.clock.now()
                key = self.held.directory.identify(self.session.proved, now)
                presented = certificate(self.request)
                self.held.directory.check_certificate(key, presented, now)
                self.key = key

    async def ask(self, handler: HTTPRouteHandler, **asked: Any) -> Answer:
        """One call of the API as whoever is signed in; see within.ask."""
        return read(await ask(self.request, self.proved, handler, **asked))

    async def enter(self, operation: Operation, role: Actor) -> Answer:
        """An entry for a look that no call of the API is made for."""

        async def work(_: Services, __: Access) -> object:
            return {}

        asked = as_signed_in(self.request, self.proved)
        return read(await audited(asked, operation, work, role=role))

    def part(self, template: str, **told: Any) -> str:
        """What a page that is open already replaces a part of itself with."""
        return html(template, self.t, {"visit": self} | told)

    async def need(self, handler: HTTPRouteHandler, **asked: Any) -> Any:
        """The document of the API's answer.

        Raises:
            Refused: it has none for us; `shown` then draws why.
        """
        answer = await self.ask(handler, **asked)
        if not answer.well:
            raise Refused(answer)
        return answer.document

    def draw(self, template: str, *, status: int = 200, **told: Any) -> Response[bytes]:
        pages = [
            (address, name)
            for address, name in (PAGES[self.role] if self.role else ())
            if self._is_offered(address)
        ]
        everywhere = {"visit": self, "pages": pages}
        return draw(template, self.t, everywhere | told, status=status)

    def _is_offered(self, address: str) -> bool:
        if address == APPROVALS:
            return self.held.approvals is not None
        return address != PROPOSALS or self.needs_a_second

    @property
    def needs_a_second(self) -> bool:
        """Whether this gateway holds up changes until a second admin has approved them."""
        keeper = self.held.keeper
        return keeper is not None and keeper.above is not None

    async def count_waiting(self) -> None:
        """Raises AuditUnavailable: nobody can tell just now."""
        keeper, staff = self.held.keeper, self.key.staff if self.key else None
        if self.role is Actor.ADMIN and self.needs_a_second and keeper and staff:
            self.waiting = await keeper.lend(
                lambda connection: count_waiting(connection, staff.id)
            )

    def problem(self, answer: Answer) -> Response[bytes]:
        """The page that says why not; for nobody, the one that asks who it is."""
        reason = answer.reason
        if reason is Unauthenticated.reason:
            return self.draw("signing_in.html", status=answer.status, refused=None)
        access_id = answer.headers.get("Access-Id")
        if reason is Forbidden.reason and "detail" in answer.document:
            told = {"detail": answer.document["detail"], "access_id": access_id}
            return self.draw("held.html", status=answer.status, **told)
        return self.draw(
            "problem.html",
            status=answer.status,
            title=TITLE[reason] if reason else "",
            why=self.why(answer),
            faults=answer.faults,
            access_id=access_id,
        )

    def why(self, answer: Answer) -> str:
        """What the API's refusal means, in a sentence or two."""
        why = EXPLANATION.get(answer.reason) if answer.reason else None
        return why[LANGUAGES.index(self.t.language)] if why else ""


Work = Callable[[Visit], Awaitable[Response[Any]]]


async def arrive(request: HttpRequest, *, seen: bool = True) -> Visit:
    """Who is there. One whose key is revoked or over is nobody."""
    language = request.cookies.get(LANGUAGE_COOKIE, "")
    if language not in LANGUAGES:
        language = preferred(request.headers.get("accept-language", ""))
    held = services(request)
    visit = Visit(request, held, request.app.state["sessions"], Texts(language))
    await visit.find_session(seen=seen)
    return visit


async def shown(
    request: HttpRequest, role: Actor | None, work: Work, *, seen: bool = True
) -> Response[Any]:
    """A page for one role; None: for anybody. What is refused is an entry.

    `seen` tells whether somebody asked for it, who is at the screen then.
    """
    try:
        chosen = request.query_params.get("lang")
        if chosen in LANGUAGES and request.method == "GET":
            return _in_language(request, chosen)
        return await _let_in(await arrive(request, seen=seen), role, work)
    except Problem as problem:
        return _plainly(request, problem)
    except SERVER_GONE:
        return _plainly(request, AuditUnavailable(fate_unknown=False))
    except Exception as error:  # noqa: BLE001 - the last line before the server
        tell_unforeseen(error)
        return _plainly(request, InternalError())


async def _let_in(visit: Visit, role: Actor | None, work: Work) -> Response[Any]:
    if role is not None and visit.role is not role:
        return visit.problem(await _refuse(visit, role))
    if visit.request.method == "POST":
        visit.form = await read_form(visit.request)
        if not _is_ours(visit):
            return visit.problem(await _refuse(visit, visit.role))
    try:
        await visit.count_waiting()
        return await work(visit)
    except Refused as refused:
        return visit.problem(refused.answer)
    except Problem as problem:
        return visit.problem(read(rendering.problem(problem)))


def _plainly(request: HttpRequest, problem: Problem) -> Response[bytes]:
    """Why not, on a page that needs nobody signed in."""
    language = preferred(request.headers.get("accept-language", ""))
    visit = Visit(
        request, services(request), request.app.state["sessions"], Texts(language)
    )
    return visit.problem(read(rendering.problem(problem)))


async def _refuse(visit: Visit, role: Actor | None) -> Answer:
    """The API's own refusal of who may not do this here, with its entry."""

    async def nothing(_: Services, __: Access) -> object:
        raise Forbidden

    asked = as_signed_in(visit.request, visit.proved)
    wanted = role or Actor.INSTITUTION
    return read(await audited(asked, Operation.CONSOLE_PAGE, nothing, role=wanted))


def _is_ours(visit: Visit) -> bool:
    """Whether a form was filled in on a page of ours, in this very session.

    There is none at the sign-in: then only the browser says where it came from.
    """
    site = visit.request.headers.get("sec-fetch-site", "same-origin")
    if site not in {"same-origin", "none"}:
        return False
    told = visit.text("csrf")
    return visit.session is None or hmac.compare_digest(
        told.encode(), visit.csrf.encode()
    )


async def read_form(request: HttpRequest) -> dict[str, list[str]]:
    """Raises UnsupportedMediaType, PayloadTooLarge, RequestTimeout."""
    check_declared(request, FORM)
    body = await read_body(request, MOST_BODY)
    return parse_qs(body.decode("utf-8", "replace"))


def _in_language(request: HttpRequest, language: str) -> Response[bytes]:
    rest = [pair for pair in request.query_params.multi_items() if pair[0] != "lang"]
    address = request.scope["path"] + (f"?{urlencode(rest)}" if rest else "")
    answer = go(address)
    answer.set_cookie(
        Cookie(LANGUAGE_COOKIE, "/console", language, max_age=_YEAR, samesite="lax")
    )
    return answer


def go(address: str) -> Response[bytes]:
    """Sends the browser on to another page, by GET."""
    headers: Mapping[str, str] = {**HEADERS, "Location": address}
    return Response(b"", status_code=303, media_type="text/html", headers=headers)


def _over_loopback(request: HttpRequest) -> bool:
    """Whether the browser is on this machine, where there is no TLS."""
    (host,) = header_values(request, b"host")[:1] or [""]
    return host.startswith(_LOOPBACK)


def cookie_name(request: HttpRequest) -> str:
    loopback = _over_loopback(request)
    return "gateway-session" if loopback else "__Host-gateway-session"


def session_cookie(request: HttpRequest, secret: str) -> Cookie:
    """The cookie of a session; without a secret, the one that ends it."""
    return Cookie(
        cookie_name(request),
        "/",
        secret,
        max_age=LONGEST_SECONDS if secret else 0,
        httponly=True,
        secure=not _over_loopback(request),
        samesite="strict",
    )
