"""What the edge sends: problems of RFC 9457 and the headers of the contract."""

import json
import re
from typing import Any

import pytest
from litestar import Request, Response

from gateway import problems
from gateway.edge import rendering
from gateway.problems import Fault, Problem
from gateway.quota.limit import Decision, State
from gateway.vocabulary import Limits, Outcome, Reason

NAME = "01a20da4-48fb-700a-8120-006000000000"
AT = 1_795_525_200_000_000
LIMITS = Limits(rate=50, burst=100, day=100_000, month=2_000_000)
DECISION = Decision(
    at=AT,
    limits=LIMITS,
    state=State(AT + 1_000_001, 1, AT + 40_321_000_001, 7, AT + 500_000_000_000),
    violated=(),
    rate_cost=1,
    quota_cost=1,
)
IANA = "https://iana.org/assignments/http-problem-types#"
# The table of CONTRACT §3, as far as problems are raised today.
PROBLEMS = problems.__name__
SENT: list[tuple[Problem, int, str]] = [
    (problems.Unauthenticated(7), 401, "/problems/unauthenticated"),
    (problems.Forbidden(), 403, "/problems/forbidden"),
    (problems.NotApproved("a second one has to"), 403, "/problems/forbidden"),
    (problems.AddressNotAllowed(), 403, "/problems/address-not-allowed"),
    (problems.AgreementInactive(), 403, "/problems/agreement-inactive"),
    (problems.NotGranted("fields", ("kk",)), 403, "/problems/not-granted"),
    (problems.InvalidRequest([]), 400, "/problems/invalid-request"),
    (problems.ResidentNotFound(), 404, "/problems/resident-not-found"),
    (problems.KeyReused(), 422, "/problems/idempotency-conflict"),
    (problems.KeyInProgress(7), 409, "/problems/idempotency-conflict"),
    (problems.QuotaExceeded(("day",), 9), 429, IANA + "quota-exceeded"),
    (
        problems.AbnormalUsage("NIKs seem to be guessed"),
        429,
        IANA + "abnormal-usage-detected",
    ),
    (problems.ReducedCapacity(), 503, IANA + "temporary-reduced-capacity"),
    (
        problems.AuditUnavailable(fate_unknown=True),
        503,
        "/problems/audit-unavailable",
    ),
    (problems.RegistryUnavailable(), 503, "/problems/registry-unavailable"),
    (problems.NotFound(), 404, "/problems/not-found"),
    (problems.MethodNotAllowed(("GET", "POST")), 405, "/problems/method-not-allowed"),
    (problems.UnsupportedMediaType(), 415, "/problems/unsupported-media-type"),
    (problems.PayloadTooLarge(), 413, "/problems/payload-too-large"),
    (problems.InternalError(), 500, "/problems/internal-error"),
    (
        problems.ArchiveUnavailable("The file of 2026-01-01 is not there."),
        503,
        "/problems/archive-unavailable",
    ),
    (
        problems.EntriesExpired("Entries of 2026-01-01 have expired."),
        410,
        "/problems/entries-expired",
    ),
    (problems.RequestTimeout(), 408, "/problems/request-timeout"),
]
_KEY, _INTEGER = r'"[ -!#-\[\]-~]*"', r"-?\d{1,15}"
# RFC 9651 §3.1: a list of strings, each with integer parameters.
_MEMBER = rf"{_KEY}(;[a-z]+={_INTEGER})+"
STRUCTURED_LIST = re.compile(rf"{_MEMBER}(, {_MEMBER})*")


def body(response: Response[bytes]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(response.content)
    return document


def concrete(kind: type[Problem]) -> set[type[Problem]]:
    """Of those that every part knows: what a part makes of one is sent as that one."""
    known = [one for one in kind.__subclasses__() if one.__module__ == PROBLEMS]
    return {leaf for child in known for leaf in concrete(child)} or {kind}


@pytest.mark.parametrize(
    ("error", "status", "kind"), SENT, ids=[type(sent[0]).__name__ for sent in SENT]
)
def test_a_problem_has_the_type_and_status_of_the_contract(
    error: Problem, status: int, kind: str
) -> None:
    response = rendering.problem(error)
    document = body(response)
    assert response.status_code == document["status"] == status
    assert document["type"] == kind
    assert response.media_type == "application/problem+json"
    assert document["title"]


def test_every_problem_there_is_can_be_sent() -> None:
    assert {type(error) for error, *_ in SENT} == concrete(Problem)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_status_and_a_title(reason: Reason) -> None:
    assert 400 <= rendering.STATUS[reason] < 600
    assert rendering.TITLE[reason]


@pytest.mark.parametrize(
    "error", [sent[0] for sent in SENT], ids=lambda e: type(e).__name__
)
def test_the_entry_of_a_problem_is_a_refusal_a_failure_or_nobody(
    error: Problem,
) -> None:
    status = rendering.STATUS[error.reason]
    if isinstance(error, problems.ResidentNotFound):
        assert error.outcome is Outcome.NOT_FOUND
    else:
        assert error.outcome is (Outcome.FAILED if status >= 500 else Outcome.REFUSED)


def test_where_there_is_an_entry_both_header_and_body_name_it() -> None:
    response = rendering.problem(problems.Forbidden(), access_id=NAME)
    assert response.headers["Access-Id"] == body(response)["access_id"] == NAME


def test_where_there_is_no_entry_nothing_names_one() -> None:
    response = rendering.problem(problems.Forbidden())
    assert "Access-Id" not in response.headers
    assert "access_id" not in body(response)


def test_all_faults_are_listed_with_their_pointers() -> None:
    faults = [Fault("/nik", "want a string of 16 digits"), Fault("", "want an object")]
    assert body(rendering.problem(problems.InvalidRequest(faults)))["errors"] == [
        {"pointer": "/nik", "detail": "want a string of 16 digits"},
        {"pointer": "", "detail": "want an object"},
    ]


def test_a_field_outside_the_grant_is_named() -> None:
    document = body(rendering.problem(problems.NotGranted("fields", ("kk", "rt"))))
    assert document["fields"] == ["kk", "rt"]
    assert "fields" not in body(rendering.problem(problems.NotGranted("purpose")))


def test_an_exhausted_limit_says_which_and_for_how_long() -> None:
    error = problems.QuotaExceeded(("rate", "day"), 4000)
    response = rendering.problem(error, access_id=NAME, decision=DECISION)
    assert body(response)["violated-policies"] == ["rate", "day"]
    assert response.headers["Retry-After"] == "4000"
    assert "RateLimit" in response.headers


def test_a_key_in_progress_is_told_for_how_long_and_a_reused_one_is_not() -> None:
    in_progress = rendering.problem(problems.KeyInProgress(7))
    assert in_progress.headers["Retry-After"] == "7"
    assert "Retry-After" not in rendering.problem(problems.KeyReused()).headers


def test_who_is_not_known_is_told_how_to_be() -> None:
    response = rendering.problem(problems.Unauthenticated(7))
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert "WWW-Authenticate" not in rendering.problem(problems.Forbidden()).headers


def test_the_answer_does_not_say_what_is_wrong_with_a_key() -> None:
    named, unnamed = problems.Unauthenticated(7), problems.Unauthenticated()
    assert rendering.problem(named).content == rendering.problem(unnamed).content


def test_a_wrong_method_is_told_the_right_ones() -> None:
    response = rendering.problem(problems.MethodNotAllowed(("GET", "POST")))
    assert response.headers["Allow"] == "GET, POST"


def test_both_rate_limit_headers_say_what_the_contract_says() -> None:
    assert rendering.rate_limit_headers(DECISION) == {
        "RateLimit-Policy": '"rate";q=50;w=1, "day";q=100000;w=86400, '
        '"month";q=2000000;w=2592000',
        "RateLimit": '"rate";r=49;t=2, "day";r=99999;t=40322, "month";r=1999993;t=500000',
    }


def test_both_rate_limit_headers_parse_as_structured_fields() -> None:
    for value in rendering.rate_limit_headers(DECISION).values():
        assert STRUCTURED_LIST.fullmatch(value)


def test_an_answer_names_its_entry_and_is_kept_by_nobody() -> None:
    response = rendering.answer({"found": True}, access_id=NAME, decision=DECISION)
    assert (response.status_code, response.media_type) == (200, "application/json")
    assert body(response) == {"found": True}
    assert response.headers["Access-Id"] == NAME
    assert response.headers["Cache-Control"] == "no-store"
    assert "RateLimit-Policy" in response.headers


def test_json_that_is_bytes_already_is_sent_as_it_is() -> None:
    assert rendering.answer(b'{"v":1}', access_id=None).content == b'{"v":1}'


def test_policies_are_told_of_the_limits_that_decided() -> None:
    lower = DECISION._replace(limits=LIMITS._replace(day=9, burst=1))
    told = [rendering.rate_limit_headers(one) for one in (DECISION, lower, DECISION)]
    assert told[0] == told[2]
    assert '"day";q=9;w=86400' in told[1]["RateLimit-Policy"]


SAID = [
    rendering.answer({"found": True}, access_id=NAME, decision=DECISION),
    rendering.answer({}, access_id=None, status=201),
    rendering.done(access_id=NAME, decision=DECISION),
    rendering.public({"size": 1}),
    rendering.sealing_soon(NAME, access_id=NAME),
    rendering.problem(problems.Unauthenticated(7), access_id=NAME),
]


@pytest.mark.parametrize("ready", SAID)
async def test_litestar_sends_what_is_ready_as_it_would_a_response_of_its_own(
    ready: rendering.Ready,
) -> None:
    own = Response(
        ready.content,
        status_code=ready.status_code,
        media_type=ready.media_type,
        headers=dict(ready.headers),
    )
    assert await sent(ready) == await sent(own)


async def sent(response: Response[bytes]) -> list[Any]:
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    scope: Any = {"type": "http", "headers": []}
    request: Request[Any, Any, Any] = Request(scope)
    await response.to_asgi_response(None, request)(scope, request.receive, send)
    return messages


def test_what_one_answer_is_given_besides_no_other_has() -> None:
    first, second = (rendering.answer({}, access_id=None) for _ in range(2))
    first.headers["Location"] = "/v1/jobs/1"
    first.set_cookie("a", "b")
    assert "Location" not in second.headers | rendering.PRIVATE
    assert not second.cookies
