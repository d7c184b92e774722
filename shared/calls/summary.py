"""What became of a call, as few words as a program needs; folded from its log."""

from collections.abc import Iterable
from typing import Any

from shared.calls import facts
from shared.calls.machine import transition
from shared.calls.state import Call, Permission, Phase


def summary(call_id: str, log: Iterable[facts.Fact]) -> dict[str, Any]:
    """Return a call's phase, outcome, parties and times (Unix milliseconds), and why it ended."""
    told = list(log)
    call = Call()
    for fact in told:
        call, _ = transition(call, fact)
    return {
        "call_id": call_id,
        "meta_id": call.meta_id or (None if call.placed else call_id),
        "phase": str(call.phase),
        "outcome": call.outcome and str(call.outcome),
        "because": because(told),
        "direction": call.direction,
        "page": call.page,
        "consumer": call.consumer,
        "started_ms": told[0].at_ms if told else None,
        "live_ms": _first(told, Phase.LIVE),
        "ended_ms": _first(told, Phase.ENDING, Phase.ENDED),
    }


def because(log: Iterable[facts.Fact]) -> str | None:
    """Name what ended a call, or none while nothing has."""
    call = Call()
    for fact in log:
        before, (call, _) = call, transition(call, fact)
        if call.outcome is not None and before.outcome is None:
            return _because(before, fact)
    return None


def _because(call: Call, fact: facts.Fact) -> str:
    match call.phase, fact:
        case Phase.PLACING, facts.PermissionRead():
            return "no_permission"
        case Phase.PLACING, facts.PermissionReplied():
            return "permission_refused"
        case Phase.PLACING, facts.DeadlinePassed() if call.permission is Permission.ASKED:
            return "permission_unanswered"
        case Phase.CALLING, facts.Terminated() if not call.picked_up:
            return "declined_or_unanswered"  # Meta does not tell which (webhooks, "call_status")
        case Phase.CALLING, facts.DeadlinePassed() if not call.picked_up:
            return "unanswered"
        case _, facts.Terminated():
            return "ended_at_meta"
        case _, facts.DeadlinePassed():
            return "time_was_up"
        case _, facts.HangUpAsked(by=by):
            return f"hung_up_by_{by}"
        case _, facts.RejectAsked():
            return "rejected"
        case _, facts.HandlerEnded(how=how):
            return f"handler_{how}"
        case _, facts.LegFailed():
            return "media_failed"
        case _, facts.ActionFailed(action=action):
            return f"{action}_failed"
        case _, facts.Claimed():
            return "worker_died" if call.granted else "time_was_up"
        case _:
            return type(fact).__name__


def _first(log: Iterable[facts.Fact], *phases: Phase) -> int | None:
    call = Call()
    for fact in log:
        call, _ = transition(call, fact)
        if call.phase in phases:
            return fact.at_ms
    return None
