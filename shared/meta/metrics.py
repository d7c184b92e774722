"""What a call's log amounts to as a body of Graph's `/{page}/call_metrics` edge (calling/metrics). Pure.

Meta names its keys in two ways, in a table and in a sample with a script: `Spelling`. Which one it takes, and whether
times are seconds, is UNKNOWN. What a figure means in the script, which reads it from a browser's statistics, it means
here (W3C Identifiers for WebRTC's Statistics API); docs/quality.md has the table. What was not measured is absent.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, TypeVar

import msgspec

from shared.calls import facts
from shared.calls.machine import CALL_OVER_CODES, transition
from shared.calls.state import Call, Outcome

T = TypeVar("T")

Spelling = Literal["sec", "ms"]
"""`round_trip_time_sec` and the like, as in the sample and the script; or `round_trip_time_ms`, as in the table."""

SAMPLES_PER_MS: Final = 48
LONGEST_SUBREASON: Final = 200

REASONS: Final = frozenset(
    {
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
    }
)


class Ending(NamedTuple):
    """Why a call ended: one of `REASONS`, and the concrete cause in words."""

    reason: str
    subreason: str


class Report(NamedTuple):
    """What is to be told to Meta of one call."""

    page: str
    ended_ms: int
    body: bytes


def report_of(
    call_id: str, log: Sequence[facts.Fact], spelling: Spelling = "sec", *, zeros: bool = False
) -> Report | None:
    """Return what to report of a call; none while it is not closed, and where its Page or Meta's id is not known.

    `zeros` puts 0 in the place of figures that were not measured.
    """
    call, last = _folded(log)
    closed, placed = _last(log, facts.Closed), _last(log, facts.ConnectAnswered)
    if closed is None or not call.page or (placed is None and _last(log, facts.Placed) is not None):
        return None
    ended_ms = next((fact.at_ms for fact in log if _ends_it_at_meta(fact)), closed.at_ms)
    ending = _ending(call.outcome, last, log)
    leg = _last(log, facts.LegClosed)
    told = {
        "platform": "messenger",
        "call_id": call_id if placed is None else placed.meta_id,
        "end_call_reason": ending.reason,
        "end_call_subreason": ending.subreason[:LONGEST_SUBREASON],
        "call_ended_time": ended_ms // 1000,
        "first_audio_packet_received_time": _first_packet_s(_last(log, facts.LegConnected), leg),
        "audio_stats": _stats(leg, ended_ms // 1000, spelling, zeros=zeros),
    }
    known = {name: value for name, value in told.items() if value not in (None, "")}
    return Report(call.page, closed.at_ms, _encode(known))


# --- why it ended ---


def ending_of(log: Sequence[facts.Fact]) -> Ending:
    """Return why a call ended: by its outcome, and the fact that ended it."""
    call, last = _folded(log)
    return _ending(call.outcome, last, log)


def _ending(outcome: Outcome | None, last: facts.Fact, log: Sequence[facts.Fact]) -> Ending:
    match outcome, last:
        # both could speak
        case Outcome.COMPLETED, facts.Terminated(status="failed"):
            return Ending("Connection_Dropped", "Meta reports that the call failed")
        case Outcome.COMPLETED, facts.Terminated() | facts.LegFailed(reason=facts.PEER_CLOSED):
            return Ending("Hangup_Call", "the consumer hung up")
        case Outcome.COMPLETED, facts.LegFailed(reason=reason):
            return Ending("Connection_Dropped", reason)
        case Outcome.COMPLETED | Outcome.CANCELLED, facts.HangUpAsked(by="drain" | "redis_away" as by):
            return Ending("Client_Interrupted", by)
        case Outcome.COMPLETED, facts.HangUpAsked():
            return Ending("Hangup_Call", "the business hung up")
        case Outcome.COMPLETED | Outcome.FAILED, facts.HandlerEnded(how="raised", error=error):
            return Ending("Client_Error", _kind_of(error))
        case Outcome.COMPLETED, facts.HandlerEnded():
            return Ending("Hangup_Call", "the conversation was finished")

        # it did not come to that
        case Outcome.FAILED, facts.ActionFailed() if {last.code, last.subcode} & CALL_OVER_CODES:
            return Ending("Call_End_Accept_After_Hang_Up", _said_by_graph(last))
        case Outcome.FAILED, facts.ActionFailed():
            return Ending("Signaling_Message_Failed", _said_by_graph(last))
        case Outcome.FAILED, facts.LegFailed(reason=reason):
            return Ending("WebRTC_Error", reason)
        case Outcome.FAILED, facts.Terminated():
            return Ending("Connection_Dropped", "Meta reports that the call failed before media was connected")
        case Outcome.FAILED, facts.DeadlinePassed():
            answered = any(isinstance(fact, facts.AnswerReceived | facts.ConnectAnswered) for fact in log)
            if answered:
                return Ending("WebRTC_Error", "media was not connected in time")
            return Ending("Signaling_Message_Failed", "Graph did not answer in time")
        case Outcome.CANCELLED, facts.Terminated():
            return Ending("Hangup_Call", "the consumer hung up before media was connected")
        case Outcome.CANCELLED, _:
            return Ending("Hangup_Call", "the business hung up before media was connected")
        case Outcome.UNREACHED, _:
            return Ending("No_Answer_Timeout", "the consumer did not pick up")
        case Outcome.MISSED | Outcome.EXPIRED, _:
            return Ending("Incoming_Timeout", "the business did not answer in time")
        case Outcome.DECLINED, _:
            return Ending("Ignore_Call", "the business declined")
        case Outcome.LOST, _:
            return Ending("Client_Interrupted", "the process that held the call died")
        case _:
            return Ending("Unknown", "")


def _kind_of(error: str) -> str:
    """Return the kind of a handler's error alone: its words may tell of anybody."""
    return error.partition(":")[0]


def _said_by_graph(failed: facts.ActionFailed) -> str:
    codes = "/".join(str(code) for code in (failed.code, failed.subcode) if code)
    return f"{failed.action}: {codes or failed.cause} {failed.message}".rstrip()


# --- figures ---


def _stats(leg: facts.LegClosed | None, ended_s: int, spelling: Spelling, *, zeros: bool) -> dict[str, Any] | None:
    if zeros:
        return {name: value or 0 for name, value in _spelt(leg or facts.LegClosed(), ended_s, spelling).items()}
    if leg is None:
        return None
    return {name: value for name, value in _spelt(leg, ended_s, spelling).items() if value is not None}


def _spelt(leg: facts.LegClosed, ended_s: int, spelling: Spelling) -> dict[str, float | None]:
    """Return the figures under Meta's keys; in seconds and samples, as the script computes them, or as in the table."""
    decoded = leg.concealed_ms is not None and leg.played_ms > 0
    jitter_s = _known(leg.jitter_ms, 0.001)
    round_trips_ms = leg.round_trip_total_ms if leg.round_trips else None
    waited_ms = None
    if decoded and leg.jitter_buffer_ms is not None:
        # the sum over every sample of how long it waited (W3C: jitterBufferDelay), not over every packet
        waited_ms = leg.jitter_buffer_ms * _heard_ms(leg) * SAMPLES_PER_MS
    played_ms = leg.played_ms if decoded else None
    counted = {
        "packets_lost": leg.packets_lost,
        "packets_received": leg.packets_received,
        "concealed_samples": _samples(leg.concealed_ms) if decoded else None,
        "silent_concealed_samples": _samples(leg.silent_concealed_ms) if decoded else None,
    }
    timed: dict[str, float | None]
    if spelling == "sec":
        timed = {
            "jitter_sec": jitter_s,
            "round_trip_time_sec": _known(round_trips_ms, 0.001),
            "jitter_buffer_delay_sec": _known(waited_ms, 0.001),
            "total_samples_duration_sec": _known(played_ms, 0.001),
        }
    else:
        timed = {
            "call_ended_time": ended_s,
            "jitter": jitter_s,
            "round_trip_time_ms": _known(round_trips_ms, 1.0),
            "jitter_buffer_delay_ms": _known(waited_ms, 1.0),
            "total_samples_duration_ms": _known(played_ms, 1.0),
        }
    return {**timed, **counted}


def _heard_ms(leg: facts.LegClosed) -> float:
    """Return how much of what was played came out of packets: the rest was made up, or a pause."""
    made_up_ms = (leg.concealed_ms or 0.0) + (leg.paused_ms or 0.0) + (leg.recovered_ms or 0.0)
    return max(0.0, leg.played_ms - made_up_ms)


def _samples(duration_ms: float | None) -> int | None:
    return None if duration_ms is None else round(duration_ms * SAMPLES_PER_MS)


def _known(value: float | None, times: float) -> float | None:
    return None if value is None else round(value * times, 6)


def _first_packet_s(connected: facts.LegConnected | None, leg: facts.LegClosed | None) -> int | None:
    if connected is None or leg is None or leg.first_packet_ms is None:
        return None
    return int(connected.at_ms + leg.first_packet_ms) // 1000


# --- the log ---


def _ends_it_at_meta(fact: facts.Fact) -> bool:
    match fact:
        case facts.Terminated() | facts.ActionSettled(action="terminate" | "reject"):
            return True
    return False


def _folded(log: Sequence[facts.Fact]) -> tuple[Call, facts.Fact]:
    """Return the state a log amounts to, and the fact that decided the outcome."""
    call, last = Call(), facts.Fact()
    for fact in log:
        before, (call, _) = call, transition(call, fact)
        if before.outcome is None and call.outcome is not None:
            last = fact
    return call, last


def _last(log: Sequence[facts.Fact], kind: type[T]) -> T | None:
    return next((fact for fact in reversed(log) if isinstance(fact, kind)), None)


_encode = msgspec.json.Encoder().encode
