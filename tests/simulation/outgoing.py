"""Safety of calls that we place: what a consumer whom we call must never suffer, and what our logs must show of it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from shared.calls import facts
from tests.simulation.graph import Request
from tests.simulation.meta import MetaCall
from workers.action.verdict import Attempt, Sent

RING_S: Final = 30.0
"""How long we let it ring."""
RINGS_ON_S: Final = 15.0
"""What giving up takes, if nothing is wrong."""
SILENT_AT_MOST_S: Final = 12.0
"""After a pick-up that we know of."""


class Outgoing:
    """What was sent for calls that we place."""

    def __init__(self) -> None:
        self._asked: defaultdict[tuple[str, str], int] = defaultdict(int)
        """How often a call's `connect` or request for leave was sent and may have arrived."""

    def sent(self, request: Request, log: Sequence[facts.Fact]) -> Iterator[str]:
        """See a request leave, and say what it breaks."""
        if request.action not in ("connect", "optin"):
            return
        key = (request.call_id, request.action)
        if self._asked[key]:
            yield f"a {request.action} that may have arrived is never sent again"
        self._asked[key] += 1
        said = [fact for fact in log if isinstance(fact, facts.PermissionRead | facts.PermissionReplied)]
        may = any(getattr(fact, "may_call", False) or getattr(fact, "response", "") == "approve" for fact in said)
        if request.action == "connect" and not may:
            yield "nobody is called without leave"

    def concluded(self, request: Request, attempt: Attempt) -> None:
        """See what a sender made of its request: one that never left may be sent again."""
        if attempt.sent is Sent.NEVER:
            self._asked[request.call_id, request.action] -= 1


def broken_to_a_callee(
    call: MetaCall, log: Sequence[facts.Fact], now_s: float, troubled_until_s: float
) -> Iterator[str]:
    """Judge a call that ended at Meta, from the last trouble on that excuses anything."""
    if call.accepted_s is None:
        rang_s = now_s - max(call.began_s, troubled_until_s)
        if rang_s > RING_S + RINGS_ON_S:
            yield f"no consumer is left ringing: {rang_s:.1f} s"
        return
    knew = any(
        isinstance(fact, facts.MediaChanged) or (isinstance(fact, facts.StatusChanged) and fact.status == "accepted")
        for fact in log
    )
    silent_s = now_s - max(call.accepted_s, call.heard_s or 0.0, troubled_until_s)
    if knew and silent_s > SILENT_AT_MOST_S:
        yield f"no consumer who has picked up hears nothing for long after our fault: {silent_s:.1f} s"


def broken_by_adoption(theirs: Sequence[facts.Fact], ours: Sequence[facts.Fact]) -> Iterator[str]:
    """Compare what was heard under Meta's id, before it was known for our call's, with our call's log."""
    if not any(isinstance(fact, facts.ConnectAnswered) for fact in ours):
        return
    for fact in theirs:
        if isinstance(fact, facts.StatusChanged | facts.MediaChanged | facts.Terminated) and fact not in ours:
            yield f"what overtook the reply is in the call's log: {type(fact).__name__}"


def _approves(fact: facts.Fact, *, before_ms: int) -> bool:
    """Tell whether it is a leave given in time; one that was not may still be heard of before the deadline is."""
    return isinstance(fact, facts.PermissionReplied) and fact.response == "approve" and fact.replied_at_ms < before_ms


def broken_in_the_end(log: Sequence[facts.Fact]) -> Iterator[str]:
    """Judge a whole log."""
    kinds = [type(fact) for fact in log]
    if facts.Placed not in kinds:
        return
    closed = [fact.outcome for fact in log if isinstance(fact, facts.Closed)]
    if len(closed) != 1:
        yield f"a call that we place has one outcome: {closed}"
    call_by_ms = next(fact.call_by_ms for fact in log if isinstance(fact, facts.Placed))
    approved = [at for at, fact in enumerate(log) if _approves(fact, before_ms=call_by_ms)]
    late = facts.DeadlinePassed in kinds[: approved[0]] if approved else True
    if not late and closed == ["unreached"] and facts.OfferMade not in kinds:
        yield "who has given leave is called"
