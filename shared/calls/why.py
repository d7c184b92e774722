"""Why a call went as it did: the likely cause of a bad end or of bad sound, from its facts. A rule for each, in order.

Nothing here is certain: a log tells what was seen, and a rule what that mostly comes from. A remedy is something that
whoever runs the line can do.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple, TypeVar

from shared.calls import facts, quality
from shared.calls.machine import CALL_OVER_CODES, transition
from shared.calls.state import Call, Outcome, Phase
from shared.meta.graph import GraphError
from shared.meta.remedy import remedy_for

F = TypeVar("F", bound=facts.Fact)

COMFORT_PER_S: Final = 3.0
"""With nothing to say we send 2.5 packets a second."""
HARDLY_ANY: Final = 95.0
NOTICEABLE: Final = 5.0
SLOW_MS: Final = 400.0
"""Round trip from which people talk over each other; ITU-T G.114 finds 150 ms one way fine, jitter buffers included."""
LONG_RINGING_MS: Final = 5_000
"""From the webhook to both being able to speak; callers begin to hang up."""
META_GIVES_UP_S: Final = 35.0
"""Meta ends a call without media after 20 s at its start, 30 s later on; and some seconds for the webhook."""
OFFER_REFUSED: Final = 2018392
"""Invalid SDP parameter (error-codes)."""

_OPEN_UDP: Final = (
    "Allow outbound UDP from the media workers, or give them a TURN server (ICE_SERVERS); `pageline doctor` tries both."
)
_RUN_MORE: Final = "Run a media worker, or more of them (MEDIA_PROCESSES), or raise MEDIA_CAPACITY."


_STAGES: Final[tuple[tuple[type[facts.Fact], str], ...]] = (
    (facts.Arrived, "Meta"),
    (facts.Claimed, "a media worker to take the call"),
    (facts.OfferMade, "the handler to answer"),
    (facts.AnswerReceived, "Graph to take the accept"),
    (facts.LegConnected, "the media connection"),
)
"""What a call goes through until both can speak, and for what it waits until then."""


class Reason(NamedTuple):
    """One thing that probably went wrong."""

    rule: str
    """A short name that never changes, for programs."""
    sentence: str
    remedy: str = ""


def why(log: Sequence[facts.Fact]) -> list[Reason]:
    """Return what probably went wrong, the likeliest first; empty where nothing shows."""
    call, before, last = _fold(log)
    ended = list(_why_it_ended(call, before, last, log))
    return [*ended, *_why_it_was_slow(log), *_why_the_sound(log, told=bool(ended))]


def _fold(log: Iterable[facts.Fact]) -> tuple[Call, Call, facts.Fact | None]:
    """Return the call as it is, as it was before the fact that ended it, and that fact."""
    call, before, last = Call(), Call(), None
    for fact in log:
        was, (call, _) = call, transition(call, fact)
        if call.outcome is not None and was.outcome is None:
            before, last = was, fact
    return call, before, last


def _last(log: Sequence[facts.Fact], kind: type[F]) -> F | None:
    return next((fact for fact in reversed(log) if isinstance(fact, kind)), None)


# -- how it ended ------------------------------------------------------------------------------------------------------


def _why_it_ended(call: Call, before: Call, last: facts.Fact | None, log: Sequence[facts.Fact]) -> Iterator[Reason]:
    match call.outcome, last:
        case None, _:
            return
        case Outcome.EXPIRED, _:
            yield Reason(
                "nobody_took_it", "No media worker took the call in time: none ran, or all were full.", _RUN_MORE
            )
        case Outcome.LOST, _:
            yield Reason(
                "worker_died",
                "The media worker that held the call died with it; another one ended it.",
                "Its log says what it died of; where it has no last word, look for the system's out-of-memory killer.",
            )
        case _, facts.HandlerEnded(how="raised", error=error):
            sentence = f"The handler raised {error or 'an error'}."
            yield Reason("handler_raised", sentence, "The traceback is in the call's timeline: `pageline call ID`.")
        case _, facts.HangUpAsked(by="drain"):
            yield Reason(
                "drained",
                "A deploy or a stop ended the call: DRAIN_SECONDS were over.",
                "Raise DRAIN_SECONDS, as far as the platform lets a process finish.",
            )
        case _, facts.HangUpAsked(by="redis_away"):
            yield Reason(
                "redis_away",
                "Redis was away for longer than REDIS_GRACE_SECONDS, and the call was ended.",
                "Look at what happened to Redis at that time.",
            )
        case Outcome.FAILED, facts.ActionFailed():
            yield _why_graph(last)
        case Outcome.MISSED, _:
            yield _why_missed(before, log)
        case Outcome.DECLINED, facts.RejectAsked(reason=reason):
            yield Reason("declined", f"The handler declined the call{f': {reason}' if reason else ''}.")
        case Outcome.DECLINED, facts.HandlerEnded(how="returned"):
            yield Reason(
                "returned_early",
                "The handler returned without answering, which declines the call.",
                "Call `await call.answer()` in it.",
            )
        case _, facts.LegFailed():
            yield from _why_media(before, last, log)
        case Outcome.FAILED, facts.DeadlinePassed():
            yield _why_in_vain(log)
        case Outcome.FAILED, facts.Terminated():
            yield Reason("failed_at_meta", "Meta reports that the call failed before both could speak.")
        case Outcome.CANCELLED, facts.Terminated() if not before.placed:
            yield Reason("caller_gave_up", f"The caller hung up {_before_what(before)}.")
        case Outcome.UNREACHED, _:
            yield _why_unreached(before, last)
        case Outcome.COMPLETED, facts.Terminated():
            yield from _why_meta_ended(last, log)
        case _:
            return


def _why_graph(failed: facts.ActionFailed) -> Reason:
    codes = {failed.code, failed.subcode}
    said = f"{failed.message or 'no text'} (code {failed.code}" + (f", {failed.subcode})" if failed.subcode else ")")
    match failed.cause:
        case "graph" if codes & CALL_OVER_CODES:
            return Reason(
                "answered_too_late",
                f"Graph took `{failed.action}` too late: the call had ended at Meta.",
                "Answer earlier: what the handler does before `call.answer()` is time that the caller waits.",
            )
        case "graph" if OFFER_REFUSED in codes:
            return Reason(
                "description_refused",
                f"Meta refused our description of the media, maybe its fingerprint: {said}.",
                remedy_for(GraphError(code=failed.code, error_subcode=failed.subcode)),
            )
        case "graph":
            error = GraphError(code=failed.code, error_subcode=failed.subcode)
            return Reason("graph_refused", f"Graph refused `{failed.action}`: {said}.", remedy_for(error))
        case "no_token":
            remedy = "Add it to PAGE_TOKENS or PAGES_FILE of the action workers."
            return Reason("no_token", f"`{failed.action}` was not sent: there is no access token for the Page.", remedy)
        case "too_late":
            return Reason(
                "no_action_worker",
                f"No action worker sent `{failed.action}` in time.",
                "Run an action worker, or more of them; `/metrics` shows how long their queues are.",
            )
        case "unreachable":
            return Reason("graph_unreachable", f"Graph could not be reached for `{failed.action}`.", remedy_for(None))
        case "limited":
            return Reason("graph_limits", f"`{failed.action}` was held back: Graph limits us.", "Place fewer calls.")
        case _:
            return Reason("action_failed", f"`{failed.action}` failed: {failed.cause} {failed.message}".rstrip() + ".")


def _why_missed(before: Call, log: Sequence[facts.Fact]) -> Reason:
    started = _last(log, facts.HandlerStarted)
    if started is None:
        return Reason("not_started", "The call waited too long for a media worker to start its handler.", _RUN_MORE)
    return Reason(
        "never_answered",
        f"The handler {started.handler} was running and did not answer in time.",
        "Call `await call.answer()` in it, before whatever takes long; ACCEPT_DEADLINE_SECONDS is all there is.",
    )


def _why_media(before: Call, failed: facts.LegFailed, log: Sequence[facts.Fact]) -> Iterator[Reason]:
    connected = _last(log, facts.LegConnected)
    if failed.reason == facts.PEER_CLOSED and before.phase in (Phase.LIVE, Phase.CALLING):
        if before.phase is Phase.CALLING:
            yield _why_unreached(before, failed)
        return
    if connected is not None:
        after_s = (failed.at_ms - connected.at_ms) / 1000
        sentence = f"The media connection broke after {after_s:.0f} s: {failed.reason}."
        yield Reason("media_broke", sentence, "Look at the network of the media worker's machine at that time.")
    elif failed.reason.startswith("no media connection within"):
        sentence = "Nobody heard anything: no media connection was made, outbound UDP is probably blocked."
        yield Reason("udp_blocked", sentence, _OPEN_UDP)
    else:
        yield Reason("no_media", f"Nobody heard anything: no media connection was made: {failed.reason}.", _OPEN_UDP)


def _why_in_vain(log: Sequence[facts.Fact]) -> Reason:
    if any(isinstance(fact, facts.AnswerReceived | facts.ConnectAnswered) for fact in log):
        sentence = "Graph took the call, and no media connection was made in time: outbound UDP is probably blocked."
        return Reason("udp_blocked", sentence, _OPEN_UDP)
    if any(isinstance(fact, facts.ActionGranted) for fact in log):
        return Reason("graph_silent", "Graph did not answer in time.", remedy_for(None))
    return Reason(
        "no_action_worker",
        "No action worker asked Graph in time.",
        "Run an action worker, or more of them; `/metrics` shows how long their queues are.",
    )


def _why_unreached(before: Call, last: facts.Fact | None) -> Reason:
    match before.phase, last:
        case Phase.PLACING, facts.PermissionRead():
            remedy = "Place it with `ask_permission`, which asks the consumer first."
            return Reason("no_permission", "The consumer has not allowed the Page to call.", remedy)
        case Phase.PLACING, facts.PermissionReplied():
            return Reason("permission_refused", "The consumer was asked, and does not want to be called.")
        case Phase.PLACING, _:
            return Reason("permission_unanswered", "The consumer was asked for leave, and did not answer in time.")
        case _, facts.DeadlinePassed():
            return Reason("unanswered", "It rang, and the consumer did not pick up.")
        case _:
            return Reason(
                "declined_or_unanswered", "The consumer declined or did not pick up; Meta does not tell which."
            )


def _why_meta_ended(last: facts.Terminated, log: Sequence[facts.Fact]) -> Iterator[Reason]:
    closed, connected = _last(log, facts.LegClosed), _last(log, facts.LegConnected)
    if last.status == "failed":
        yield Reason("failed_at_meta", "Meta reports that the call broke.")
    elif closed is not None and connected is not None:
        lasted_s = (last.at_ms - connected.at_ms) / 1000
        if 18 <= lasted_s <= META_GIVES_UP_S and not (closed.packets_received and closed.packets_sent):
            whose = "the caller's" if closed.packets_sent else "ours"
            sentence = f"Meta ended the call after {lasted_s:.0f} s, probably because no packet of {whose} arrived."
            yield Reason("no_rtp", sentence, _OPEN_UDP)


def _before_what(before: Call) -> str:
    match before.phase:
        case Phase.ACCEPTING:
            return "while Graph was asked to accept"
        case Phase.CONNECTING:
            return "while the media connection was made"
        case _:
            return "before we answered"


# -- how long it took --------------------------------------------------------------------------------------------------


def _why_it_was_slow(log: Sequence[facts.Fact]) -> Iterator[Reason]:
    """Say for what the caller waited longest, where it was long until both could speak."""
    firsts = [(next((fact for fact in log if isinstance(fact, kind)), None), stage) for kind, stage in _STAGES]
    marks = [(fact.at_ms, stage) for fact, stage in firsts if fact is not None]
    if not (isinstance(firsts[0][0], facts.Arrived) and isinstance(firsts[-1][0], facts.LegConnected)):
        return
    whole_ms = marks[-1][0] - marks[0][0]
    if whole_ms >= LONG_RINGING_MS:
        longest_ms, stage = max((ended_ms - began_ms, stage) for (began_ms, _), (ended_ms, stage) in pairwise(marks))
        sentence = f"The caller waited {whole_ms / 1000:.1f} s, {longest_ms / 1000:.1f} s of them for {stage}."
        yield Reason("slow", sentence)


# -- how it sounded ----------------------------------------------------------------------------------------------------


def _why_the_sound(log: Sequence[facts.Fact], *, told: bool) -> Iterator[Reason]:
    closed, connected = _last(log, facts.LegClosed), _last(log, facts.LegConnected)
    if connected is None:
        if not told:
            failed = _last(log, facts.LegFailed)
            reason = f": {failed.reason}" if failed is not None else ""
            yield Reason("no_media", f"Nobody heard anything: no media connection was made{reason}.")
    elif closed is None:
        if not told:
            sentence = "The media connection is not closed in the log: the call goes on, or its worker died with it."
            yield Reason("not_closed", sentence)
    else:
        lasted_s = max(0.0, (closed.at_ms - connected.at_ms) / 1000)
        yield from _why_the_caller(closed, lasted_s)
        yield from _why_we(closed)


def _why_the_caller(closed: facts.LegClosed, lasted_s: float) -> Iterator[Reason]:
    """Say what the caller may have heard too little of."""
    judged = quality.judge(closed)
    lost = judged.peer_lost_percent
    if closed.packets_sent == 0:
        yield Reason("sent_nothing", "The caller heard nothing: we sent nothing.")
        return
    if lasted_s >= 2 and closed.packets_sent <= COMFORT_PER_S * lasted_s:
        sentence = "The caller heard silence: the handler said nothing, only comfort packets were sent."
        yield Reason("handler_silent", sentence)
    if not closed.peer_reports:
        sentence = f"We sent {closed.packets_sent} packets; the far side never reported, so what arrived is not known."
        yield Reason("never_reported", sentence)
    elif lost is None:
        sentence = (
            f"The caller probably heard nothing: the far side reported {closed.peer_reports} times and never that any "
            f"of our {closed.packets_sent} packets arrived."
        )
        yield Reason("nothing_arrived", sentence, _OPEN_UDP)
    elif lost >= HARDLY_ANY:
        sentence = f"The caller probably heard nothing: the far side says that {lost:.0f} % of our packets were lost."
        yield Reason("nothing_arrived", sentence, _OPEN_UDP)
    elif lost >= NOTICEABLE:
        sentence = f"The caller heard gaps: the far side says that {lost:.0f} % of our packets were lost."
        yield Reason("lost_there", sentence)
    if closed.round_trip_ms is not None and closed.round_trip_ms >= SLOW_MS:
        sentence = f"Both talked over each other: the round trip took {closed.round_trip_ms:.0f} ms."
        yield Reason("long_round_trip", sentence, "Run the media workers nearer to Meta's media servers.")


def _why_we(closed: facts.LegClosed) -> Iterator[Reason]:
    """Say what we may have heard too little of."""
    judged = quality.judge(closed)
    if closed.packets_received == 0:
        yield Reason("heard_nothing", "We heard nothing: no packet of the caller's ever arrived.", _OPEN_UDP)
    elif closed.played_ms and 100 * (closed.paused_ms or 0.0) / closed.played_ms >= HARDLY_ANY:
        yield Reason("caller_silent", "The caller hardly spoke, or was muted: packets came, and then pauses.")
    if judged.concealed_percent is not None and judged.concealed_percent >= NOTICEABLE:
        sentence = f"We heard gaps: {judged.concealed_percent:.0f} % of the caller's sound had to be made up."
        yield Reason("concealed_here", sentence)
    elif judged.lost_percent is not None and judged.lost_percent >= NOTICEABLE:
        yield Reason("lost_here", f"{judged.lost_percent:.0f} % of the caller's packets were lost on the way to us.")
