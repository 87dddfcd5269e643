"""From an HTTP request to a call, and back: what every audited route shares."""

import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv6Network
from typing import Any, Final, Self

import structlog
from litestar import Request, Response

from gateway import spans, telemetry
from gateway.audit.access import Access
from gateway.audit.approvals import Approvals
from gateway.audit.checkpoint import NoteKey
from gateway.audit.condition import Conditions
from gateway.audit.entry import parse_address
from gateway.audit.export import Exports
from gateway.audit.inspection import Cursors
from gateway.audit.journal import Journal
from gateway.audit.sealed import SealedLog
from gateway.audit.summary import Summaries
from gateway.audit.tree import NotAsSealed
from gateway.audit.whole_log import WholeLog
from gateway.batching import Batches
from gateway.changes import Keeper
from gateway.clock import ServerClock
from gateway.edge import proxies, rendering
from gateway.edge.health import Health
from gateway.jobs.desk import Jobs
from gateway.jobs.worker import JobWorker
from gateway.lookup import Lookups, identify
from gateway.oidc.provider import IdentityProvider
from gateway.partners.directory import Directory, Staff
from gateway.partners.keys import Proved
from gateway.patience import Patience
from gateway.postgres import SERVER_GONE
from gateway.problems import (
    ArchiveUnavailable,
    AuditUnavailable,
    CallerGone,
    Forbidden,
    InternalError,
    PayloadTooLarge,
    Problem,
    RequestTimeout,
    UnsupportedMediaType,
)
from gateway.quota.limit import Decision
from gateway.quota.overview import Overview
from gateway.rehearsing import Rehearsals
from gateway.vocabulary import Actor, Operation, Outcome, Reason

log = structlog.get_logger()

HttpRequest = Request[Any, Any, Any]
MOST_BODY: Final = 16 * 1024
MOST_BATCH_BODY: Final = 1024 * 1024
# A body is waited for so long, and a second longer for each so many bytes that came: only
# the waiting counts, not what the gateway does between its pieces.
BODY_SECONDS: Final = 10.0
BYTES_A_SECOND: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes of one worker work with; made by gateway/app.py.

    There is no keeper where GATEWAY_ADMIN_DSN is not set, there are no approvals where
    GATEWAY_AUDIT_FOUR_EYES is off, and there is no identity provider where no
    GATEWAY_OIDC_… is set.
    """

    lookups: Lookups
    batches: Batches
    jobs: Jobs
    job_worker: JobWorker
    journal: Journal
    directory: Directory
    inspection: WholeLog
    cursors: Cursors
    sealed: SealedLog
    exports: Exports
    summaries: Summaries
    conditions: Conditions
    overview: Overview
    rehearsals: Rehearsals
    approvals: Approvals | None
    note_keys: list[NoteKey]
    clock: ServerClock
    health: Health
    keeper: Keeper | None
    identity_provider: IdentityProvider | None


def services(request: HttpRequest) -> Services:
    held = request.app.state["services"]
    if not isinstance(held, Services):
        raise TypeError("the application has no services")
    return held


def client_address(request: HttpRequest) -> str:
    """Whom to bound: an IPv4 address, or the /64 of an IPv6 one."""
    client = request.scope["client"]
    if client is None:
        return "unknown"
    address = parse_address(client[0])
    if ":" in address:
        return str(IPv6Network((address, 64), strict=False))
    return address


def begin(request: HttpRequest, operation: Operation) -> Access:
    client = request.scope["client"]
    return Access(
        operation,
        parse_address(client[0]) if client else None,
        certificate=certificate(request),
    )


def certificate(request: HttpRequest) -> bytes | None:
    """The SHA-256 of the caller's certificate, as a proxy of ours tells it; or None."""
    presented = request.scope.get(proxies.CERTIFICATE)
    return presented if isinstance(presented, bytes) else None


def header_values(request: HttpRequest, name: bytes) -> list[str]:
    """The values of every header of this name, which is in small letters."""
    return [v.decode("latin-1") for n, v in request.scope["headers"] if n == name]


class SignedIn(Request[Any, Any, Any]):
    """A call that the console makes for whoever is signed in there, or for nobody."""

    proved: Proved | None = None


def credential(request: HttpRequest) -> str | Proved | None:
    """The text after `Bearer`, if there is exactly one such header (RFC 6750 §2.1).

    Of a call that the console makes: whom its session is of.
    """
    if isinstance(request, SignedIn):
        return request.proved
    values = header_values(request, b"authorization")
    if len(values) != 1:
        return None
    scheme, _, text = values[0].partition(" ")
    return text.strip() if scheme.lower() == "bearer" else None


async def read_json_body(request: HttpRequest, most: int = MOST_BODY) -> bytes:
    """The body, if it is declared as JSON and no longer than the route reads.

    Raises:
        UnsupportedMediaType, PayloadTooLarge: in that order.
    """
    check_declared(request)
    return await read_body(request, most)


async def read_optional_json_body(request: HttpRequest) -> bytes:
    """The same where a body may be left out: then it is empty, whatever is declared.

    Raises:
        UnsupportedMediaType, PayloadTooLarge: for a body that is there.
    """
    body = await read_body(request, MOST_BODY)
    if body:
        check_declared(request)
    return body


def check_declared(request: HttpRequest, wanted: str = "application/json") -> None:
    """Refuses a body that is not declared as what is wanted, in UTF-8.

    Raises:
        UnsupportedMediaType: it is declared as something else, or not at all.
    """
    declared = header_values(request, b"content-type")
    kind, _, parameters = (declared[0] if len(declared) == 1 else "").partition(";")
    charset = parameters.replace(" ", "").replace('"', "").lower()
    if kind.strip().lower() != wanted or charset not in {
        "",
        "charset=utf-8",
    }:
        raise UnsupportedMediaType


async def read_body(request: HttpRequest, most: int) -> bytes:
    """All of it; no more than the limit is kept, whatever comes."""
    return b"".join([piece async for piece in BodyPieces(request, most)])


class BodyPieces:
    """The body as it comes in. No generator: the loop would keep a list of those.

    Of one whose length is announced the end is known with its last byte. To ask the server
    whether there is more (Granian always says that there may be) took as long as a piece.

    Raises:
        PayloadTooLarge: at once where it is announced to be longer than `most`, or on the
            way; RequestTimeout, CallerGone: on the way.
    """

    def __init__(self, request: HttpRequest, most: int) -> None:
        lengths = header_values(request, b"content-length")
        self._announced = int(lengths[0]) if lengths else None
        if self._announced is not None and self._announced > most:
            raise PayloadTooLarge
        if header_values(request, b"transfer-encoding"):
            # Then the length is not to be believed (RFC 9112 §6.3).
            self._announced = None
        self._request = request
        self._most = most
        self._came = 0
        self._more = True
        self._seconds = BODY_SECONDS

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._more:
            raise StopAsyncIteration
        began = time.monotonic()
        try:
            with Patience(self._seconds):
                message = await self._request.receive()
        except TimeoutError:
            raise RequestTimeout from None
        if message["type"] != "http.request":
            raise CallerGone
        piece: bytes = message.get("body", b"")
        self._came += len(piece)
        if self._came > self._most:
            raise PayloadTooLarge
        waited = time.monotonic() - began
        self._seconds += len(piece) / BYTES_A_SECOND - waited
        self._more = message.get("more_body", False) and self._came != self._announced
        return piece


def identify_staff(
    request: HttpRequest, held: Services, access: Access, role: Actor
) -> Staff:
    """Who is asking; noted on the access, whatever comes of it.

    Raises:
        Unauthenticated, AddressNotAllowed: nobody whom we know there.
        Forbidden: somebody else than staff of this role.
    """
    token = credential(request)
    key = identify(held.directory, access, token, held.clock.now())
    if key.staff is None or key.staff.role is not role:
        raise Forbidden
    return key.staff


async def respond(
    access: Access,
    work: Callable[[], Awaitable[Response[Any]]],
    decision: Callable[[], Decision | None] = lambda: None,
) -> Response[Any]:
    """Runs an audited call and makes a problem of whatever it raises.

    Its entry is durable by then: `work` is wrapped in the journal's recording.
    """
    began = time.perf_counter()
    response: Response[Any]
    try:
        response = await work()
        outcome, reason = access.outcome, access.reason
    except Exception as error:  # noqa: BLE001 - the last line before the server
        problem = _problem(error)
        response = rendering.problem(
            problem, access_id=access.access_id, decision=decision()
        )
        # How it ended, though the entry may not have been made to say so.
        outcome = problem.outcome
        # Who hung up has no answer of ours: failed, and by no reason of ours.
        reason = None if isinstance(error, CallerGone) else problem.reason
    _count(access, response, outcome, reason, time.perf_counter() - began)
    return response


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, NotAsSealed):
        log.critical("log_is_not_as_sealed", detail=str(error))
        return ArchiveUnavailable("The log is not as it was sealed.")
    tell_unforeseen(error)
    # What an auditor reads is the log: it is away.
    gone = isinstance(error, SERVER_GONE)
    return AuditUnavailable(fate_unknown=False) if gone else InternalError()


def _count(
    access: Access,
    response: Response[Any],
    outcome: Outcome | None,
    reason: Reason | None,
    seconds: float,
) -> None:
    ended = outcome.word if outcome else "none"
    told = reason.word if reason else ""
    telemetry.calls_of(access.operation.word, ended, told).inc()
    telemetry.seconds_of(access.operation.word).observe(seconds)
    if spans.told_to is not None:
        spans.told_to.access(
            *(access.operation.word, ended, told),
            *(access.institution, access.access_id),
        )
    telemetry.Told(
        operation=access.operation.word,
        status=response.status_code,
        outcome=ended,
        reason=told or None,
        institution=access.institution,
        key=access.key and access.key.id,
        access_id=access.access_id,
        ms=round(seconds * 1000, 2),
    ).write()


def tell_unforeseen(error: Exception) -> None:
    """A fault of ours, in the log."""
    # Where it broke, but not the error's text: that may quote what was asked.
    where = traceback.extract_tb(error.__traceback__)[-1]
    log.error(
        "unforeseen_error",
        error=type(error).__name__,
        file=where.filename.rpartition("/")[2],
        line=where.lineno,
    )
