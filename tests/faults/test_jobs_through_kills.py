"""A job whose workers are killed: each item is answered once, entered once, charged once."""

import asyncio
import os
import signal
from collections import Counter
from random import Random
from typing import Final

import pytest

from tests.acceptance.job_calls import (
    claims,
    difference,
    over,
    results,
    submit,
    used,
)
from tests.acceptance.ledger import of_institution
from tests.acceptance.service import WORKERS, Service

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("whole")]

ITEMS: Final = 6_000
# So that a job takes seconds, and bits of it are under way whenever a worker dies.
LIMITS: Final = {"rate": 600, "burst": 400, "day": 10_000, "month": 10_000}
KILLS: Final = 6


@pytest.mark.slow
async def test_each_item_has_one_entry_and_one_answer_whoever_dies(
    service: Service,
) -> None:
    caller = await service.make_caller(limits=LIMITS)
    items = [claims(service, number) for number in range(ITEMS)]
    job = (await submit(service, caller, items)).json["id"]
    chance = Random(1945)  # noqa: S311 - nothing here is secret
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(0.1, 0.6))
        os.kill(chance.choice(sorted(service.gateway.workers())), signal.SIGKILL)
    await service.gateway.ready(WORKERS)
    done = await over(service, caller, job)
    assert (done["status"], done["answered"]) == ("done", ITEMS)
    told = await results(service, caller, job)
    assert [one["id"] for one in told] == [item["id"] for item in items]
    entered = await of_institution(service.auditor_dsn, caller.institution)
    references = Counter(
        one["reference"] for one in entered if one["operation"] == "batch.verify"
    )
    assert references == Counter(f"{job}/{item['id']}" for item in items)
    assert {one["access_id"] for one in told} <= {one["access_id"] for one in entered}
    assert await used(service, caller) == (ITEMS, ITEMS)
    assert await difference(service, caller) == []
