"""The life of a call that we place, until both sides can speak; pure, as `machine`, which calls it.

    NEW ── Placed ──► PLACING ── OfferMade ──► DIALLING ── ConnectAnswered ──► CALLING ── picked up, connected ──► LIVE
                         │  may we call?           │                              │  it rings
                         └─────────────────────────┴── anything that ends it ─────┘
                                                   ▼
                                                ENDING

`connect` is granted once and never repeated: a second one would ring a second time. While a consumer is asked for leave
nobody holds the call (`Shelve`); whatever happens to it then finds it a worker.
"""

from msgspec.structs import replace

from shared.calls import facts, orders
from shared.calls.ending import UNSURE_MS, Step, end, goodbye, is_due, say_farewell, settle
from shared.calls.state import Call, Outcome, Permission, Phase

PERMISSION_USEFUL_MS = 15_000
"""Graph tells within this whether we may call, and takes a request for leave."""

PERMISSION_ANSWERED_MS = 30_000
"""From asking Graph about leave to what it says, at the latest."""

OFFERED_MS = 10_000
"""From wanting to dial to our offer, at the latest."""

CONNECT_USEFUL_MS = 6_000
"""A `connect` that was not sent by then is not sent: whoever waits for the call has given up."""

CONNECT_ANSWERED_MS = 16_000
"""From the offer to Graph's answer, at the latest."""

PICK_UP_TO_LIVE_MS = 8_000
"""From pick-up to LIVE; the consumer hears nothing all that time."""

UNSURE_SLACK_MS = 15_000
"""The call is there for so much longer than it is looked for, so that what is found at the last moment finds it."""


def transition(call: Call, fact: facts.Fact) -> Step:
    """Return the next state and what must now be done, for a call in PLACING, DIALLING or CALLING."""
    match call.phase, fact:
        # may we call?
        case Phase.PLACING, facts.PermissionRead() | facts.PermissionReplied():
            return _after_permission(call, fact)
        case Phase.PLACING, facts.ActionSettled(action="optin") if call.permission is Permission.ASKING:
            return _shelved(call)
        case Phase.PLACING, facts.ActionFailed(action="optin") if call.permission is Permission.ASKING:
            # refused by the fence: a predecessor asked; unclear: a consumer is not asked twice
            asked = fact.ambiguous or fact.cause == "refused"
            return _shelved(call) if asked else end(call, Outcome.FAILED, None, fact.at_ms)
        case Phase.PLACING, facts.ActionFailed(action="check_permission") if call.permission is Permission.UNKNOWN:
            return end(call, Outcome.FAILED, None, fact.at_ms)

        # we dial
        case Phase.PLACING, facts.OfferMade(at_ms=at_ms) if call.permission is Permission.GRANTED and not call.granted:
            connect = orders.PostAction("connect", at_ms + CONNECT_USEFUL_MS)
            dialling = replace(call, phase=Phase.DIALLING, leg_open=True, deadline_ms=at_ms + CONNECT_ANSWERED_MS)
            return dialling, (connect,)
        case Phase.DIALLING, facts.ActionGranted(action="connect"):
            return replace(call, granted=True), ()
        case Phase.DIALLING, facts.ConnectAnswered(sdp=str(sdp), for_epoch=call.epoch):
            return _calling(call, fact, sdp)
        case Phase.PLACING | Phase.DIALLING, facts.ConnectAnswered(meta_id=meta_id):
            return end(replace(call, granted=True, meta_id=meta_id), Outcome.FAILED, "terminate", fact.at_ms)
        case Phase.DIALLING, facts.LogRestored():
            # nobody knows any more whether it was granted
            return replace(call, granted=True), ()
        case Phase.DIALLING, facts.ActionFailed(action="connect", at_ms=at_ms):
            refuse = orders.RefuseAnswer(fact.message, fact.code, fact.subcode, fact.fbtrace_id)
            ended, todo = end(call, Outcome.FAILED, "terminate" if fact.ambiguous else None, at_ms, refuse)
            return (_unsure(ended, at_ms) if fact.ambiguous else ended), todo

        # it rings
        case Phase.CALLING, facts.StatusChanged(status="accepted", at_ms=at_ms):
            return _picked_up(call, at_ms)
        case Phase.CALLING, facts.MediaChanged(version=version, sdp=sdp) if version > call.media_version:
            picked_up, todo = _picked_up(replace(call, media_version=version), fact.at_ms)
            return picked_up, (orders.ApplyOffer(sdp), *todo)
        case Phase.CALLING, facts.LegConnected():
            return _live_once_both(replace(call, leg_connected=True))

        # it does not come to a conversation
        case Phase.PLACING, facts.DeadlinePassed(at_ms=at_ms) if is_due(call, fact):
            in_vain = Outcome.UNREACHED if at_ms >= call.answer_by_ms else Outcome.FAILED
            return end(call, in_vain if call.epoch else Outcome.EXPIRED, None, at_ms)
        case Phase.CALLING, facts.DeadlinePassed(at_ms=at_ms) if is_due(call, fact) and not call.picked_up:
            return end(call, Outcome.UNREACHED, goodbye(call), at_ms)
        case _, facts.DeadlinePassed(at_ms=at_ms) if is_due(call, fact):
            return end(call, Outcome.FAILED, goodbye(call), at_ms)
        case _, facts.Terminated(at_ms=at_ms):
            return end(call, _outcome_of(call, fact), None, at_ms)
        case _, facts.HangUpAsked(at_ms=at_ms):
            return end(call, Outcome.CANCELLED, goodbye(call), at_ms)
        case Phase.CALLING, facts.LegFailed(reason=facts.PEER_CLOSED, at_ms=at_ms) if not call.picked_up:
            return end(call, Outcome.UNREACHED, goodbye(call), at_ms)
        case _, facts.LegFailed(at_ms=at_ms):
            return end(call, Outcome.FAILED, goodbye(call), at_ms)
        case _, facts.HandlerEnded(how=how, at_ms=at_ms) if call.handler_running:
            outcome = Outcome.FAILED if how == "raised" else Outcome.CANCELLED
            return end(replace(call, handler_running=False), outcome, goodbye(call), at_ms)

        case _:
            return call, ()


def introduced(call: Call, fact: facts.Placed) -> Call:
    """Return the call as it was asked for."""
    return replace(
        call,
        phase=Phase.PLACING,
        page=fact.page,
        consumer=fact.consumer,
        direction="business_initiated",
        arrived_ms=fact.at_ms,
        answer_by_ms=fact.call_by_ms,
        deadline_ms=fact.call_by_ms,
        placed=True,
        handler=fact.handler,
        ask_permission=fact.ask_permission,
        ring_ms=int(fact.ring_s * 1000),
    )


def take_over(call: Call, at_ms: int) -> Step:
    """Say what a new owner does with a call of which Meta knows nothing: the next thing that is to be done."""
    if at_ms >= call.answer_by_ms:
        return end(call, Outcome.EXPIRED, None, at_ms)
    call = replace(call, phase=Phase.PLACING)
    match call.permission:
        case Permission.UNKNOWN:
            return _ask_graph(call, "check_permission", at_ms)
        case Permission.ASKING:
            return _ask_graph(call, "optin", at_ms)
        case Permission.ASKED:
            return _shelved(call)
        case Permission.GRANTED:
            return _dial(call, at_ms)


def ending(call: Call, fact: facts.Fact) -> Step:
    """Say what facts mean that only a call we placed knows, while it ends."""
    match fact:
        case facts.ActionGranted(action="connect") | facts.LogRestored() if call.farewell == "withdraw":
            granted = replace(call, granted=True, farewell="terminate")
            return granted, say_farewell(granted, "terminate", fact.at_ms)
        case facts.ConnectAnswered(meta_id=meta_id) if call.farewell is not None and not call.meta_id:
            known = replace(call, granted=True, meta_id=meta_id, farewell="terminate")
            return known, say_farewell(known, "terminate", fact.at_ms)
        case facts.ActionFailed(action="connect", at_ms=at_ms) if call.farewell is not None and not call.meta_id:
            if fact.ambiguous:
                return _unsure(call, at_ms), ()
            return settle(replace(call, farewell=None))
        case _:
            return call, ()


def _after_permission(call: Call, fact: facts.PermissionRead | facts.PermissionReplied) -> Step:
    asked = call.permission in (Permission.ASKING, Permission.ASKED)
    match fact:
        case _ if call.permission is Permission.GRANTED:
            return call, ()
        case facts.PermissionRead(may_call=True) | facts.PermissionReplied(response="approve"):
            return _dial(replace(call, permission=Permission.GRANTED), fact.at_ms)
        case facts.PermissionReplied() if asked:
            return end(call, Outcome.UNREACHED, None, fact.at_ms)
        case facts.PermissionRead(may_ask=True) if call.ask_permission and not asked:
            return _ask_graph(replace(call, permission=Permission.ASKING), "optin", fact.at_ms)
        case facts.PermissionRead() if not asked:
            return end(call, Outcome.UNREACHED, None, fact.at_ms)
        case _:
            return call, ()


def _ask_graph(call: Call, action: str, at_ms: int) -> Step:
    deadline_ms = min(at_ms + PERMISSION_ANSWERED_MS, call.answer_by_ms)
    return replace(call, deadline_ms=deadline_ms), (orders.PostAction(action, at_ms + PERMISSION_USEFUL_MS),)


def _shelved(call: Call) -> Step:
    return replace(call, permission=Permission.ASKED, deadline_ms=call.answer_by_ms), (orders.Shelve(),)


def _dial(call: Call, at_ms: int) -> Step:
    deadline_ms = min(at_ms + OFFERED_MS, call.answer_by_ms)
    dialling = replace(call, handler_running=True, deadline_ms=deadline_ms)
    return dialling, (orders.StartHandler(), orders.MakeOffer())


def _unsure(call: Call, at_ms: int) -> Call:
    return replace(call, deadline_ms=at_ms + UNSURE_MS + UNSURE_SLACK_MS)


def _calling(call: Call, fact: facts.ConnectAnswered, answer: str) -> Step:
    calling = replace(
        call,
        phase=Phase.CALLING,
        granted=True,
        meta_id=fact.meta_id,
        deadline_ms=fact.at_ms + call.ring_ms,
    )
    return calling, (orders.ApplyAnswer(answer, fact.renegotiation),)


def _picked_up(call: Call, at_ms: int) -> Step:
    if call.picked_up:
        return call, ()
    return _live_once_both(replace(call, picked_up=True, deadline_ms=at_ms + PICK_UP_TO_LIVE_MS))


def _live_once_both(call: Call) -> Step:
    if not (call.picked_up and call.leg_connected):
        return call, ()
    return replace(call, phase=Phase.LIVE, deadline_ms=None), (orders.LetSpeak(),)


def _outcome_of(call: Call, fact: facts.Terminated) -> Outcome:
    """Read the outcome; a declined call looks like one that nobody picked up (webhooks, "terminate")."""
    if fact.status == "failed":
        return Outcome.FAILED
    return Outcome.CANCELLED if call.picked_up else Outcome.UNREACHED
