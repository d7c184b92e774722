"""The life of one call as a pure function: no clock, no I/O, no logging.

    NEW ── Arrived ──► RINGING ── OfferMade ──► ACCEPTING ── AnswerReceived ──► CONNECTING ── LegConnected ──► LIVE
                          │                         │                               │                          │
                          └─────────────────────────┴───── anything that ends it ───┴──────────────────────────┘
                                                                 ▼
                                     ENDING ── handler over, leg closed, Meta told ──► ENDED

What happens to a call that we place until both can speak is in `placing`, changes of our media in `changing`, agents of
the desk in `agents`, what all endings share in `ending`.

Facts come in the order of the log, each with the time at which the log took it. A successor folds its predecessor's
facts in silence until it meets its own `Claimed`; what `_take_over` orders there is all that crash recovery is. A late
or repeated fact does nothing.
"""

from typing import assert_never

from msgspec.structs import replace

from shared.calls import agent_facts, agents, changing, facts, orders, placing
from shared.calls.ending import Step, end, goodbye, is_due, say_farewell, settle
from shared.calls.state import Call, Outcome, Phase

ACCEPT_USEFUL_MS = 6_000
"""An `accept` that was not sent by then leaves no time to connect before the caller gives up."""

ACCEPT_TO_LIVE_MS = 8_000
"""From the accept order to LIVE; a caller hears nothing all that time."""

LONG_OVER_MS = 120_000
"""An arrival this much later than its own timestamp is over at Meta, which rings for 60 s (accept-c2b-call)."""

CALL_OVER_CODES = frozenset({2018390, 2018395, 2018396})
"""Graph: invalid call id, cannot join failed call, cannot join ended call (error-codes)."""


def transition(call: Call, fact: facts.Fact) -> Step:
    """Return the next state and what must now be done; a late or repeated fact does nothing."""
    if fact.epoch not in (0, call.epoch) and not isinstance(fact, facts.Claimed):
        return call, ()
    match call.phase, fact:
        case Phase.ENDED, _:
            return call, ()
        case _, facts.Closed(outcome=outcome):
            return replace(call, phase=Phase.ENDED, outcome=Outcome(outcome), deadline_ms=None), ()
        case _, facts.Claimed(epoch=epoch) if epoch > call.epoch:
            return _take_over(call, fact)

        # we call
        case Phase.NEW, facts.Placed():
            return placing.introduced(call, fact), ()
        case Phase.PLACING | Phase.DIALLING | Phase.CALLING, _:
            return placing.transition(call, fact)

        # it rings
        case Phase.NEW, facts.Arrived(direction="user_initiated"):
            return replace(_introduced(call, fact), phase=Phase.RINGING, deadline_ms=fact.answer_by_ms), ()
        case Phase.NEW | Phase.ENDING, facts.Arrived():
            return _introduced(call, fact), ()

        # we answer
        case Phase.RINGING, facts.OfferMade(at_ms=at_ms) if not call.granted:
            accept = orders.PostAction("accept", min(at_ms + ACCEPT_USEFUL_MS, call.answer_by_ms))
            live_by_ms = at_ms + ACCEPT_TO_LIVE_MS
            return replace(call, phase=Phase.ACCEPTING, leg_open=True, deadline_ms=live_by_ms), (accept,)
        case Phase.ENDING, facts.ActionGranted(action="accept", at_ms=at_ms) if call.farewell == "reject":
            ending = replace(call, granted=True, farewell="terminate")
            return ending, say_farewell(ending, "terminate", at_ms)
        case _, facts.ActionGranted(action="accept"):
            return replace(call, granted=True), ()
        case Phase.ACCEPTING, facts.AnswerReceived(sdp=sdp, renegotiation=renegotiation):
            apply: tuple[orders.Order, ...] = (orders.ApplyAnswer(sdp, renegotiation),)
            if call.pending_offer is not None:
                apply += (orders.ApplyOffer(call.pending_offer),)
            # an answer proves the grant, even where a log was restored without it
            return replace(call, phase=Phase.CONNECTING, granted=True, pending_offer=None), apply
        case Phase.CONNECTING, facts.LegConnected(at_ms=at_ms):
            return replace(call, phase=Phase.LIVE, deadline_ms=None, answered_ms=at_ms), ()

        # Meta changes its media
        case _, facts.MediaChanged(version=version) if version <= call.media_version:
            return call, ()
        case Phase.CONNECTING | Phase.LIVE, facts.MediaChanged(version=version, sdp=sdp):
            return replace(call, media_version=version), (orders.ApplyOffer(sdp),)
        case _, facts.MediaChanged(version=version, sdp=sdp):
            return replace(call, media_version=version, pending_offer=sdp), ()

        # we change ours
        case Phase.LIVE, facts.MediaOffered() | facts.MediaAnswered() | facts.MediaAnswerMade():
            return changing.transition(call, fact)
        case Phase.LIVE, facts.ActionFailed(action="media_update") | facts.DeadlinePassed():
            return changing.transition(call, fact)

        # agents talk to the consumer
        case Phase.LIVE, agent_facts.Attended():
            return agents.transition(call, fact)

        # it does not come to an answer
        case Phase.RINGING, facts.RejectAsked(at_ms=at_ms):
            return end(call, Outcome.DECLINED, "reject", at_ms)
        case Phase.ACCEPTING, facts.ActionFailed(action="accept", at_ms=at_ms):
            refuse = orders.RefuseAnswer(fact.message, fact.code, fact.subcode, fact.fbtrace_id)
            return end(call, Outcome.FAILED, _farewell_after_refusal(call, fact), at_ms, refuse)
        case Phase.RINGING, facts.DeadlinePassed(at_ms=at_ms) if is_due(call, fact):
            return end(call, Outcome.MISSED if call.epoch else Outcome.EXPIRED, _reject_in_time(call, at_ms), at_ms)
        case Phase.ACCEPTING | Phase.CONNECTING, facts.DeadlinePassed(at_ms=at_ms) if is_due(call, fact):
            return end(call, Outcome.FAILED, goodbye(call), at_ms)

        # it ends
        case Phase.ENDING, facts.Terminated():
            return settle(replace(call, farewell=None))
        case _, facts.Terminated(at_ms=at_ms):
            return end(call, _outcome_of(call, fact), None, at_ms)
        case Phase.RINGING, facts.HangUpAsked(at_ms=at_ms):
            return end(call, Outcome.DECLINED, "reject", at_ms)
        case Phase.ACCEPTING | Phase.CONNECTING, facts.HangUpAsked(at_ms=at_ms):
            return end(call, Outcome.CANCELLED, goodbye(call), at_ms)
        case Phase.LIVE, facts.HangUpAsked(at_ms=at_ms) | facts.LegFailed(at_ms=at_ms):
            return end(call, Outcome.COMPLETED, "terminate", at_ms)
        case Phase.RINGING | Phase.ACCEPTING | Phase.CONNECTING, facts.LegFailed(at_ms=at_ms):
            return end(call, Outcome.FAILED, goodbye(call), at_ms)
        case Phase.RINGING, facts.HandlerEnded(how=how, at_ms=at_ms):
            outcome = Outcome.FAILED if how == "raised" else Outcome.DECLINED
            return end(replace(call, handler_running=False), outcome, goodbye(call), at_ms)
        case Phase.ACCEPTING | Phase.CONNECTING, facts.HandlerEnded(how=how, at_ms=at_ms):
            outcome = Outcome.FAILED if how == "raised" else Outcome.CANCELLED
            return end(replace(call, handler_running=False), outcome, goodbye(call), at_ms)
        case Phase.LIVE, facts.HandlerEnded(at_ms=at_ms):
            return end(replace(call, handler_running=False), Outcome.COMPLETED, "terminate", at_ms)

        # what is left to do at the end
        case Phase.ENDING, facts.HandlerEnded():
            return settle(replace(call, handler_running=False))
        case Phase.ENDING, facts.LegClosed():
            return settle(replace(call, leg_open=False))
        case Phase.ENDING, facts.ActionSettled(action=action) | facts.ActionFailed(action=action) if (
            action == call.farewell
        ):
            return settle(replace(call, farewell=None))
        case Phase.ENDING, facts.DeadlinePassed() if is_due(call, fact):
            return settle(replace(call, handler_running=False, leg_open=False, farewell=None))
        case Phase.ENDING, _ if call.placed:
            return placing.ending(call, fact)

        case _:
            return call, ()


def _introduced(call: Call, fact: facts.Arrived) -> Call:
    return replace(
        call,
        page=fact.page,
        consumer=fact.consumer,
        direction=fact.direction,
        arrived_ms=fact.at_ms,
        sent_at_ms=fact.sent_at_ms,
        answer_by_ms=fact.answer_by_ms,
    )


def _take_over(call: Call, claim: facts.Claimed) -> Step:
    """Say what the new owner has to do; whatever ran in its predecessor's memory runs no more."""
    at_ms = claim.at_ms
    call = replace(call, epoch=claim.epoch, owner=claim.worker, handler_running=False, leg_open=False, closing=False)
    call = replace(call, agents=())
    match call.phase:
        case Phase.DIALLING | Phase.CALLING | Phase.ACCEPTING | Phase.CONNECTING | Phase.LIVE if call.granted:
            call, todo = end(replace(call, handler_running=True), Outcome.LOST, "terminate", at_ms)
            return call, (orders.RunOnLost(), *(order for order in todo if not isinstance(order, orders.StopHandler)))
        case Phase.PLACING | Phase.DIALLING | Phase.CALLING:
            return placing.take_over(call, at_ms)
        case Phase.RINGING | Phase.ACCEPTING | Phase.CONNECTING | Phase.LIVE:
            if at_ms >= call.answer_by_ms:
                return end(call, Outcome.EXPIRED, _reject_in_time(call, at_ms), at_ms)
            ringing = replace(call, phase=Phase.RINGING, deadline_ms=call.answer_by_ms, handler_running=True)
            return ringing, (orders.StartHandler(),)
        case Phase.ENDING:
            return settle(call, *say_farewell(call, call.farewell, at_ms))
        case Phase.NEW | Phase.ENDED:
            return call, ()
        case _:
            assert_never(call.phase)


def _reject_in_time(call: Call, at_ms: int) -> str | None:
    return None if at_ms - call.sent_at_ms > LONG_OVER_MS else "reject"


def _farewell_after_refusal(call: Call, failed: facts.ActionFailed) -> str | None:
    """After an `accept` that did not succeed: what, if anything, still rings at the consumer's."""
    if failed.cause == "no_token" or {failed.code, failed.subcode} & CALL_OVER_CODES:
        return None
    unsure = failed.ambiguous or (call.granted and failed.cause in {"too_late", "redis_away", "refused"})
    return "terminate" if unsure else "reject"


def _outcome_of(call: Call, fact: facts.Terminated) -> Outcome:
    """Read the outcome from the end at Meta, which gives no reason (webhooks, "terminate")."""
    if call.phase is Phase.LIVE:
        return Outcome.COMPLETED
    if fact.status == "failed":
        return Outcome.FAILED
    if call.phase is Phase.NEW and call.direction == "business_initiated":
        return Outcome.COMPLETED if fact.duration_s else Outcome.UNREACHED
    if call.phase is Phase.RINGING and call.deadline_ms is not None and fact.at_ms >= call.deadline_ms:
        return Outcome.MISSED
    return Outcome.CANCELLED
