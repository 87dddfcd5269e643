"""/v1/jobs: batches of up to a million questions, handed in now and answered by and by."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
import structlog
from litestar import Response, delete, get, post
from litestar.params import FromPath
from litestar.response import Stream

from gateway.batching import OPERATIONS, Batch, Item
from gateway.calls import Call, Question
from gateway.clock import to_text
from gateway.edge import questions, rendering, strict
from gateway.edge.caller import (
    MOST_BODY,
    BodyPieces,
    HttpRequest,
    begin,
    check_declared,
    credential,
    header_values,
    respond,
    services,
)
from gateway.edge.lookups import nothing
from gateway.jobs.desk import MOST_FAULTS, Jobs, Upload, expires_at
from gateway.jobs.job import MOST_ITEMS, SLICE, Job
from gateway.jobs.store import Overtaken
from gateway.jobs.vault import Answered
from gateway.problems import Fault, InvalidRequest
from gateway.quota.limit import Decision
from gateway.vocabulary import Operation, Reason

log = structlog.get_logger()

MOST_JOB_BODY: Final = 512 * 1024 * 1024
NDJSON: Final = "application/x-ndjson"
PARAMETERS: Final = ("operation", "purpose")
# Of a job that is not over: when to ask again.
AGAIN_SECONDS: Final = 5
_OVER: Final = frozenset({"done", "failed"})


def _reader(request: HttpRequest) -> Callable[[], Awaitable[Upload]]:
    async def read() -> Upload:
        check_declared(request, NDJSON)
        faults: list[Fault] = []
        pairs = request.query_params.multi_items()
        given = strict.query_members(pairs, PARAMETERS, faults)
        operation = given.get("operation")
        if operation not in OPERATIONS:
            operation = None
            faults.append(Fault("?operation", "want verify or fetch"))
        purpose = strict.read_purpose(given.get("purpose"), faults, "?purpose")
        if header_values(request, b"idempotency-key"):
            # To ignore it would let a repetition be charged twice.
            at = "/headers/idempotency-key"
            faults.append(Fault(at, "a job cannot be repeated under a key"))
        pieces = BodyPieces(request, MOST_JOB_BODY)
        reading = _Reading(operation, faults)
        return Upload(operation, purpose, reading.slices(pieces), faults)

    return read


class _Reading:
    """Makes items of a body's lines, as they come in."""

    def __init__(self, operation: str | None, faults: list[Fault]) -> None:
        self._operation = operation
        self._faults = faults
        self._untold = 0
        self._lines = 0

    async def slices(
        self, pieces: AsyncIterator[bytes]
    ) -> AsyncIterator[Sequence[Item]]:
        """Items of well-formed lines, SLICE at a time; what is wrong is among the faults."""
        items: list[Item] = []
        rest = b""
        async for piece in pieces:
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                items.append(self._item(line))
                if len(items) == SLICE:
                    yield items
                    items = []
                    # The calls of others come between.
                    await asyncio.sleep(0)
            self._check_length(rest)
        if rest:
            items.append(self._item(rest))
        if items:
            yield items
        if self._untold:
            self._faults.append(
                Fault("", f"{self._untold} more faults are not told here")
            )

    def _check_length(self, line: bytes) -> None:
        if len(line) > MOST_BODY:
            wanted = f"want a line of at most {MOST_BODY} bytes"
            raise InvalidRequest([*self._faults, Fault(f"/{self._lines}", wanted)])
        if self._lines >= MOST_ITEMS and line:
            wanted = f"want 1 to {MOST_ITEMS:,} lines"
            raise InvalidRequest([*self._faults, Fault("", wanted)])

    def _item(self, line: bytes) -> Item:
        self._check_length(line)
        at = f"/{self._lines}"
        self._lines += 1
        scratch = Batch(operation=self._operation)
        try:
            members = strict.parse_object(line)
        except InvalidRequest:
            item = Item("", "", (), {})
            scratch.faults.append(Fault(at, "want one JSON object in UTF-8"))
        else:
            item = questions.read_item(members, scratch, at)
        room = max(0, MOST_FAULTS - len(self._faults))
        self._faults += scratch.faults[:room]
        self._untold += len(scratch.faults[room:])
        return item


@post("/v1/jobs", status_code=202, request_max_body_size=MOST_JOB_BODY)
async def submit(request: HttpRequest) -> Response[Any]:
    call = Call(
        begin(request, Operation.JOB_SUBMIT), credential(request), _reader(request)
    )

    async def work() -> Response[Any]:
        job = await services(request).jobs.submit(call)
        told = _answer(job, call, status=202)
        told.headers["Location"] = f"/v1/jobs/{job.id}"
        return told

    return await respond(call.access, work, lambda: call.decision)


@get("/v1/jobs/{job_id:str}")
async def read(request: HttpRequest, job_id: FromPath[str]) -> Response[Any]:
    async def work(jobs: Jobs, call: Call[Question]) -> Response[Any]:
        return _answer(await jobs.find(call, job_id), call)

    return await _about(request, Operation.JOB_READ, work)


@get("/v1/jobs/{job_id:str}/results")
async def results(request: HttpRequest, job_id: FromPath[str]) -> Response[Any]:
    async def work(jobs: Jobs, call: Call[Question]) -> Response[Any]:
        job = await jobs.find(call, job_id, to_be_told=True)
        if job.status not in _OVER:
            return _answer(job, call, status=202)
        decision = call.decision
        headers = rendering.PRIVATE | {"Access-Id": str(call.access.access_id)}
        if decision is not None:
            headers |= rendering.rate_limit_headers(decision)
        return Stream(_lines(jobs, job), media_type=NDJSON, headers=headers)

    return await _about(request, Operation.JOB_ANSWERS, work)


@delete("/v1/jobs/{job_id:str}", status_code=200)
async def cancel(request: HttpRequest, job_id: FromPath[str]) -> Response[Any]:
    async def work(jobs: Jobs, call: Call[Question]) -> Response[Any]:
        await jobs.cancel(call, job_id)
        return rendering.done(access_id=call.access.access_id, decision=call.decision)

    return await _about(request, Operation.JOB_CANCEL, work)


async def _about(
    request: HttpRequest,
    operation: Operation,
    work: Callable[[Jobs, Call[Question]], Awaitable[Response[Any]]],
) -> Response[Any]:
    call = Call(begin(request, operation), credential(request), nothing(request))
    return await respond(
        call.access,
        lambda: work(services(request).jobs, call),
        lambda: call.decision,
    )


def _answer(job: Job, call: Call[Any], *, status: int = 200) -> Response[Any]:
    decision: Decision | None = call.decision
    told = rendering.answer(
        _document(job),
        access_id=call.access.access_id,
        decision=decision,
        status=status,
    )
    if job.over_at is None:
        told.headers["Retry-After"] = str(AGAIN_SECONDS)
    return told


def _document(job: Job) -> dict[str, object]:
    ends = expires_at(job)
    return {
        "id": str(job.id),
        "status": job.status,
        "operation": job.word,
        "purpose": job.purpose,
        "items": job.items,
        "answered": job.answered,
        "reserved": job.reserved,
        "created_at": to_text(job.created_at),
        "over_at": None if job.over_at is None else to_text(job.over_at),
        "expires_at": None if ends is None else to_text(ends),
        "problem": None if job.reason is None else _problem(job.reason),
    }


def _problem(reason: Reason) -> dict[str, object]:
    return rendering.part_problem(reason, None)


async def _lines(jobs: Jobs, job: Job) -> AsyncIterator[bytes]:
    """A line an item; broken off where the job is cancelled or forgotten meanwhile."""
    try:
        async for answers in jobs.answers(job):
            yield b"".join([_line(one) for one in answers])
            await asyncio.sleep(0)
    except Overtaken:
        log.warning("job_answers_broken_off", job=str(job.id))
        raise


def _line(one: Answered) -> bytes:
    reason = None if one.reason is None else Reason.numbered(one.reason)
    told = rendering.item_result(
        one.id, one.access_id, reason, one.resident, one.matches
    )
    return msgspec.json.encode(told) + b"\n"
