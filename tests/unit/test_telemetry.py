"""What is read from histograms, and when log lines are written."""

import asyncio
import io
import json
import math
import random
import re
import time
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry, Histogram

from gateway import telemetry
from gateway.telemetry import (
    FLUSH_SECONDS_BOUNDS,
    FLUSH_SIZE_BOUNDS,
    LOG_SECONDS,
    Distribution,
    Lines,
    Reading,
)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    registry = CollectorRegistry()
    monkeypatch.setattr(telemetry, "of_all_workers", lambda: registry)
    return registry


def observed(registry: CollectorRegistry, *amounts: float) -> Distribution:
    histogram = Histogram(
        "sizes", "Sizes.", ["stage"], buckets=FLUSH_SIZE_BOUNDS, registry=registry
    )
    for amount in amounts:
        histogram.labels("journal").observe(amount)
    histogram.labels("limiter").observe(7)
    return Reading().distribution("sizes", stage="journal")


def test_a_quantile_is_the_bound_below_which_that_share_lies(
    registry: CollectorRegistry,
) -> None:
    read = observed(registry, *[1] * 50, *[3] * 40, *[60] * 9, 1000)
    assert (read.count, read.total) == (100, 50 + 120 + 540 + 1000)
    told = {share: read.quantile(share) for share in (0.5, 0.51, 0.9, 0.91, 0.99, 1)}
    assert told == {0.5: 1, 0.51: 3, 0.9: 3, 0.91: 70, 0.99: 70, 1: 1000}


def test_a_quantile_of_nothing_and_one_above_every_bound_are_not_told(
    registry: CollectorRegistry,
) -> None:
    assert Distribution(0, 0.0, []).quantile(0.5) is None
    read = observed(registry, 5, 4001)
    assert (read.quantile(0.5), read.quantile(1)) == (5, None)


def test_no_quantile_is_below_the_true_one_or_over_twice_as_high(
    registry: CollectorRegistry,
) -> None:
    chance = random.Random(1945)  # noqa: S311 - a sample, no secret
    amounts = sorted(round(1000 ** chance.random()) for _ in range(999))
    read = observed(registry, *amounts)
    for share in (0.01, 0.5, 0.9, 0.99, 1):
        true = amounts[math.ceil(share * len(amounts)) - 1]
        told = read.quantile(share)
        assert told is not None
        assert true <= told <= 2 * true


def test_what_nobody_has_counted_is_nothing(registry: CollectorRegistry) -> None:
    read = observed(registry)
    assert (read.count, read.total, read.quantile(0.5)) == (0, 0, None)
    assert Reading().value("sizes_count", stage="limiter") == 1
    assert Reading().value("unheard_of") == 0


@pytest.mark.parametrize("bounds", [FLUSH_SECONDS_BOUNDS, FLUSH_SIZE_BOUNDS])
def test_no_bound_is_over_twice_the_one_before(bounds: tuple[float, ...]) -> None:
    assert list(bounds) == sorted(set(bounds))
    for lower, upper in pairwise(bounds):
        assert upper <= 2 * lower


async def test_lines_of_calls_are_written_together_and_soon() -> None:
    raw = io.BytesIO()
    lines = Lines(io.BufferedWriter(raw))
    lines.info(b"one")
    lines.info(b"two")
    assert not raw.getvalue()
    await asyncio.sleep(LOG_SECONDS * 2)
    assert raw.getvalue() == b"one\ntwo\n"


async def test_what_is_worse_than_a_warning_is_written_at_once() -> None:
    raw = io.BytesIO()
    lines = Lines(io.BufferedWriter(raw))
    lines.info(b"one")
    lines.error(b"two")
    assert raw.getvalue() == b"one\ntwo\n"


def test_outside_of_a_loop_every_line_is_written_at_once() -> None:
    raw = io.BytesIO()
    lines = Lines(io.BufferedWriter(raw))
    lines.info(b"one")
    assert raw.getvalue() == b"one\n"


def test_a_line_is_stamped_with_the_time_in_utc() -> None:
    before = time.time()
    text = telemetry._now()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    # To the microsecond, which a float of today tells no finer.
    assert before - 1e-5 <= datetime.fromisoformat(text).timestamp() <= time.time()


def test_the_line_of_a_call_is_as_structlog_would_write_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = io.BytesIO()
    lines = Lines(io.BufferedWriter(raw))
    monkeypatch.setattr(telemetry, "lines", lambda: lines)
    monkeypatch.setattr(telemetry, "_now", lambda: "2026-11-29T17:00:00.000001Z")
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    said: dict[str, Any] = {
        "operation": "verify",
        "status": 200,
        "outcome": "matched",
        "reason": None,
        "institution": 7,
        "key": "abcdefgh",
        "access_id": "01a20da4-48fb-700a-8120-006000000000",
        "ms": 3.14,
    }
    telemetry.Told(**said, timestamp=telemetry._now()).write()
    before = structlog.get_config()
    telemetry.configure_logging()
    structlog.get_logger().info("call", **said)
    structlog.configure(**before)
    ours, theirs = raw.getvalue().splitlines()
    assert ours == theirs
    assert list(json.loads(ours)) == [*said, "event", "level", "timestamp"]


def test_it_is_stamped_when_it_is_told() -> None:
    said = telemetry.Told("verify", 200, "matched", None, 7, "abcdefgh", None, 3.14)
    told = datetime.fromisoformat(said.timestamp).timestamp()
    assert time.time() - 1 < told <= time.time()
