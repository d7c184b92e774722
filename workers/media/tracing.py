"""Sends the traces of calls to an OpenTelemetry collector, where the standard environment variables name one.

Nothing of OpenTelemetry is imported otherwise. Its own thread sends, so that no call waits; what the collector does not
take is dropped.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared import log
from shared.calls import facts, trace

SENT_WITHIN_S: Final = 1.0
"""What is left when the process ends."""
FAILURES: Final = frozenset({"failed", "lost", "expired"})
_NS_PER_MS: Final = 1_000_000


def why_not(environ: Mapping[str, str]) -> str | None:
    """Tell why nothing is to be traced; "" where nobody asked for it, and none where it is to be."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ""
    endpoints = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    if not any(environ.get(name) for name in endpoints) or environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return ""
    protocols = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next((environ[name] for name in protocols if environ.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        return f"pageline speaks http/protobuf, not {protocol}: unset OTEL_EXPORTER_OTLP_PROTOCOL, and use port 4318"
    return None


def open_tracing(environ: Mapping[str, str]) -> "Tracing | None":
    """Return where traces go, or none; what cannot be used is logged, and costs no call."""
    because = why_not(environ)
    if because is None:
        try:
            return Tracing(environ)
        except ImportError:
            because = "OpenTelemetry is not installed: pip install 'pageline[otel]'"
        except Exception as error:  # noqa: BLE001 a setting that the SDK cannot read: calls are answered all the same
            because = f"{type(error).__name__}: {error}"
    if because:
        log.get().warning("traces.off", because=because)
    return None


class Tracing:
    """Sends a call's trace when the call is closed."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        # here, because nobody is to pay for them who sends no traces
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        from workers.media.trace_ids import TraceIds

        named = environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        self._ids = TraceIds()
        self._provider = TracerProvider(
            resource=Resource.create() if named else Resource.create({SERVICE_NAME: "pageline"}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("pageline")
        log.get().info("traces.on")

    def tell(self, call_id: str, told: Sequence[facts.Fact], line: Mapping[str, Any]) -> None:
        """Send the trace of a call that is closed; `line` is its canonical line."""
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        self._ids.of_root = trace.trace_id(call_id), trace.root_span_id(call_id)
        known = {f"pageline.{name}": value for name, value in line.items() if value is not None}
        root = self._tracer.start_span(
            "call", Context(), SpanKind.SERVER, known, start_time=trace.began_ms(told) * _NS_PER_MS
        )
        self._ids.of_root = None
        if not root.is_recording():  # OTEL_TRACES_SAMPLER leaves this call out
            return
        for moment in trace.moments(told):
            root.add_event(moment.name, timestamp=moment.at_ms * _NS_PER_MS)
        inside = set_span_in_context(root, Context())
        for one in trace.spans(told):
            kind = SpanKind.CLIENT if one.calls_out else SpanKind.INTERNAL
            of_it = {f"pageline.{name}": value for name, value in one.attributes.items()}
            span = self._tracer.start_span(one.name, inside, kind, of_it, start_time=one.start_ms * _NS_PER_MS)
            if one.error:
                span.set_status(Status(StatusCode.ERROR, one.error))
            span.end(one.end_ms * _NS_PER_MS)
        if line["outcome"] in FAILURES:
            root.set_status(Status(StatusCode.ERROR, line["because"]))
        root.end(told[-1].at_ms * _NS_PER_MS)

    def close(self) -> None:
        """Send what is left, as far as that takes no longer than a drain has time for."""
        sending = threading.Thread(target=self._provider.shutdown, name="last traces", daemon=True)
        sending.start()
        sending.join(SENT_WITHIN_S)
