"""The edge `call_metrics` (reference, section 8): once per call, after its end, within a day."""

from typing import Annotated, Any, Literal

import msgspec

from simulator.calls import Call, Refused, now_ms
from simulator.graph.asked import Asked, Body
from simulator.settings import Settings
from simulator.switchboard import Switchboard

REASONS = (
    "Call_End_Accept_After_Hang_Up",
    "Caller_Not_Visible",
    "Camera_Permission_Denied",
    "Client_Error",
    "Client_Interrupted",
    "Connection_Dropped",
    "Hangup_Call",
    "Ignore_Call",
    "In_Another_Call",
    "Inactive_Timeout",
    "Incoming_Timeout",
    "Max_Allowed_Participants_Reached",
    "Microphone_Permission_Denied",
    "No_Answer_Timeout",
    "No_Permission",
    "Removed_By_Participant",
    "Ring_Muted",
    "Signaling_Message_Failed",
    "Unexpected_End_Of_Call",
    "Unknown",
    "Version_Unsupported",
    "WebRTC_Error",
)
"""As the guide spells them; the SDKs have the same in capitals."""

Count = Annotated[int, msgspec.Meta(ge=0)]
Amount = Annotated[float, msgspec.Meta(ge=0)]
UnixSeconds = Annotated[int, msgspec.Meta(ge=1, lt=100_000_000_000)]
"""Milliseconds are refused: no page says which, but everywhere else a timestamp of calls is in seconds."""


class StatsInSeconds(Body):
    """`audio_stats` as the sample and the script spell it."""

    jitter_sec: Amount
    packets_lost: int
    packets_received: Count
    round_trip_time_sec: Amount
    jitter_buffer_delay_sec: Amount
    concealed_samples: Count
    silent_concealed_samples: Count
    total_samples_duration_sec: Amount


class StatsInMilliseconds(Body):
    """`audio_stats` as the table spells it."""

    call_ended_time: UnixSeconds
    jitter: Amount
    packets_lost: int
    packets_received: Count
    round_trip_time_ms: Amount
    jitter_buffer_delay_ms: Amount
    concealed_samples: Count
    silent_concealed_samples: Count
    total_samples_duration_ms: Amount


class Metrics(Body):
    """The body of `POST /{page}/call_metrics`; a call that nobody was heard in has no stats."""

    platform: Literal["messenger"]
    call_id: str
    end_call_reason: str
    call_ended_time: UnixSeconds
    end_call_subreason: str | None = None
    first_audio_packet_received_time: UnixSeconds | None = None
    audio_stats: dict[str, Any] | None = None


class MetricsEdge:
    """Takes metrics."""

    def __init__(self, settings: Settings, switchboard: Switchboard) -> None:
        self._settings = settings
        self._switchboard = switchboard

    async def post(self, asked: Asked) -> dict[str, Any]:
        """Takes the metrics of one call; raises `Refused`. Of these errors only those about ids have known codes."""
        metrics = asked.body(Metrics)
        call = self._switchboard.find(asked.page, metrics.call_id)
        if metrics.end_call_reason.upper() not in {reason.upper() for reason in REASONS}:
            raise Refused(100, f"Invalid parameter: end_call_reason must be one of {', '.join(REASONS)}")
        self._check_stats(call, metrics)
        if call.state != "ended" or call.ended_ms is None:
            raise Refused(100, "Call is still in progress")
        if now_ms() - call.ended_ms > self._settings.metrics_window_s * 1000:
            raise Refused(100, "Metrics can be submitted within 24 hours of the end of the call")
        if call.metrics is not None:
            raise Refused(100, "Metrics were already submitted for this call")
        call.metrics = asked.peek()
        return {"success": True}

    def _check_stats(self, call: Call, metrics: Metrics) -> None:
        if metrics.audio_stats is None:
            if call.connected_ms is not None:
                raise Refused(100, "Invalid parameter: audio_stats is required")
            return
        spelling = self._settings.metrics_spelling
        in_seconds = spelling == "seconds" or (spelling == "either" and "jitter_sec" in metrics.audio_stats)
        try:
            if in_seconds:
                msgspec.convert(metrics.audio_stats, StatsInSeconds)
            else:
                msgspec.convert(metrics.audio_stats, StatsInMilliseconds)
        except msgspec.ValidationError as error:
            raise Refused(100, f"Invalid parameter: audio_stats: {error}") from error
