"""An OpenTelemetry collector as far as traces go: takes OTLP over HTTP and keeps the spans."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Heard(NamedTuple):
    """One span, as it came."""

    service: str
    name: str
    trace_id: str
    parent: bytes
    own: bytes
    start_ms: int
    end_ms: int
    attributes: dict[str, str]
    events: list[str]


class Collector:
    """Where traces go; `url` is an OTEL_EXPORTER_OTLP_ENDPOINT."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.heard: list[Heard] = []

    def take(self, body: bytes) -> None:
        """Keep what a request brings."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            of_all = {each.key: each.value.string_value for each in resource.resource.attributes}
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                self.heard.append(
                    Heard(
                        of_all["service.name"],
                        span.name,
                        span.trace_id.hex(),
                        span.parent_span_id,
                        span.span_id,
                        span.start_time_unix_nano // 1_000_000,
                        span.end_time_unix_nano // 1_000_000,
                        {each.key: each.value.string_value for each in span.attributes},
                        [event.name for event in span.events],
                    )
                )


@contextmanager
def listening() -> Iterator[Collector]:
    """Run a collector on a port of its own."""

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Taker) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        Thread(target=server.serve_forever, daemon=True).start()
        yield collector
        server.shutdown()
