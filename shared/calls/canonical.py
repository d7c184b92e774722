"""The canonical line of a call: all that one looks for in the logs, on one line, folded from the call's log.

Whoever closes a call says it once (`call.summary`). docs/operating.md tells what each field means. Pure.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from shared.calls import facts, quality
from shared.calls.state import Phase
from shared.calls.summary import Folded, fold
from shared.calls.trace import trace_id
from shared.calls.why import why

TOLD: Final = ("mos_estimate", "sent_mos_estimate", "lost_percent", "peer_lost_percent", "jitter_ms", "round_trip_ms")
"""Which figures of docs/quality.md are on the line."""


def canonical(
    call_id: str, log: Sequence[facts.Fact], *, worker: str, pseudonym: Callable[[str], str]
) -> dict[str, Any]:
    """Return the fields of the line; None where there is nothing to say. Times are milliseconds.

    `pseudonym` makes of the consumer's id what may stand in logs.
    """
    folded = fold(log)
    call = folded.call
    ender = folded.ender
    handlers = [fact.handler for fact in log if isinstance(fact, facts.HandlerStarted)]
    return {
        "call": call_id,
        "outcome": call.outcome and str(call.outcome),
        "meta_id": call.meta_id or None,
        "trace_id": f"{trace_id(call_id):032x}",
        "epoch": call.epoch,
        "worker": worker,
        "page": call.page or None,
        "consumer": pseudonym(call.consumer) if call.consumer else None,
        "direction": call.direction or None,
        "because": folded.because,
        "ended_by": ender and ender.by,
        "ended_cause": ender and ender.cause,
        **times(folded),
        "handler": handlers[-1] if handlers else None,
        "handlers_raised": sum(how == "raised" for how in handlers_ended(log)) or None,
        **_quality(log),
        "recordings": sum(isinstance(fact, facts.RecordingStarted) for fact in log),
        "why": [reason.rule for reason in why(log)],
    }


def times(folded: Folded) -> dict[str, int | None]:
    """Return how long the call rang, how long we took to answer, and how long both could speak.

    `ring_ms` is from the first sign of it (of a call that we place: from when it rings at the consumer's) until both
    could speak, or until it ended. `answer_ms` is from the webhook until Graph had taken our `accept`.
    """
    rang_ms = folded.first_ms.get(Phase.CALLING if folded.call.placed else Phase.RINGING)
    answered_ms = None if folded.call.placed else folded.first_ms.get(Phase.CONNECTING)
    return {
        "ring_ms": _between(rang_ms, folded.ended_ms if folded.live_ms is None else folded.live_ms),
        "answer_ms": _between(rang_ms, answered_ms),
        "talk_ms": _between(folded.live_ms, folded.ended_ms),
    }


def waited(log: Sequence[facts.Fact], answer_ms: int | None) -> dict[str, float | None]:
    """Return for what a caller waited: until Graph had taken our `accept`, and until our first packet had left."""
    arrived = next((fact for fact in log if isinstance(fact, facts.Arrived)), None)
    connected = next((fact for fact in log if isinstance(fact, facts.LegConnected)), None)
    if answer_ms is None or arrived is None or connected is None:
        return {"answer_ms": answer_ms}
    return {"answer_ms": answer_ms, "first_audio_ms": max(0, connected.at_ms - arrived.at_ms)}


def handlers_ended(log: Sequence[facts.Fact]) -> list[str]:
    """Return how the handlers of the call ended, one after the other."""
    return [
        fact.because if isinstance(fact, facts.HandlerReplaced) else fact.how
        for fact in log
        if isinstance(fact, facts.HandlerReplaced | facts.HandlerEnded)
    ]


def _between(from_ms: int | None, to_ms: int | None) -> int | None:
    return None if from_ms is None or to_ms is None else max(0, to_ms - from_ms)


def _quality(log: Sequence[facts.Fact]) -> dict[str, float | None]:
    closed = next((fact for fact in reversed(log) if isinstance(fact, facts.LegClosed)), None)
    if closed is None or not (closed.packets_received or closed.packets_sent):
        return {}
    told = quality.told(closed)
    return {name: None if (value := told[name]) is None else round(value, 2) for name in TOLD}
