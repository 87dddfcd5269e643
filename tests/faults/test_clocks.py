"""Windows turn when Valkey's clock says so, once; a worker's own clock says nothing."""

import asyncio
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import pytest

from gateway.clock import JAKARTA_OFFSET, to_datetime
from gateway.embedded.clocks import under
from gateway.quota.limit import Decision
from gateway.quota.limiter import Limiter
from gateway.redis import open_server
from gateway.vocabulary import Limits
from tests.acceptance import questions
from tests.acceptance.ledger import of_institution
from tests.acceptance.metrics import metric_of
from tests.acceptance.questions import nik_of
from tests.acceptance.service import Service
from tests.acceptance.wire import Connection
from tests.conftest import Database
from tests.faults.clocks import NEEDS_LIBRARY, ValkeyAt
from tests.integration.limiting import limiter_of

pytestmark = [pytest.mark.slow, NEEDS_LIBRARY]

LIMITS: Final = Limits(rate=1_000_000, burst=1_000_000, day=10, month=15)
# Three seconds before 00:00 in Jakarta, and whether a month turns there with the day.
EDGES: Final = [
    ("2026-11-25 16:59:57", False),
    ("2026-11-30 16:59:57", True),
    ("2027-12-31 16:59:57", True),
    ("2027-02-28 16:59:57", True),
    ("2028-02-28 16:59:57", False),
    ("2028-02-29 16:59:57", True),
]


@pytest.fixture(params=EDGES, ids=[began for began, _ in EDGES])
def edge(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[ValkeyAt, bool]]:
    began, month_turns = request.param
    valkey = ValkeyAt(tmp_path / "valkey", began)
    valkey.start()
    yield valkey, month_turns
    valkey.stop()


async def until_refused(limiter: Limiter) -> tuple[int, Decision]:
    for admitted in range(LIMITS.month + 1):
        decision = await limiter.admit(1, 1, LIMITS)
        if not decision.admitted:
            return admitted, decision
    raise AssertionError("nobody is refused")


async def test_no_window_is_lost_or_doubled_at_its_turn(
    edge: tuple[ValkeyAt, bool], database: Database
) -> None:
    valkey, month_turns = edge
    redis = open_server(valkey.url)
    async with redis, limiter_of(redis, database) as limiter:
        admitted, refused = await until_refused(limiter)
        assert (admitted, refused.violated) == (10, ("day",))
        assert 1 <= refused.retry_after <= 3
        # It is true: waiting so long and asking once is enough.
        await asyncio.sleep(refused.retry_after)
        first = await limiter.admit(1, 1, LIMITS)
        assert first.admitted
        here = to_datetime(first.at + JAKARTA_OFFSET)
        assert (here.hour, here.minute) == (0, 0)
        assert first.state.day_used == 1
        assert first.state.month_used == (1 if month_turns else 11)
        admitted, refused = await until_refused(limiter)
        assert (1 + admitted, refused.violated) == (
            (10, ("day",)) if month_turns else (5, ("month",))
        )


@pytest.mark.acceptance
@pytest.mark.parametrize("clock", ["+1h", "-1h"])
async def test_a_workers_clock_that_is_an_hour_off_moves_no_entry_and_no_window(
    service: Service, clock: str
) -> None:
    caller = service.newcomer()
    nik = nik_of(service.residents[3])
    question = questions.verify(caller, nik, {"birth_date": "1801-01-01"})
    true = await service.put(question)
    began = time.time()
    async with (
        service.second_gateway(**under(clock)) as other,
        Connection.opened(other.port) as connection,
    ):
        ready = time.time()
        answers = [await question.put(connection) for _ in range(3)]
        ended = time.time()
        for between, seconds in (("host-postgres", 3600), ("redis-postgres", 0)):
            apart = await metric_of(
                connection, "gateway_clocks_apart_seconds", between=between
            )
            assert apart is not None
            assert abs(apart - seconds) < 1
    assert {one.status for one in answers} == {200}
    entries = {
        one["access_id"]: one
        for one in await of_institution(service.auditor_dsn, caller.institution)
    }
    for answer in answers:
        assert answer.access_id is not None
        at = datetime.fromisoformat(entries[answer.access_id]["at"]).timestamp()
        assert ready - 1 <= at <= ended + 1

    def seconds_left(header: str) -> list[int]:
        windows = header.split(", ")[1:]
        return [int(one.rpartition("t=")[2]) for one in windows]

    here, there = (one.headers["ratelimit"] for one in (true, answers[-1]))
    for left, right in zip(seconds_left(here), seconds_left(there), strict=True):
        assert abs(left - right) <= ended - began + 2
    assert '"day";r=' in there
