"""The figures of a leg as they close it, and those of a while. Pure."""

from dataclasses import asdict, replace
from typing import Any, Final

from shared.calls import facts
from shared.calls.quality import judge
from workers.media.session import LegFigures


def closing(figures: LegFigures) -> facts.LegClosed:
    """Return the fact that closes a leg: what was measured, and the estimates that follow from it."""
    quality = judge(figures)
    return facts.LegClosed(
        **asdict(figures), mos_estimate=quality.mos_estimate, sent_mos_estimate=quality.sent_mos_estimate
    )


def since(before: LegFigures | None, now: LegFigures) -> LegFigures:
    """Return the figures of the time between: counts as differences, everything else as it is now."""
    if before is None:
        return now
    decoded = now.decoded_packets - before.decoded_packets
    waited_ms = (now.jitter_buffer_ms or 0.0) * now.decoded_packets
    waited_ms -= (before.jitter_buffer_ms or 0.0) * before.decoded_packets
    counted: dict[str, Any] = {name: _grown(getattr(before, name), getattr(now, name)) for name in _COUNTS}
    return replace(now, **counted, jitter_buffer_ms=waited_ms / decoded if decoded > 0 else None)


_COUNTS: Final = (
    "packets_received",
    "packets_lost",
    "packets_sent",
    "concealed_ms",
    "silent_concealed_ms",
    "recovered_ms",
    "paused_ms",
    "played_ms",
    "late_packets",
    "decoded_packets",
    "round_trip_total_ms",
    "round_trips",
    "peer_reports",
    "peer_lost",
    "peer_lost_of",
)


def _grown(before: float | None, now: float | None) -> float | None:
    return None if now is None else now - (before or 0)
