"""What the gateway says about itself: one JSON line a call, and metrics.

Nothing here takes a NIK, a resident's field, a key or a free text. Labels are
words of the vocabulary, names fixed in the code or witnesses of the settings, so
their number is bounded.
"""

import logging
import sys
from typing import Any

import msgspec
import structlog
from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

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
    buckets=SECONDS,
)
FLUSH_SIZE = Histogram(
    "gateway_flush_size", "Calls carried by one flush.", ["stage"], buckets=SIZES
)
FLUSH_FAILURES = Counter(
    "gateway_flush_failures", "Flushes that failed whole.", ["stage"]
)
BACKGROUND_FAILURES = Counter(
    "gateway_background_failures",
    "Background work that failed and restarted.",
    ["task"],
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


def _json(event: Any, **_: Any) -> bytes:
    return msgspec.json.encode(event)


def configure_logging() -> None:
    """JSON lines on standard output; libraries' warnings join them by logger name."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True)
