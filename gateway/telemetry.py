"""What the gateway says about itself: one JSON line a call, and metrics.

Nothing here takes a NIK, a resident's field, a key or a free text. Labels are
words of the vocabulary, names fixed in the code or witnesses of the settings, so
their number is bounded.
"""

import asyncio
import atexit
import logging
import math
import os
import sys
import time
from collections import Counter as Tally
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from functools import cache, lru_cache
from io import BufferedWriter, FileIO
from typing import Any, BinaryIO

import msgspec
import structlog
from prometheus_client import REGISTRY as OF_THIS_PROCESS
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.multiprocess import MultiProcessCollector

if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
    # A process need not be asked for its number at every count, of which a call makes a
    # dozen: it gets another at a fork alone.
    _process = os.getpid()
    values.ValueClass = values.MultiProcessValue(lambda: _process)

LOG_SECONDS = 0.1
LOG_BYTES = 1 << 16
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
# Of flushes quantiles are told (GET /ops/journal), so their bounds lie closer.
FLUSH_SECONDS_BOUNDS = (
    *(0.0005, 0.0007, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02),
    *(0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, 2),
)
FLUSH_SIZE_BOUNDS = (
    *(1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70),
    *(100, 150, 200, 300, 500, 700, 1000, 2000, 4000),
)

START = Gauge(
    "gateway_start_time_seconds",
    "When the first process of this host's gateway started, since 1970.",
    multiprocess_mode="min",
)


def _begin_to_count() -> None:
    """Here and at once, in every process: one that left START 0 would be the first."""
    global _process  # noqa: PLW0603 - read at every count
    _process = os.getpid()
    START.set_to_current_time()


_begin_to_count()
os.register_at_fork(after_in_child=_begin_to_count)
CALLS = Counter(
    "gateway_calls",
    "Calls by what was asked and how they ended.",
    ["operation", "outcome", "reason"],
)
CALL_SECONDS = Histogram(
    "gateway_call_seconds",
    "From the first byte read to the answer made.",
    ["operation"],
    buckets=SECONDS,
)
FLUSH_SECONDS = Histogram(
    "gateway_flush_seconds",
    "One round trip of a gathered stage.",
    ["stage"],
    buckets=FLUSH_SECONDS_BOUNDS,
)
FLUSH_SIZE = Histogram(
    "gateway_flush_size",
    "Calls carried by one flush.",
    ["stage"],
    buckets=FLUSH_SIZE_BOUNDS,
)
FLUSH_FAILURES = Counter(
    "gateway_flush_failures", "Flushes that failed whole.", ["stage"]
)
BACKGROUND_FAILURES = Counter(
    "gateway_background_failures",
    "Background work that failed and restarted.",
    ["task"],
)
ADMISSIONS = Counter(
    "gateway_admissions",
    "Asks for admission: admitted, or refused by a policy (by several: under each).",
    ["result"],
)
SHADOW_REFUSED = Counter(
    "gateway_shadow_refused",
    "Asks that limits in shadow would have refused (by several policies: under each).",
    ["policy"],
)
QUOTA_THRESHOLDS = Counter(
    "gateway_quota_thresholds",
    "Times that an institution's use reached this share of its quota.",
    ["policy", "percent"],
)
HARVEST_STEPS = Counter(
    "gateway_harvest_steps",
    "Steps taken about institutions that seem to harvest, by the rule that asked for it.",
    ["step", "rule"],
)
FLOOD_ENTRIES = Counter(
    "gateway_flood_refusals", "Refusals entered together with their count.", ["reason"]
)
SEALED = Counter("gateway_sealed_entries", "Entries given a leaf number.")
SEALING_LAG = Gauge(
    "gateway_sealing_lag_seconds",
    "How long the oldest entry has waited for its leaf number.",
    multiprocess_mode="livemax",
)
LOG_DISK_FREE = Gauge(
    "gateway_log_disk_free_ratio",
    "The free share of the disk of the log, where GATEWAY_LOG_DISK names it.",
    # By a label, since one without is 0 where nobody has looked.
    ["disk"],
    multiprocess_mode="livemin",
)
DEFAULT_ROWS = Gauge(
    "gateway_default_partition_rows",
    "Rows of the log that no partition took; above ten thousand they are not counted.",
    multiprocess_mode="livemax",
)
WITNESS_SENDS = Counter(
    "gateway_witness_sends",
    "Checkpoints sent to a witness, by its name in the settings and how it ended.",
    ["witness", "outcome"],
)
WITNESSED_SIZE = Gauge(
    "gateway_witnessed_size",
    "Leaves under the newest head that a witness has cosigned.",
    ["witness"],
    multiprocess_mode="mostrecent",
)
WITNESS_REFUSES = Gauge(
    "gateway_witness_refuses_history",
    "1 where a witness knows a history of the log that ours does not extend.",
    ["witness"],
    multiprocess_mode="mostrecent",
)
LIMITS_IN_POSTGRES = Gauge(
    "gateway_limits_in_postgres",
    "1 where limits are counted in PostgreSQL, since Redis is away.",
    multiprocess_mode="livemax",
)
UP = Gauge(
    "gateway_dependency_up",
    "1 where every worker's last probe was answered well.",
    ["dependency"],
    multiprocess_mode="livemin",
)
DIRECTORY_AGE = Gauge(
    "gateway_directory_age_seconds",
    "Since a worker last knew its directory to be current (the oldest worker).",
    multiprocess_mode="livemax",
)
# Labelled as UP is: a gauge without labels is there in every process, and 0 in the
# sealer's, which never sets it and so would be the least for ever.
READY = Gauge(
    "gateway_ready",
    "1 where every worker is ready, as its GET /health/ready says.",
    ["process"],
    multiprocess_mode="livemin",
)
CLOCKS_APART = Gauge(
    "gateway_clocks_apart_seconds",
    "How far two clocks are apart, as the worker that saw most of it last measured.",
    ["between"],
    multiprocess_mode="livemax",
)
PARTITION_DAYS_AHEAD = Gauge(
    "gateway_partition_days_ahead",
    "Days in a row, from tomorrow on, for which the log has its partitions.",
    multiprocess_mode="livemostrecent",
)
DATABASE_BYTES = Gauge(
    "gateway_database_bytes",
    "The log's database on its server's disk, with indexes, without its WAL.",
    multiprocess_mode="livemostrecent",
)
WORKERS = Gauge(
    "gateway_workers",
    "Workers that have begun to serve and live.",
    multiprocess_mode="livesum",
)
WORKER_STARTS = Counter(
    "gateway_worker_starts",
    "Workers that began to serve, by what came before: start, death or reload.",
    ["after"],
)


@cache
def calls_of(operation: str, outcome: str, reason: str) -> Counter:
    """CALLS of these words, found once: to look one up costs more than to count it."""
    return CALLS.labels(operation, outcome, reason)


@cache
def seconds_of(operation: str) -> Histogram:
    return CALL_SECONDS.labels(operation)


@cache
def flush_seconds_of(stage: str) -> Histogram:
    return FLUSH_SECONDS.labels(stage)


@cache
def flush_size_of(stage: str) -> Histogram:
    return FLUSH_SIZE.labels(stage)


def of_all_workers() -> CollectorRegistry:
    """Every metric, summed over the workers of this host and its sealer."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return OF_THIS_PROCESS
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return registry


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram: what was counted, its sum, and how many lie at or below each bound."""

    count: int
    total: float
    below: list[tuple[float, int]]

    def quantile(self, share: float) -> float | None:
        """An upper bound: that share, at least, of what was counted lies at or below it.

        None where nothing was counted, or where it lies above the last bound.
        """
        if not self.count:
            return None
        wanted = math.ceil(share * self.count)
        bound = next(bound for bound, held in self.below if held >= wanted)
        return None if math.isinf(bound) else bound

    def since(self, earlier: "Distribution") -> "Distribution":
        """What was counted after an earlier reading of the same."""
        before = dict(earlier.below)
        return Distribution(
            self.count - earlier.count,
            self.total - earlier.total,
            [(bound, held - before.get(bound, 0)) for bound, held in self.below],
        )


class Reading:
    """What the metrics of all workers say at one moment."""

    def __init__(self) -> None:
        self.at = time.monotonic()
        self._samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in of_all_workers().collect()
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """0 where nobody has counted that yet."""
        return self._samples.get((name, frozenset(labels.items())), 0.0)

    def by(self, name: str, label: str) -> Tally[str]:
        """What was counted under each value of the label, whatever the other labels."""
        counted = Tally[str]()
        for (sample, found), value in self._samples.items():
            if sample == name:
                counted[dict(found)[label]] += value  # type: ignore[assignment]  # typeshed's Counter counts whole numbers
        return counted

    def distribution(self, name: str, **labels: str) -> Distribution:
        """Of all that bear these labels, together."""
        own = labels.items()
        below = Tally[float]()
        count, total = 0, 0.0
        for (sample, found), value in self._samples.items():
            if not sample.startswith(name) or not own <= found:
                continue
            if sample == f"{name}_bucket":
                below[float(dict(found)["le"])] += int(value)
            elif sample == f"{name}_count":
                count += int(value)
            elif sample == f"{name}_sum":
                total += value
        return Distribution(count, total, sorted(below.items()))


class Lines:
    """Where log lines go: to `out` together, a tenth of a second later at most.

    Each write lets go of the interpreter, which the server's threads then take: one a
    call cost a twelfth of all CPU. What is worse than a warning is written at once.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._due = False

    def msg(self, line: bytes) -> None:
        self._out.write(line + b"\n")
        if self._due:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        self._due = True
        loop.call_later(LOG_SECONDS, self.flush)

    debug = info = warning = msg

    def error(self, line: bytes) -> None:
        self.msg(line)
        self.flush()

    critical = error

    def flush(self) -> None:
        self._due = False
        self._out.flush()


def _json(event: Any, **_: Any) -> bytes:
    return msgspec.json.encode(event)


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _now() -> str:
    """In UTC: a third of what structlog's own costs a line, of which it was half."""
    second, nanos = divmod(time.time_ns(), 1_000_000_000)
    return f"{_second(second)}.{nanos // 1000:06d}Z"


def _stamp(_: object, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    event["timestamp"] = _now()
    return event


@cache
def lines() -> Lines:
    """Those of standard output, from the first use on."""
    out = BufferedWriter(FileIO(sys.stdout.fileno(), "wb", closefd=False), LOG_BYTES)
    atexit.register(out.flush)
    return Lines(out)


class Told(msgspec.Struct):
    """The line of a call. It goes past structlog, whose way takes two to three times as long."""

    operation: str
    status: int | None
    outcome: str
    reason: str | None
    institution: int | None
    key: str | None
    access_id: str | None
    ms: float
    event: str = "call"
    level: str = "info"
    timestamp: str = msgspec.field(default_factory=_now)

    def write(self) -> None:
        lines().info(msgspec.json.encode(self))


def configure_logging() -> None:
    """JSON lines on standard output; libraries' warnings join them by logger name."""
    lines()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _stamp,
            structlog.processors.JSONRenderer(serializer=_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: lines(),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True)
