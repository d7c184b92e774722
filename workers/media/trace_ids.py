"""Ids of spans: those of a call's root follow from the call's id, all others are drawn."""

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator


class TraceIds(RandomIdGenerator):
    """Gives the ids in `of_root`, where there are some; one thread starts all spans."""

    of_root: tuple[int, int] | None = None

    def generate_trace_id(self) -> int:
        """Return the id of the trace that begins."""
        return super().generate_trace_id() if self.of_root is None else self.of_root[0]

    def generate_span_id(self) -> int:
        """Return the id of the span that begins."""
        return super().generate_span_id() if self.of_root is None else self.of_root[1]
