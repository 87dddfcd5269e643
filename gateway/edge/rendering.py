"""Makes HTTP of what happened: problems (RFC 9457) and the RateLimit headers.

The only place where domain errors and decisions become status codes and headers.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec
from litestar import Response

from gateway.problems import (
    AbnormalUsage,
    ArchiveUnavailable,
    EntriesExpired,
    IdempotencyConflict,
    InvalidRequest,
    KeyInProgress,
    KeyReused,
    MethodNotAllowed,
    NotApproved,
    NotGranted,
    Problem,
    QuotaExceeded,
    ReducedCapacity,
)
from gateway.quota.limit import IDLE, Decision
from gateway.vocabulary import Limits, Reason

_REGISTERED: Final = "https://iana.org/assignments/http-problem-types#"
_QUOTA_TYPES: Final = frozenset(
    {
        Reason.QUOTA_EXCEEDED,
        Reason.ABNORMAL_USAGE_DETECTED,
        Reason.TEMPORARY_REDUCED_CAPACITY,
    }
)

STATUS: Final = {
    Reason.UNAUTHENTICATED: 401,
    Reason.FORBIDDEN: 403,
    Reason.ADDRESS_NOT_ALLOWED: 403,
    Reason.AGREEMENT_INACTIVE: 403,
    Reason.NOT_GRANTED: 403,
    Reason.INVALID_REQUEST: 400,
    Reason.RESIDENT_NOT_FOUND: 404,
    Reason.IDEMPOTENCY_CONFLICT: 409,
    Reason.QUOTA_EXCEEDED: 429,
    Reason.ABNORMAL_USAGE_DETECTED: 429,
    Reason.TEMPORARY_REDUCED_CAPACITY: 503,
    Reason.AUDIT_UNAVAILABLE: 503,
    Reason.REGISTRY_UNAVAILABLE: 503,
    Reason.NOT_FOUND: 404,
    Reason.METHOD_NOT_ALLOWED: 405,
    Reason.UNSUPPORTED_MEDIA_TYPE: 415,
    Reason.PAYLOAD_TOO_LARGE: 413,
    Reason.INTERNAL_ERROR: 500,
    Reason.ARCHIVE_UNAVAILABLE: 503,
    Reason.ENTRIES_EXPIRED: 410,
    Reason.REQUEST_TIMEOUT: 408,
}

_KNOW_WHEN: Final = (KeyInProgress, QuotaExceeded, AbnormalUsage, ReducedCapacity)

# A reason has one status, but for a key that came with another body.
KEY_REUSED: Final = 422

TITLE: Final = {
    Reason.UNAUTHENTICATED: "A valid key is needed",
    Reason.FORBIDDEN: "This credential does not open this route",
    Reason.ADDRESS_NOT_ALLOWED: "This key may not be used from this address",
    Reason.AGREEMENT_INACTIVE: "No agreement is in force",
    Reason.NOT_GRANTED: "The agreement does not grant this",
    Reason.INVALID_REQUEST: "The request is not valid",
    Reason.RESIDENT_NOT_FOUND: "The registry holds no such resident",
    Reason.IDEMPOTENCY_CONFLICT: "The idempotency key is taken",
    Reason.QUOTA_EXCEEDED: "A limit is exhausted",
    Reason.ABNORMAL_USAGE_DETECTED: "This use is not normal",
    Reason.TEMPORARY_REDUCED_CAPACITY: "Limits cannot be checked safely now",
    Reason.AUDIT_UNAVAILABLE: "The audit log cannot be written now",
    Reason.REGISTRY_UNAVAILABLE: "The registry does not answer now",
    Reason.NOT_FOUND: "There is no such thing",
    Reason.METHOD_NOT_ALLOWED: "This route has no such method",
    Reason.UNSUPPORTED_MEDIA_TYPE: "The body is not declared as what this route reads",
    Reason.PAYLOAD_TOO_LARGE: "The body is too large",
    Reason.INTERNAL_ERROR: "The gateway failed",
    Reason.ARCHIVE_UNAVAILABLE: "Archived entries cannot be read now",
    Reason.ENTRIES_EXPIRED: "These entries are kept no longer",
    Reason.REQUEST_TIMEOUT: "The body did not come in time",
}

_HEADERS: Final = {
    Reason.UNAUTHENTICATED: {"WWW-Authenticate": "Bearer"},
    # What comes of the body after all is nobody's next request (RFC 9110 §15.5.9).
    Reason.REQUEST_TIMEOUT: {"Connection": "close"},
}

# Answers about people are for the one who asked, now.
PRIVATE: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def problem_type(reason: Reason) -> str:
    """The `type` of RFC 9457: IANA's where it has one, else ours, explained at it."""
    if reason in _QUOTA_TYPES:
        return _REGISTERED + reason.word
    return f"/problems/{reason.word}"


class Ready(Response[bytes]):
    """Litestar's response, of which all is known: nothing is looked at or converted."""

    def __init__(
        self,
        content: bytes,
        *,
        status: int = 200,
        media_type: str | None = "application/json",
        headers: dict[str, str],
    ) -> None:
        # Not what Response does: to make sure of its arguments took it longer than
        # all else that is done about an answer.
        self.content = content
        self.status_code = status
        self.media_type = media_type
        self.headers = headers
        self.background = None
        self.cookies = []
        self.encoding = "utf-8"
        self.response_type_encoders = {}


@lru_cache(maxsize=4096)
def _policies(limits: Limits) -> str:
    standings = Decision(0, limits, IDLE, (), 0, 0).standings
    return ", ".join(
        [f'"{one.policy}";q={one.quota};w={one.window_s}' for one in standings]
    )


def rate_limit_headers(decision: Decision) -> dict[str, str]:
    """`RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-10."""
    return {
        "RateLimit-Policy": _policies(decision.limits),
        "RateLimit": ", ".join(
            [
                f'"{one.policy}";r={one.remaining};t={one.resets_in}'
                for one in decision.standings
            ]
        ),
    }


def _headers(access_id: str | None, decision: Decision | None) -> dict[str, str]:
    headers = dict(PRIVATE)
    if access_id is not None:
        headers["Access-Id"] = access_id
    if decision is not None:
        headers |= rate_limit_headers(decision)
    return headers


def answer(
    body: object,
    *,
    access_id: str | None,
    decision: Decision | None = None,
    status: int = 200,
) -> Response[bytes]:
    """A 200 of JSON; `body` is bytes of JSON, or what msgspec makes JSON of."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Ready(content, status=status, headers=_headers(access_id, decision))


def done(*, access_id: str | None, decision: Decision | None = None) -> Response[bytes]:
    """A 204: done, and nothing to say."""
    headers = _headers(access_id, decision)
    return Ready(b"", status=204, media_type=None, headers=headers)


def public(body: object) -> Response[bytes]:
    """A 200 of JSON that tells nothing about anybody."""
    return Ready(msgspec.json.encode(body), headers={})


def sealing_soon(
    asked: str, *, access_id: str | None, decision: Decision | None = None
) -> Response[bytes]:
    """202: the entry is durable, but not sealed yet."""
    return Ready(
        msgspec.json.encode({"access_id": asked}),
        status=202,
        headers=_headers(access_id, decision) | {"Retry-After": "1"},
    )


def problem(
    error: Problem, *, access_id: str | None = None, decision: Decision | None = None
) -> Response[bytes]:
    """The problem document, with `access_id` where there is an entry."""
    reason = error.reason
    status = KEY_REUSED if isinstance(error, KeyReused) else STATUS[reason]
    headers = _headers(access_id, decision) | _HEADERS.get(reason, {})
    document = _document(reason, status)
    _add_details(error, document, headers)
    if isinstance(error, _KNOW_WHEN) and error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if access_id is not None:
        document["access_id"] = access_id
    return Ready(
        msgspec.json.encode(document),
        status=status,
        media_type="application/problem+json",
        headers=headers,
    )


def _document(reason: Reason, status: int) -> dict[str, object]:
    return {"type": problem_type(reason), "title": TITLE[reason], "status": status}


def part_problem(reason: Reason, access_id: str | None) -> dict[str, object]:
    """The problem of one item of a batch, or of a job: that has no access of its own."""
    told = _document(reason, STATUS[reason])
    return told if access_id is None else {**told, "access_id": access_id}


def item_result(
    name: str,
    access_id: str | None,
    reason: Reason | None,
    resident: Mapping[str, str | None] | None,
    matches: Mapping[str, bool] | None,
) -> dict[str, object]:
    """What one item of a batch or a job is answered; `name` is the caller's for it."""
    told: dict[str, object] = {"id": name, "access_id": access_id}
    if reason is not None:
        told["problem"] = part_problem(reason, access_id)
    elif resident is not None:
        told["resident"] = resident
    else:
        told["found"] = matches is not None
        told["matches"] = matches or {}
    return told


def _add_details(
    error: Problem, document: dict[str, object], headers: dict[str, str]
) -> None:
    match error:
        case InvalidRequest(faults=faults):
            document["errors"] = faults
        case NotGranted(what=what, fields=fields):
            document["detail"] = f"outside the grant: {what}"
            if fields:
                document["fields"] = fields
        case (
            IdempotencyConflict()
            | AbnormalUsage()
            | ArchiveUnavailable()
            | EntriesExpired()
            | NotApproved()
        ):
            document["detail"] = str(error)
        case QuotaExceeded(violated=violated):
            document["violated-policies"] = violated
        case MethodNotAllowed(allowed=allowed):
            headers["Allow"] = ", ".join(allowed)
        case _:
            pass
