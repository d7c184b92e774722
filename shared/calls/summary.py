"""What became of a call, as few words as a program needs; folded from its log."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from shared.calls import facts
from shared.calls.machine import transition
from shared.calls.state import Call, Permission, Phase

OURSELVES: Final = "pageline"


class Ender(NamedTuple):
    """Who ended a call."""

    by: str
    """`consumer`, `meta`, `handler`, `api`, `operator`, or `pageline` where none of them did."""
    cause: str | None = None
    """What had `pageline` end it: `drain`, `redis_away`, `network`, `graph`, `time` or `worker`; else none."""


class Folded(NamedTuple):
    """A call as its log tells it."""

    call: Call
    because: str | None
    ending: facts.Fact | None
    """What ended it."""
    first_ms: dict[Phase, int]
    """When the call was first in each phase it was in."""
    started_ms: int | None

    @property
    def live_ms(self) -> int | None:
        """Return since when both could speak."""
        return self.first_ms.get(Phase.LIVE)

    @property
    def ended_ms(self) -> int | None:
        """Return when it was known how the call ended."""
        return self.first_ms.get(Phase.ENDING, self.first_ms.get(Phase.ENDED))

    @property
    def ender(self) -> Ender | None:
        """Return who ended it."""
        return None if self.ending is None else _who_ended(self.ending)


def summary(call_id: str, log: Iterable[facts.Fact]) -> dict[str, Any]:
    """Return a call's phase, outcome, parties and times (Unix milliseconds), and why it ended."""
    folded = fold(log)
    call = folded.call
    return {
        "call_id": call_id,
        "meta_id": call.meta_id or (None if call.placed else call_id),
        "phase": str(call.phase),
        "outcome": call.outcome and str(call.outcome),
        "because": folded.because,
        "direction": call.direction,
        "page": call.page,
        "consumer": call.consumer,
        "started_ms": folded.started_ms,
        "live_ms": folded.live_ms,
        "ended_ms": folded.ended_ms,
    }


def because(log: Iterable[facts.Fact]) -> str | None:
    """Name what ended a call, or none while nothing has."""
    return fold(log).because


def fold(log: Iterable[facts.Fact]) -> Folded:
    """Return the call as it is, what ended it, and when it was first in which phase."""
    call, because, ending, started_ms = Call(), None, None, None
    first_ms: dict[Phase, int] = {}
    for fact in log:
        before, (call, _) = call, transition(call, fact)
        if call.outcome is not None and before.outcome is None:
            because, ending = _because(before, fact), fact
        first_ms.setdefault(call.phase, fact.at_ms)
        started_ms = fact.at_ms if started_ms is None else started_ms
    return Folded(call, because, ending, first_ms, started_ms)


def _because(call: Call, fact: facts.Fact) -> str:
    match call.phase, fact:
        case Phase.PLACING, facts.PermissionRead():
            return "no_permission"
        case Phase.PLACING, facts.PermissionReplied():
            return "permission_refused"
        case Phase.PLACING, facts.DeadlinePassed() if call.permission is Permission.ASKED:
            return "permission_unanswered"
        case Phase.CALLING, facts.Terminated() | facts.LegFailed(reason=facts.PEER_CLOSED) if not call.picked_up:
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


def _who_ended(ending: facts.Fact) -> Ender:
    """Name who ended a call, and what did where nobody wanted it: docs/records.md has the words."""
    match ending:
        case facts.Terminated(status="failed"):
            return Ender("meta")
        case facts.Terminated() | facts.PermissionReplied() | facts.LegFailed(reason=facts.PEER_CLOSED):
            return Ender("consumer")
        case facts.HangUpAsked(by="handler" | "api" | "operator" as by):
            return Ender(by)
        case facts.HangUpAsked(by=by):
            return Ender(OURSELVES, by)
        case facts.RejectAsked() | facts.HandlerEnded():
            return Ender("handler")
        case facts.LegFailed():
            return Ender(OURSELVES, "network")
        case facts.ActionFailed() | facts.PermissionRead():
            return Ender(OURSELVES, "graph")
        case facts.DeadlinePassed():
            return Ender(OURSELVES, "time")
        case _:  # whoever took it over from a dead one, or too late
            return Ender(OURSELVES, "worker")
