"""The institutions' routes: /v1/verify, /v1/fetch, /v1/batch, /v1/account."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from litestar import Response, get, post
from litestar.params import FromPath

from gateway.batching import Answer, Batch
from gateway.calls import Call, Question
from gateway.clock import to_text
from gateway.edge import questions, rendering, strict
from gateway.edge.caller import (
    MOST_BATCH_BODY,
    MOST_BODY,
    HttpRequest,
    Services,
    begin,
    credential,
    header_values,
    read_json_body,
    respond,
    services,
)
from gateway.leisure import at_leisure
from gateway.lookup import Account
from gateway.partners.agreement import Agreement
from gateway.quota.limit import Decision
from gateway.vocabulary import GRANTABLE_OPERATIONS, Operation

Asked = TypeVar("Asked", Question, Batch)


def _reader(
    request: HttpRequest, read: Callable[[bytes], Question]
) -> Callable[[], Awaitable[Question]]:
    async def read_question() -> Question:
        return _with_the_rest(request, read(await read_json_body(request, MOST_BODY)))

    return read_question


def _with_the_rest(request: HttpRequest, asked: Asked) -> Asked:
    """What of a question is not in its body."""
    if request.scope["query_string"]:
        given = request.query_params.multi_items()
        strict.query_members(given, (), asked.faults)
    asked.idempotency_key = strict.read_idempotency_key(
        header_values(request, b"idempotency-key"), asked.faults
    )
    return asked


async def _ask(
    request: HttpRequest,
    operation: Operation,
    read: Callable[[], Awaitable[Asked]],
    work: Callable[[Services, Call[Asked]], Awaitable[object]],
) -> Response[bytes]:
    call = Call(begin(request, operation), credential(request), read)

    async def answer() -> Response[bytes]:
        body = await work(services(request), call)
        return rendering.answer(
            body, access_id=call.access.access_id, decision=call.decision
        )

    return await respond(call.access, answer, lambda: call.decision)


@post(
    "/v1/verify",
    status_code=200,
    request_max_body_size=MOST_BODY,
)
async def verify(request: HttpRequest) -> Response[bytes]:
    async def work(held: Services, call: Call[Question]) -> object:
        matched = await held.lookups.verify(call)
        return {
            "access_id": call.access.access_id,
            "found": matched is not None,
            "matches": matched or {},
        }

    read = _reader(request, questions.read_verify)
    return await _ask(request, Operation.VERIFY, read, work)


@post(
    "/v1/fetch",
    status_code=200,
    request_max_body_size=MOST_BODY,
)
async def fetch(request: HttpRequest) -> Response[bytes]:
    async def work(held: Services, call: Call[Question]) -> object:
        resident = await held.lookups.fetch(call)
        return {"access_id": call.access.access_id, "resident": resident}

    read = _reader(request, questions.read_fetch)
    return await _ask(request, Operation.FETCH, read, work)


@post(
    "/v1/batch",
    status_code=200,
    request_max_body_size=MOST_BATCH_BODY,
)
async def batch(request: HttpRequest) -> Response[bytes]:
    async def work(held: Services, call: Call[Batch]) -> object:
        answers = await held.batches.answer(call)
        return {
            "batch_id": call.access.access_id,
            "results": await at_leisure(map(_result, answers), lasting=True),
        }

    async def read() -> Batch:
        body = await read_json_body(request, MOST_BATCH_BODY)
        return _with_the_rest(request, await questions.read_batch(body))

    return await _ask(request, Operation.BATCH, read, work)


def _result(answer: Answer) -> dict[str, object]:
    access = answer.access
    return rendering.item_result(
        answer.id, access.access_id, access.reason, answer.resident, answer.matches
    )


def nothing(request: HttpRequest) -> Callable[[], Awaitable[Question]]:
    """Reads a route that takes neither body nor query."""

    async def read() -> Question:
        question = Question()
        strict.query_members(request.query_params.multi_items(), (), question.faults)
        return question

    return read


@get("/v1/receipts/{access_id:str}")
async def receipt(request: HttpRequest, access_id: FromPath[str]) -> Response[bytes]:
    call = Call(
        begin(request, Operation.RECEIPT), credential(request), nothing(request)
    )

    async def answer() -> Response[bytes]:
        receipt = await services(request).lookups.receipt(call, access_id)
        own, decision = call.access.access_id, call.decision
        if receipt is None:
            return rendering.sealing_soon(access_id, access_id=own, decision=decision)
        return rendering.answer(receipt.document, access_id=own, decision=decision)

    return await respond(call.access, answer, lambda: call.decision)


@get("/v1/account")
async def account(request: HttpRequest) -> Response[bytes]:
    async def work(held: Services, call: Call[Question]) -> object:
        return _account_document(await held.lookups.account(call))

    return await _ask(request, Operation.ACCOUNT, nothing(request), work)


def _account_document(account: Account) -> dict[str, object]:
    key, agreement = account.key, account.agreement
    return {
        "institution": {"id": account.institution.id, "name": account.institution.name},
        "key": {
            "id": key.id,
            "not_after": None if key.not_after is None else to_text(key.not_after),
        },
        "agreement": agreement
        and {
            "id": agreement.id,
            "from": to_text(agreement.from_at),
            "to": to_text(agreement.to_at),
            "status": agreement.status,
        },
        "grants": _grants(agreement),
        "limits": _limits(account.decision) if agreement else [],
    }


def _grants(agreement: Agreement | None) -> list[dict[str, object]]:
    return [
        {
            "purpose": grant.purpose,
            "operations": [
                word for word in GRANTABLE_OPERATIONS if word in grant.operations
            ],
            "fields": grant.fields,
        }
        for grant in (agreement.grants.values() if agreement else ())
    ]


def _limits(decision: Decision) -> list[dict[str, object]]:
    return [
        {
            "policy": one.policy,
            "quota": one.quota,
            "window_s": one.window_s,
            "burst": one.burst,
            "remaining": one.remaining,
            "resets_at": to_text(one.resets_at),
        }
        for one in decision.standings
    ]
