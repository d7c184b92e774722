"""Why a call went as it did: each rule has a log that it explains, and one that is fine is left alone."""

import ast
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace

from shared.calls import facts
from shared.calls import why as module
from shared.calls.why import why
from tests.unit.test_sound import GOOD

ARRIVED_MS: Final = 1_000_000
CONNECTED_MS: Final = ARRIVED_MS + 400


def at(after_ms: int, fact: facts.Fact, epoch: int = 1) -> facts.Fact:
    return replace(fact, at_ms=ARRIVED_MS + after_ms, epoch=epoch)


ARRIVED = at(
    0,
    facts.Arrived(
        page="1", consumer="2", direction="user_initiated", sent_at_ms=ARRIVED_MS, answer_by_ms=ARRIVED_MS + 55_000
    ),
    epoch=0,
)
CLAIMED = at(10, facts.Claimed(worker="one"))
STARTED = at(15, facts.HandlerStarted(handler="shop:answer"))
OFFER = at(20, facts.OfferMade(sdp="v=0"))
GRANTED = at(30, facts.ActionGranted(action="accept"))
ANSWER = at(200, facts.AnswerReceived(sdp="v=0"), epoch=0)
CONNECTED = at(400, facts.LegConnected(setup_ms=80))
RINGING = (ARRIVED, CLAIMED, STARTED)
ACCEPTING = (*RINGING, OFFER, GRANTED)
LIVE = (*ACCEPTING, ANSWER, CONNECTED)
GAVE_UP = at(900, facts.Terminated(status="completed"), epoch=0)
GONE = at(60_400, facts.Terminated(status="completed", duration_s=60), epoch=0)
PLACED = at(0, facts.Placed(page="1", consumer="2", call_by_ms=ARRIVED_MS + 60_000), epoch=0)
CALLING = (
    PLACED,
    CLAIMED,
    at(20, facts.PermissionRead(status="has_permission", may_call=True, may_ask=False)),
    STARTED,
    OFFER,
    at(30, facts.ActionGranted(action="connect")),
    at(60, facts.ConnectAnswered(meta_id="c_1", sdp="v=0", for_epoch=1), epoch=0),
)


def closed(after_ms: int = 60_400, **figures: Any) -> facts.Fact:
    return at(after_ms, facts.LegClosed(**{**GOOD, **figures}))


def failed(cause: str, code: int | None = None, action: str = "accept", message: str = "no") -> facts.Fact:
    return at(300, facts.ActionFailed(action=action, cause=cause, code=code, message=message))


def passed(after_ms: int) -> facts.Fact:
    return at(after_ms, facts.DeadlinePassed(deadline_ms=ARRIVED_MS + after_ms), epoch=0)


ENDS: Final = [
    ("nobody_took_it", (ARRIVED, passed(55_000)), "No media worker took the call"),
    ("not_started", (ARRIVED, CLAIMED, passed(55_000)), "waited too long"),
    ("never_answered", (*RINGING, passed(55_000)), "shop:answer was running and did not answer"),
    ("declined", (*RINGING, at(90, facts.RejectAsked(reason="closed"))), "declined the call: closed."),
    ("returned_early", (*RINGING, at(90, facts.HandlerEnded(how="returned"))), "without answering"),
    ("handler_raised", (*RINGING, at(90, facts.HandlerEnded(how="raised", error="KeyError: 1"))), "KeyError: 1"),
    ("handler_raised", (*LIVE, at(900, facts.HandlerEnded(how="raised", error="KeyError"))), "raised KeyError"),
    ("caller_gave_up", (*RINGING, GAVE_UP), "hung up before we answered"),
    ("caller_gave_up", (*ACCEPTING, GAVE_UP), "while Graph was asked to accept"),
    ("caller_gave_up", (*ACCEPTING, ANSWER, GAVE_UP), "while the media connection was made"),
    ("answered_too_late", (*ACCEPTING, failed("graph", 2018396)), "too late: the call had ended at Meta"),
    ("description_refused", (*ACCEPTING, failed("graph", 2018392)), "maybe its fingerprint"),
    ("graph_refused", (*ACCEPTING, failed("graph", 190)), "refused `accept`: no (code 190)"),
    ("no_token", (*ACCEPTING, failed("no_token")), "no access token"),
    ("no_action_worker", (*ACCEPTING, failed("too_late")), "No action worker sent `accept` in time"),
    ("graph_unreachable", (*ACCEPTING, failed("unreachable")), "could not be reached"),
    ("graph_limits", (*ACCEPTING, failed("limited")), "held back"),
    ("action_failed", (*ACCEPTING, failed("broken", message="KeyError")), "failed: broken KeyError."),
    ("graph_silent", (*ACCEPTING, passed(8_020)), "Graph did not answer in time"),
    ("no_action_worker", (*RINGING, OFFER, passed(8_020)), "No action worker asked Graph"),
    ("udp_blocked", (*ACCEPTING, ANSWER, passed(8_020)), "UDP is probably blocked"),
    (
        "udp_blocked",
        (*ACCEPTING, ANSWER, at(900, facts.LegFailed(reason="no media connection within 10 s; is UDP allowed?"))),
        "UDP is probably blocked",
    ),
    (
        "no_media",
        (*ACCEPTING, ANSWER, at(900, facts.LegFailed(reason="the answer: bad"))),
        "made: the answer: bad.",
    ),
    ("failed_at_meta", (*ACCEPTING, at(90, facts.Terminated(status="failed"))), "before both could speak"),
    ("failed_at_meta", (*LIVE, at(900, facts.Terminated(status="failed"))), "the call broke"),
    (
        "media_broke",
        (*LIVE, at(9_400, facts.LegFailed(reason="nothing was heard for 8 s"))),
        "broke after 9 s",
    ),
    ("worker_died", (*LIVE, at(900, facts.Claimed(worker="two"), epoch=2)), "died with it"),
    ("drained", (*LIVE, at(900, facts.HangUpAsked(by="drain"))), "DRAIN_SECONDS"),
    ("redis_away", (*LIVE, at(900, facts.HangUpAsked(by="redis_away"))), "REDIS_GRACE_SECONDS"),
    (
        "no_rtp",
        (*LIVE, at(21_000, facts.Terminated(status="completed")), closed(21_000, packets_received=0, packets_lost=0)),
        "after 21 s, probably because no packet of the caller's arrived",
    ),
    (
        "no_permission",
        (PLACED, CLAIMED, at(20, facts.PermissionRead(status="no_permission", may_call=False, may_ask=True))),
        "has not allowed",
    ),
    (
        "permission_refused",
        (
            replace(PLACED, ask_permission=True),
            CLAIMED,
            at(20, facts.PermissionRead(status="no_permission", may_call=False, may_ask=True)),
            at(30, facts.ActionSettled(action="optin")),
            at(90, facts.PermissionReplied(response="reject", replied_at_ms=1), epoch=0),
        ),
        "does not want to be called",
    ),
    (
        "permission_unanswered",
        (
            replace(PLACED, ask_permission=True),
            CLAIMED,
            at(20, facts.PermissionRead(status="no_permission", may_call=False, may_ask=True)),
            at(30, facts.ActionSettled(action="optin")),
            passed(60_000),
        ),
        "did not answer in time",
    ),
    ("unanswered", (*CALLING, passed(50_000)), "did not pick up"),
    ("declined_or_unanswered", (*CALLING, GONE), "does not tell which"),
    ("declined_or_unanswered", (*CALLING, at(900, facts.LegFailed(reason=facts.PEER_CLOSED))), "does not tell which"),
    (
        "slow",
        (*ACCEPTING, at(6_000, facts.AnswerReceived(sdp="v=0"), epoch=0), at(6_300, facts.LegConnected(setup_ms=80))),
        "The caller waited 6.3 s, 6.0 s of them for Graph to take the accept.",
    ),
]

SOUNDS: Final = [
    ("sent_nothing", {"packets_sent": 0}, "The caller heard nothing: we sent nothing."),
    ("handler_silent", {"packets_sent": 150}, "The caller heard silence"),
    (
        "never_reported",
        {"peer_reports": 0, "peer_lost": None, "peer_lost_of": None},
        "the far side never reported",
    ),
    (
        "nothing_arrived",
        {"peer_lost": None, "peer_lost_of": None},
        "reported 20 times and never that any of our 3000 packets arrived",
    ),
    ("nothing_arrived", {"peer_lost": 2990}, "The caller probably heard nothing: the far side says that 100 % of our"),
    ("lost_there", {"peer_lost": 300}, "The caller heard gaps: the far side says that 10 %"),
    ("long_round_trip", {"round_trip_ms": 700.0}, "talked over each other"),
    (
        "heard_nothing",
        {"packets_received": 0, "packets_lost": 0},
        "We heard nothing: no packet of the caller's ever arrived.",
    ),
    ("caller_silent", {"paused_ms": 59_000.0}, "hardly spoke, or was muted"),
    ("concealed_here", {"concealed_ms": 8000.0}, "We heard gaps: 20 %"),
    ("lost_here", {"packets_lost": 1000}, "25 % of the caller's packets were lost"),
]


@pytest.mark.parametrize(("rule", "log", "said"), ENDS)
def test_an_end_is_explained(rule: str, log: tuple[facts.Fact, ...], said: str) -> None:
    first = why(log)[0]
    assert (first.rule, said in first.sentence) == (rule, True), first


@pytest.mark.parametrize(("rule", "figures", "said"), SOUNDS)
def test_figures_tell_why_somebody_heard_nothing(rule: str, figures: dict[str, Any], said: str) -> None:
    reasons = why([*LIVE, GONE, closed(**figures)])
    assert [reason.rule for reason in reasons] == [rule]
    assert said in reasons[0].sentence


def test_a_call_that_went_well_needs_no_reason() -> None:
    assert why([*LIVE, GONE, closed()]) == []


def test_without_a_connection_the_reason_is_that() -> None:
    refused = facts.LegFailed(reason="no media connection within 10 s; is outbound UDP allowed?")
    told = [reason.sentence for reason in why([refused])]
    assert told == [f"Nobody heard anything: no media connection was made: {refused.reason}."]
    assert "goes on" in why(LIVE)[0].sentence
    left = [*LIVE, at(60_400, facts.LegFailed(reason=facts.PEER_CLOSED)), closed()]
    assert why(left) == [], "the far side hung up"


def test_every_rule_has_a_log_that_it_explains() -> None:
    tree = ast.parse(Path(module.__file__).read_text())
    named = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Reason"
        if isinstance(node.args[0], ast.Constant)
    }
    tested = {rule for rule, _, _ in (*ENDS, *SOUNDS)}
    assert named - tested == {"not_closed"}, "tested by the log that goes on"
