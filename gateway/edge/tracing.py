"""Traces, where OpenTelemetry's settings ask for them: a span a call, one for each stage.

All that a span may say is in this file: no path, query, header or body, no address, no
text of an error. Where traces are not wanted it is not imported (gateway/working.py).
"""

import asyncio
import threading
from collections.abc import Sequence
from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Span,
    SpanKind,
    StatusCode,
    get_current_span,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway import spans
from gateway.edge.proxies import judging
from gateway.settings import Network

NAME: Final = "resident-data-gateway"
METHODS: Final = ("GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "PUT")
# For what is still to be sent when a worker ends, of the 10 s that it has for that.
CLOSING_SECONDS: Final = 2.0
SERVERS_FAULT: Final = 500
_PARENTS: Final = TraceContextTextMapPropagator()


def exporting() -> TracerProvider:
    """Sends to where OTEL_EXPORTER_OTLP_ENDPOINT says, from a thread of its own.

    OpenTelemetry's other settings are read as well. What the collector does not take in
    time is dropped once the queue (OTEL_BSP_MAX_QUEUE_SIZE) is full: no call waits.
    """
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: NAME}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Tracing:
    """An ASGI application: `app`, each of whose calls is a span.

    Args:
        app: answers.
        provider: takes the spans; it is shut down when the application ends.
        trusted: whose `traceparent` is followed. Of all others it is not read, nor ever
            the `tracestate` or `baggage`, which say what their sender likes.
    """

    def __init__(
        self, app: ASGIApp, provider: TracerProvider, trusted: Sequence[Network]
    ) -> None:
        self._app = app
        self._provider = provider
        self._tracer = provider.get_tracer(NAME)
        self._judge = judging(trusted)
        spans.told_to = self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, self._closing(send))
            return
        given = scope["method"]
        method = given if given in METHODS else "_OTHER"
        span = self._tracer.start_span(
            method,
            self._parent(scope),
            SpanKind.SERVER,
            {"http.request.method": method},
        )
        try:
            with use_span(span, record_exception=False, set_status_on_exception=False):
                await self._app(scope, receive, _answering(span, send))
        finally:
            # Only now is it known which route it was; of none there is no path to tell.
            if route := scope.get("path_template"):
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
            span.end()

    def _parent(self, scope: Scope) -> Context:
        nobody = Context()
        if scope["client"] is None or not self._judge(scope["client"][0])[1]:
            return nobody
        told = [v.decode("latin-1") for n, v in scope["headers"] if n == b"traceparent"]
        if len(told) != 1:
            return nobody
        return _PARENTS.extract({"traceparent": told[0]}, nobody)

    def _closing(self, send: Send) -> Send:
        async def send_and_close(message: Message) -> None:
            # Litestar's types know no messages of a lifespan.
            kind: str = message["type"]
            if kind == "lifespan.shutdown.complete":
                await self.close()
            await send(message)

        return send_and_close

    async def close(self) -> None:
        """Sends what is left; what a silent collector has not taken by then is lost."""
        spans.told_to = None
        # A daemon, which nobody waits for: OpenTelemetry's own patience is 30 s.
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, CLOSING_SECONDS)

    def stage(
        self, name: str, began: int, flight: spans.Flight | None, *, answered: bool
    ) -> None:
        if not get_current_span().is_recording():
            # Nobody's call, but work beside them; or it is not sampled.
            return
        span = self._tracer.start_span(name, start_time=began)
        if flight is not None:
            flush = {"gateway.flush.size": flight.size}
            span.add_event("flush", flush, timestamp=flight.began)
        if not answered:
            span.set_status(StatusCode.ERROR)
        span.end()

    def access(
        self,
        operation: str,
        outcome: str,
        reason: str,
        institution: int | None,
        access_id: str | None,
    ) -> None:
        span = get_current_span()
        told = {
            "gateway.operation": operation,
            "gateway.outcome": outcome,
            "gateway.reason": reason or None,
            "gateway.institution": institution,
            "gateway.access_id": access_id,
        }
        span.set_attributes({k: v for k, v in told.items() if v is not None})


def _answering(span: Span, send: Send) -> Send:
    async def send_and_tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            status = message["status"]
            span.set_attribute("http.response.status_code", status)
            if status >= SERVERS_FAULT:
                span.set_status(StatusCode.ERROR)
        await send(message)

    return send_and_tell
