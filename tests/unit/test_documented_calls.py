"""Calls as Meta's pages tell them, step by step, and what the machine makes of each: orders in turn, and one outcome.

Whatever else may happen to a call: tests/property/test_machine.py.
"""

from typing import Final

import pytest

from shared.calls import facts, machine, orders
from shared.calls.state import Call, Outcome, Phase
from shared.calls.summary import because

PAGE: Final = "106378625516323"
CONSUMER: Final = "5275811702471834"
OURS: Final = "c_K7bQnVd0Lw3R_ZtAhYu8sXpFe2mJ_c9GoWrE4yBg"

ARRIVED: Final = facts.Arrived(
    page=PAGE, consumer=CONSUMER, direction="user_initiated", sent_at_ms=1, answer_by_ms=55_001, at_ms=1
)
CLAIMED: Final = facts.Claimed(worker="one", epoch=1, at_ms=2)
OFFERED: Final = facts.OfferMade(sdp="v=0 ours", epoch=1, at_ms=3)
ANSWERED: Final = facts.AnswerReceived(sdp="v=0 answer", renegotiation="v=0 offer", epoch=1, at_ms=5)
CONNECTED: Final = facts.LegConnected(setup_ms=1, epoch=1, at_ms=6)

RINGING: Final = (ARRIVED, CLAIMED)
CONNECTING: Final = (*RINGING, OFFERED, facts.ActionGranted(action="accept", epoch=1, at_ms=4), ANSWERED)
LIVE: Final = (*CONNECTING, CONNECTED)

DIALLED: Final = (
    facts.Placed(page=PAGE, consumer=CONSUMER, call_by_ms=60_001, ring_s=45, at_ms=1),
    CLAIMED,
    facts.PermissionRead(status="has_permission", may_call=True, may_ask=True, epoch=1, at_ms=3),
    facts.OfferMade(sdp="v=0 ours", epoch=1, at_ms=4),
    facts.ActionGranted(action="connect", epoch=1, at_ms=5),
    facts.ConnectAnswered(meta_id=OURS, sdp="v=0 answer", for_epoch=1, at_ms=6),
)
RINGS: Final = (*DIALLED, facts.StatusChanged(status="ringing", at_ms=7))
PICKED_UP: Final = facts.StatusChanged(status="accepted", at_ms=9_000)
PICKED_UP_OFFER: Final = facts.MediaChanged(version=1, sdp="v=0 pick-up", at_ms=9_001)
CONNECT_WEBHOOK: Final = facts.Arrived(
    page=PAGE, consumer=CONSUMER, direction="business_initiated", sent_at_ms=1, answer_by_ms=55_001, at_ms=7
)


def lived(*log: facts.Fact) -> tuple[Call, list[orders.Order]]:
    """Return what a log amounts to, and every order that came of it."""
    call, ordered = Call(), []
    for fact in log:
        call, todo = machine.transition(call, fact)
        ordered += todo
    return call, ordered


def actions(ordered: list[orders.Order]) -> list[str]:
    return [order.action for order in ordered if isinstance(order, orders.PostAction)]


def terminated(status: str, duration_s: int | None = None, at_ms: int = 30_000) -> facts.Terminated:
    return facts.Terminated(status=status, duration_s=duration_s, at_ms=at_ms)


# -- a consumer calls --------------------------------------------------------------------------------------------------


@pytest.mark.meta("3.1-no-sdp", "4.1-order", "4.1-local")
def test_a_consumers_call_goes_as_documented() -> None:
    """The answer and Meta's offer are applied in one order, one right after the other."""
    call, ordered = lived(*LIVE)
    assert call.phase is Phase.LIVE
    assert actions(ordered) == ["accept"]
    assert [order for order in ordered if isinstance(order, orders.ApplyAnswer)] == [
        orders.ApplyAnswer("v=0 answer", "v=0 offer")
    ]
    assert not any(isinstance(order, orders.ApplyOffer) for order in ordered), "it is no change of the media"


@pytest.mark.meta("4.1-window")
def test_an_accept_is_not_sent_after_the_consumer_has_seen_not_answered() -> None:
    late = facts.OfferMade(sdp="v=0", epoch=1, at_ms=54_000)
    (accept,) = (order for order in lived(*RINGING, late)[1] if isinstance(order, orders.PostAction))
    assert (accept.action, accept.deadline_ms) == ("accept", ARRIVED.answer_by_ms)


@pytest.mark.meta("3.3-version", "3.3-direction")
def test_of_media_updates_the_highest_version_is_applied_in_calls_of_either_direction() -> None:
    updates = [facts.MediaChanged(version=version, sdp=f"v=0 {version}", at_ms=40_000) for version in (2, 1, 2, 4, 3)]
    for log in (LIVE, (*RINGS, PICKED_UP, facts.LegConnected(setup_ms=1, epoch=1, at_ms=9_100))):
        _, ordered = lived(*log, *updates)
        assert [order.sdp for order in ordered if isinstance(order, orders.ApplyOffer)] == ["v=0 2", "v=0 4"]


@pytest.mark.meta("3.4-own", "4.4-webhook")
def test_the_webhook_of_our_own_terminate_is_no_second_end() -> None:
    hung_up = facts.HangUpAsked(by="handler", epoch=1, at_ms=20_000)
    settled = facts.ActionSettled(action="terminate", epoch=1, at_ms=20_100)
    for echo in ((settled, terminated("completed", 20)), (terminated("completed", 20), settled)):
        call, ordered = lived(*LIVE, hung_up, *echo)
        assert actions(ordered) == ["accept", "terminate"]
        assert call.outcome is Outcome.COMPLETED
        assert because([*LIVE, hung_up, *echo]) == "hung_up_by_handler"


@pytest.mark.meta("3.4-own", "4.4-reject", "4.4-webhook")
def test_the_webhook_of_our_own_reject_is_no_second_end() -> None:
    call, ordered = lived(
        *RINGING,
        facts.RejectAsked(reason="closed", epoch=1, at_ms=20_000),
        facts.ActionSettled(action="reject", epoch=1, at_ms=20_100),
        terminated("completed"),
    )
    assert actions(ordered) == ["reject"]
    assert call.outcome is Outcome.DECLINED


@pytest.mark.meta("3.1-direction", "3.2-no-declined", "3.4-unanswered", "3.4-outcome")
@pytest.mark.parametrize(
    ("before", "told", "outcome"),
    [
        pytest.param(LIVE, terminated("completed", 25), Outcome.COMPLETED, id="talked"),
        pytest.param(LIVE, terminated("failed", 25), Outcome.COMPLETED, id="talked, and then it broke"),
        pytest.param(RINGING, terminated("completed"), Outcome.CANCELLED, id="the caller gave up"),
        pytest.param((ARRIVED,), terminated("completed"), Outcome.CANCELLED, id="and nobody had it yet"),
        pytest.param(RINGING, terminated("completed", at_ms=60_001), Outcome.MISSED, id="nobody answered"),
        pytest.param(RINGING, terminated("failed"), Outcome.FAILED, id="broke while it rang"),
        pytest.param(CONNECTING, terminated("failed"), Outcome.FAILED, id="broke while it was connected"),
        pytest.param(CONNECTING, terminated("completed"), Outcome.CANCELLED, id="hung up while it was connected"),
        pytest.param(RINGS, terminated("completed"), Outcome.UNREACHED, id="the consumer declined, or nobody came"),
        pytest.param((*RINGS, PICKED_UP), terminated("completed", 1), Outcome.CANCELLED, id="and before it was heard"),
        pytest.param(RINGS, terminated("failed"), Outcome.FAILED, id="broke while it rang there"),
        pytest.param((CONNECT_WEBHOOK,), terminated("completed", 5), Outcome.COMPLETED, id="somebody else's, talked"),
        pytest.param((CONNECT_WEBHOOK,), terminated("completed"), Outcome.UNREACHED, id="somebody else's, unanswered"),
    ],
)
def test_the_outcome_follows_from_status_duration_and_how_far_it_had_come(
    before: tuple[facts.Fact, ...], told: facts.Terminated, outcome: Outcome
) -> None:
    call, ordered = lived(*before, told)
    assert call.outcome is outcome
    assert not {"reject", "terminate"} & set(actions(ordered)), "Meta knows"


# -- we call -----------------------------------------------------------------------------------------------------------


@pytest.mark.meta("3.2-ringing")
def test_ringing_alone_lets_nobody_speak() -> None:
    call, _ = lived(*RINGS, facts.LegConnected(setup_ms=1, epoch=1, at_ms=300))
    assert call.phase is Phase.CALLING


@pytest.mark.meta("3.2-accepted", "3.5-implicit", "5.2-implicit", "5.4-webhook", "5.4-picked-up")
@pytest.mark.parametrize("with_connect", [False, True], ids=["without", "with a connect webhook"])
@pytest.mark.parametrize(
    "picked_up",
    [(PICKED_UP, PICKED_UP_OFFER), (PICKED_UP_OFFER, PICKED_UP), (PICKED_UP,), (PICKED_UP_OFFER,)],
    ids=["as documented", "the other way round", "no media_update", "no call_status"],
)
def test_a_call_we_place_is_live_once_it_is_picked_up_and_connected(
    with_connect: bool, picked_up: tuple[facts.Fact, ...]
) -> None:
    log = (*RINGS, *((CONNECT_WEBHOOK,) if with_connect else ()), facts.LegConnected(setup_ms=1, epoch=1, at_ms=300))
    call, ordered = lived(*log, *picked_up)
    assert call.phase is Phase.LIVE
    assert [order.sdp for order in ordered if isinstance(order, orders.ApplyOffer)] == (
        ["v=0 pick-up"] if PICKED_UP_OFFER in picked_up else []
    )
    assert actions(ordered) == ["check_permission", "connect"]


@pytest.mark.meta("5.4-renegotiation")
@pytest.mark.parametrize("renegotiation", [None, "v=0 offer"])
def test_an_answer_to_connect_may_bring_an_offer_along(renegotiation: str | None) -> None:
    answered = facts.ConnectAnswered(meta_id=OURS, sdp="v=0 answer", renegotiation=renegotiation, for_epoch=1, at_ms=6)
    _, ordered = lived(*DIALLED[:-1], answered)
    assert ordered[-1] == orders.ApplyAnswer("v=0 answer", renegotiation)


@pytest.mark.meta("5.4-ring-time")
def test_nobody_picks_up_within_the_time_we_set() -> None:
    """How long Meta lets it ring is UNKNOWN: the clock is ours."""
    call, _ = lived(*RINGS)
    assert call.deadline_ms == 6 + 45_000
    call, ordered = lived(*RINGS, facts.DeadlinePassed(deadline_ms=45_006, at_ms=45_007))
    assert actions(ordered)[-1] == "terminate"
    assert call.outcome is Outcome.UNREACHED


@pytest.mark.meta("5.4-cancel")
def test_a_call_is_taken_back_before_it_is_picked_up() -> None:
    call, ordered = lived(*RINGS, facts.HangUpAsked(by="api", at_ms=8_000))
    assert actions(ordered)[-1] == "terminate"
    assert call.outcome is Outcome.CANCELLED


@pytest.mark.meta("5.4-once")
def test_a_connect_that_may_have_been_sent_is_not_sent_again() -> None:
    unsure = facts.ActionFailed(action="connect", cause="unreachable", ambiguous=True, at_ms=7)
    successor = facts.Claimed(worker="two", epoch=2, at_ms=8)
    for log in ((*DIALLED[:-1], unsure), (*DIALLED[:-1], successor), (*DIALLED[:-1], unsure, successor)):
        assert actions(lived(*log)[1]).count("connect") == 1


@pytest.mark.meta("5.1-actions")
def test_a_consumer_is_asked_only_where_we_may_and_are_told_to() -> None:
    for may_ask, told_to in ((True, True), (False, True), (True, False)):
        placed = facts.Placed(page=PAGE, consumer=CONSUMER, call_by_ms=60_001, ask_permission=told_to, at_ms=1)
        read = facts.PermissionRead(status="no_permission", may_call=False, may_ask=may_ask, epoch=1, at_ms=3)
        _, ordered = lived(placed, CLAIMED, read)
        assert ("optin" in actions(ordered)) is (may_ask and told_to)
