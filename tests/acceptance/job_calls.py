"""Jobs as an institution hands them in, waits for them and reads them."""

import asyncio
import json
import time
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.audit.charges import Charges
from gateway.postgres import pool
from gateway.quota.reconciliation import Difference, reconcile
from gateway.redis import open_redis
from tests.acceptance.callers import Caller
from tests.acceptance.ledger import of_institution
from tests.acceptance.questions import nik_of
from tests.acceptance.service import Service
from tests.acceptance.wire import Answer

NDJSON: Final = {"Content-Type": "application/x-ndjson"}
PATIENCE: Final = 300.0
# At half of it a job of a few hundred items takes long enough to be looked at.
SLOW: Final = {"rate": 40, "burst": 40, "day": 1_000, "month": 2_000}


def claims(service: Service, number: int, **changes: object) -> dict[str, Any]:
    resident = service.residents[number % len(service.residents)]
    true = {"birth_date": resident["birth_date"]}
    return {"id": f"row-{number}", "nik": nik_of(resident), "claims": true} | changes


def lines(items: Sequence[object]) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


async def submit(
    service: Service,
    caller: Caller | None,
    items: Sequence[object] | bytes,
    query: str = "operation=verify&purpose=treatment",
    headers: Mapping[str, str] = NDJSON,
) -> Answer:
    body = items if isinstance(items, bytes) else lines(items)
    target = f"/v1/jobs?{query}"
    key = caller and caller.key
    return await service.ask("POST", target, key=key, body=body, headers=headers)


async def read(service: Service, caller: Caller, job: str) -> Answer:
    return await service.ask("GET", f"/v1/jobs/{job}", key=caller.key)


async def begun(service: Service, caller: Caller, job: str, after: int = 0) -> Any:
    """The job's document, once more than so many items are answered."""
    for _ in range(int(PATIENCE / 0.1)):
        document = (await read(service, caller, job)).json
        if document["answered"] > after:
            return document
        await asyncio.sleep(0.1)
    raise AssertionError("nothing of the job is answered")


async def over(service: Service, caller: Caller, job: str) -> Any:
    """The job's document, once it is over."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = await read(service, caller, job)
        # A worker that was killed under a call is no answer.
        if answer.status == 200 and answer.json["over_at"] is not None:
            return answer.json
        assert time.monotonic() < deadline, answer.body
        await asyncio.sleep(0.1)


async def results(service: Service, caller: Caller, job: str) -> list[Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{service.gateway.port}/v1/jobs/{job}/results",
        headers={"Authorization": f"Bearer {caller.key}"},
    )

    def fetch() -> bytes:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - our own address
            assert answer.headers["Content-Type"].startswith("application/x-ndjson")
            assert answer.headers["Cache-Control"] == "no-store"
            body: bytes = answer.read()
            return body

    return [json.loads(line) for line in (await asyncio.to_thread(fetch)).splitlines()]


async def difference(service: Service, caller: Caller) -> list[Difference]:
    """Between what the institution has spent and what it was charged, or holds."""
    redis = open_redis(service.environment["GATEWAY_REDIS_URL"])
    dsn = service.environment["GATEWAY_AUDITOR_DSN"]
    try:
        async with pool(dsn, name="test", size=1, statement_seconds=9) as auditor:
            found = await reconcile(redis, auditor, Charges(auditor))
    finally:
        await redis.aclose()
    return [one for one in found.differences if one.institution == caller.institution]


async def entries_of(service: Service, institution: int, operation: str) -> list[Any]:
    found = await of_institution(service.auditor_dsn, institution)
    return [one for one in found if one["operation"] == operation]


async def used(service: Service, caller: Caller) -> tuple[int, int]:
    """Of the day and of the month."""
    answer = await service.ask("GET", "/v1/account", key=caller.key)
    assert answer.status == 200, answer.body
    _, day, month = answer.json["limits"]
    return day["quota"] - day["remaining"], month["quota"] - month["remaining"]
