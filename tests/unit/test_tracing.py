"""What a span says, whose trace it is part of, and that nothing waits for it."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import ip_network
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from typing_extensions import override

from gateway import spans
from gateway.edge.tracing import CLOSING_SECONDS, Tracing
from gateway.gathering import Failed, Gatherer, Unanswered
from gateway.settings import BadSetting, TraceSettings, read_settings

PROXY, STRANGER = "10.0.0.9", "203.0.113.7"
PROXIES = [ip_network("10.0.0.0/8")]
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
NIK = "3171014501900001"


@pytest.fixture(autouse=True)
def nobody_told() -> Iterator[None]:
    yield
    spans.told_to = None


async def answer(scope: Any, _: Any, send: Any) -> None:
    scope["path_template"] = "/audit/entries/{access_id}"
    if spans.told_to is not None:
        spans.told_to.access("verify", "matched", "", 123, "01a2")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def fail(_: Any, __: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 503, "headers": []})
    raise ConnectionError(NIK)


async def spans_of(
    app: Any, *headers: tuple[bytes, bytes], peer: str = PROXY, method: str = "GET"
) -> Sequence[ReadableSpan]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    async def send(_: Any) -> Any:
        pass

    scope: Any = {
        "type": "http",
        "method": method,
        "path": f"/audit/entries/{NIK}",
        "query_string": f"nik={NIK}".encode(),
        "client": (peer, 4711),
        "headers": [(b"user-agent", NIK.encode()), *headers],
    }
    with suppress(ConnectionError):
        await Tracing(app, provider, PROXIES)(scope, send, send)
    return exporter.get_finished_spans()


async def test_a_span_says_the_route_and_how_the_access_ended_and_nothing_else() -> (
    None
):
    (span,) = await spans_of(answer)
    assert span.name == "GET /audit/entries/{access_id}"
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": "/audit/entries/{access_id}",
        "http.response.status_code": 200,
        "gateway.operation": "verify",
        "gateway.outcome": "matched",
        "gateway.institution": 123,
        "gateway.access_id": "01a2",
    }
    assert NIK not in span.to_json()


async def test_a_fault_is_marked_and_its_text_is_not_told() -> None:
    (span,) = await spans_of(fail)
    told = json.loads(span.to_json())
    assert told["status"] == {"status_code": "ERROR"}
    assert told["attributes"]["http.response.status_code"] == 503
    assert told["events"] == []
    assert NIK not in span.to_json()


async def test_of_no_route_and_of_no_method_there_is_nothing_in_the_name() -> None:
    (span,) = await spans_of(fail, method=f"GET{NIK}")
    assert span.name == "_OTHER"
    assert NIK not in span.to_json()


@pytest.mark.parametrize(
    ("peer", "told", "followed"),
    [
        (PROXY, [PARENT], True),
        (STRANGER, [PARENT], False),
        (PROXY, [PARENT, PARENT], False),
        (PROXY, [NIK], False),
        (PROXY, [], False),
    ],
)
async def test_a_trace_goes_on_from_a_trusted_proxy_alone(
    peer: str, told: list[str], *, followed: bool
) -> None:
    headers = [(b"traceparent", one.encode()) for one in told]
    said = (b"tracestate", f"vendor={NIK}".encode())
    (span,) = await spans_of(answer, *headers, said, peer=peer)
    assert span.context is not None
    assert (f"{span.context.trace_id:032x}" == TRACE) is followed
    assert (span.parent is not None) is followed
    assert not span.context.trace_state


async def test_what_a_trusted_proxy_does_not_sample_is_not_sent() -> None:
    unsampled = PARENT[:-2] + "00"
    assert await spans_of(answer, (b"traceparent", unsampled.encode())) == ()


async def test_each_stage_of_a_call_is_a_span_with_the_flush_that_carried_it() -> None:
    async def flush(asks: list[int]) -> list[int | Failed]:
        return [ask or Failed(sent=True) for ask in asks]

    async with asyncio.TaskGroup() as tasks:
        gatherer = Gatherer[int, int](
            flush, stage="registry", tasks=tasks, most=9, capacity=9, patience=5
        )

        async def ask(*_: Any) -> None:
            await gatherer.ask_all([1, 2])
            with suppress(Unanswered):
                await gatherer.ask(0)

        both, failed, call = await spans_of(ask)
        # Work beside the calls is nobody's.
        await gatherer.ask(1)
    assert [one.name for one in (both, failed, call)] == ["registry", "registry", "GET"]
    assert both.parent == failed.parent == call.context
    (carried,) = both.events
    assert (carried.name, dict(carried.attributes or {})) == (
        "flush",
        {"gateway.flush.size": 2},
    )
    assert (both.start_time or 0) <= carried.timestamp <= (both.end_time or 0)
    assert (both.status.is_unset, failed.status.is_unset) == (True, False)


class Silent(SpanExporter):
    """A collector that never answers."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.over = threading.Event()

    @override
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        self.over.wait()
        return SpanExportResult.FAILURE

    @override
    def shutdown(self) -> None:
        pass


async def test_no_call_and_no_end_of_a_worker_waits_for_a_silent_collector() -> None:
    silent = Silent()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(silent, max_queue_size=8, max_export_batch_size=1)
    )
    sent: list[Any] = []

    async def send(message: Any) -> Any:
        sent.append(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await answer(scope, receive, send)

    tracing = Tracing(app, provider, PROXIES)
    for _ in range(100):
        scope: Any = {"type": "http", "method": "GET", "client": None, "headers": []}
        await tracing(scope, send, send)
    assert len(sent) == 200
    assert silent.asked.wait(10)
    began = time.monotonic()
    await tracing({"type": "lifespan"}, send, send)  # type: ignore[arg-type]  # a lifespan's scope has no more
    assert sent[-1] == {"type": "lifespan.shutdown.complete"}
    assert CLOSING_SECONDS <= time.monotonic() - began < 3 * CLOSING_SECONDS
    assert spans.told_to is None
    silent.over.set()


def test_without_the_setting_nothing_of_it_is_imported_nor_needed() -> None:
    # As where it is not installed; where it is, redis-py itself takes in its metrics.
    hidden = "import sys; sys.modules['opentelemetry'] = None"
    everything = "import gateway.cli, gateway.serving, gateway.app, gateway.sealing"
    listed = "print([one for one in sys.modules if one.endswith('tracing')])"
    found = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", f"{hidden}; {everything}; {listed}"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/x"}, True),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
                "OTEL_SDK_DISABLED": "true",
            },
            False,
        ),
    ],
)
def test_there_are_traces_where_a_collector_is_named(
    monkeypatch: pytest.MonkeyPatch, setting: dict[str, str], *, wanted: bool
) -> None:
    for name, text in setting.items():
        monkeypatch.setenv(name, text)
    assert read_settings(TraceSettings).wanted is wanted


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ],
)
def test_a_bad_setting_is_told_by_its_own_name(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(BadSetting, match=name) as told:
        read_settings(TraceSettings)
    assert text not in str(told.value).replace(name, "")
