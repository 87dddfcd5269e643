"""A collector of traces: it takes what is sent to it by OTLP over HTTP, and keeps it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from typing_extensions import override

PATH: Final = "/v1/traces"


class Collector(ThreadingHTTPServer):
    """`raw` holds each request as it came: its line, headers and body."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.raw: list[bytes] = []
        self.taken: list[Span] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def of_trace(self, trace_id: bytes) -> dict[str, Span]:
        """The spans of a trace by their names."""
        return {one.name: one for one in self.taken if one.trace_id == trace_id}

    def of_access(self, access_id: str | None) -> Span | None:
        """The call whose access that was."""
        found = (
            one
            for one in self.taken
            if attributes(one).get("gateway.access_id") == access_id
        )
        return next(found, None)


class _Taking(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = ExportTraceServiceRequest.FromString(body)
        self.server.raw.append(self.requestline.encode() + bytes(self.headers) + body)
        self.server.taken += [
            span
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        self.send_response(200 if self.path == PATH else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    @override
    def log_message(self, *_: object) -> None:
        pass


def attributes(span: Span) -> dict[str, object]:
    return {
        one.key: getattr(one.value, one.value.WhichOneof("value") or "")
        for one in span.attributes
    }


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        threading.Thread(target=collector.serve_forever).start()
        yield collector
        collector.shutdown()
