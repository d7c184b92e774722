"""Every error that Meta's pages list for what we ask of it, and what we make of each.

The pages give phrases, and codes for a few; which code goes with which phrase is UNKNOWN, and whether it stands in
`code` or in `error_subcode`. So what is judged is the code where there is one, and else Meta's own words.
"""

from typing import Final

import pytest

from shared.calls import facts, machine
from shared.calls.orders import PostAction
from shared.calls.state import Call
from shared.meta.graph import CallsReply, GraphError
from shared.meta.remedy import remedy_for
from workers.action.reports import Fate, judge_report
from workers.action.verdict import Attempt, Sent, Verdict, is_ambiguous, is_over, is_throttled, judge

AGAIN, SETTLED, HOPELESS = Verdict.AGAIN, Verdict.SETTLED, Verdict.HOPELESS


def refused(message: str, code: int | None = 100, subcode: int | None = None, status: int = 400) -> Attempt:
    error = GraphError(message=message, code=code, error_subcode=subcode)
    return Attempt(Sent.REPLIED, status=status, reply=CallsReply(error=error))


def both(message: str, code: int) -> tuple[Attempt, Attempt]:
    return refused(message, code), refused("Invalid parameter", 100, code)


PERMISSION: Final = (refused("(#10) Permission denied", 10, status=403), refused("Requires pages_messaging", 200))


@pytest.mark.parametrize(
    ("action", "attempts", "verdict"),
    [
        pytest.param(
            "accept",
            both("Invalid call id", 2018390),
            HOPELESS,
            id="accept: invalid call id",
            marks=pytest.mark.meta("4.2-errors", "4.3-invalid-id"),
        ),
        pytest.param(
            "accept",
            both("Invalid call participant page", 2018393),
            HOPELESS,
            id="accept: invalid Page id",
            marks=pytest.mark.meta("4.3-invalid-id"),
        ),
        pytest.param(
            "accept",
            both("Invalid connection parameter", 2018391),
            HOPELESS,
            id="accept: connection info",
            marks=pytest.mark.meta("4.3-invalid-sdp"),
        ),
        pytest.param(
            "accept",
            both("Invalid SDP parameter", 2018392),
            HOPELESS,
            id="accept: SDP",
            marks=pytest.mark.meta("4.3-invalid-sdp"),
        ),
        pytest.param(
            "accept",
            PERMISSION,
            HOPELESS,
            id="accept: permission",
            marks=pytest.mark.meta("4.2-errors", "4.3-permission"),
        ),
        pytest.param(
            "accept",
            both("Insufficient permissions to join call", 2018394),
            HOPELESS,
            id="accept: another Page's",
            marks=pytest.mark.meta("4.3-permission"),
        ),
        pytest.param(
            "accept",
            (refused("Call already accepted"),),
            HOPELESS,
            id="accept: already accepted",
            marks=pytest.mark.meta("4.3-already"),
        ),
        pytest.param(
            "accept",
            (
                refused("Cannot accept a failed or terminated call"),
                *both("Cannot join failed call", 2018395),
                *both("Cannot join ended call", 2018396),
            ),
            HOPELESS,
            id="accept: over",
            marks=pytest.mark.meta("4.3-over"),
        ),
        pytest.param(
            "accept",
            (refused("Calling app is not call owner"),),
            HOPELESS,
            id="accept: not owner",
            marks=pytest.mark.meta("4.3-owner"),
        ),
        pytest.param(
            "reject",
            (refused("Call already rejected"),),
            SETTLED,
            id="reject: already rejected",
            marks=pytest.mark.meta("4.4-already"),
        ),
        pytest.param(
            "reject",
            (refused("Cannot reject a failed or completed call"),),
            SETTLED,
            id="reject: over",
            marks=pytest.mark.meta("4.4-over"),
        ),
        pytest.param(
            "reject",
            both("Invalid call id", 2018390),
            SETTLED,
            id="reject: invalid call id",
            marks=pytest.mark.meta("4.4-invalid-id"),
        ),
        pytest.param("reject", PERMISSION, HOPELESS, id="reject: permission", marks=pytest.mark.meta("4.4-permission")),
        pytest.param(
            "terminate",
            (refused("Call already terminated"),),
            SETTLED,
            id="terminate: already terminated",
            marks=pytest.mark.meta("4.4-already"),
        ),
        pytest.param(
            "terminate",
            (refused("Cannot terminate a failed or completed call"),),
            SETTLED,
            id="terminate: over",
            marks=pytest.mark.meta("4.4-over"),
        ),
        pytest.param(
            "terminate",
            both("Invalid call id", 2018390),
            SETTLED,
            id="terminate: invalid call id",
            marks=pytest.mark.meta("4.4-invalid-id"),
        ),
        pytest.param(
            "terminate", PERMISSION, HOPELESS, id="terminate: permission", marks=pytest.mark.meta("4.4-permission")
        ),
        pytest.param(
            "connect",
            both("Invalid call participant page", 2018393),
            HOPELESS,
            id="connect: Page id",
            marks=pytest.mark.meta("5.4-errors"),
        ),
        pytest.param("connect", PERMISSION, HOPELESS, id="connect: permission", marks=pytest.mark.meta("5.4-errors")),
        pytest.param(
            "connect",
            (refused("Consumer has not given permission to call"),),
            HOPELESS,
            id="connect: no leave",
            marks=pytest.mark.meta("5.4-no-leave"),
        ),
        pytest.param(
            "connect",
            both("Invalid SDP parameter", 2018392),
            HOPELESS,
            id="connect: SDP",
            marks=pytest.mark.meta("5.4-errors"),
        ),
        pytest.param(
            "connect",
            (refused("Call rate limit exceeded", None),),
            HOPELESS,
            id="connect: quota",
            marks=pytest.mark.meta("5.4-quota"),
        ),
        pytest.param(
            "check_permission",
            (refused("Invalid PSID"),),
            HOPELESS,
            id="check: invalid PSID",
            marks=pytest.mark.meta("5.1-invalid"),
        ),
        pytest.param(
            "check_permission", PERMISSION, HOPELESS, id="check: permission", marks=pytest.mark.meta("5.1-permission")
        ),
        pytest.param(
            "check_permission",
            (refused("Page is not allowed for business-initiated calling"),),
            HOPELESS,
            id="check: not allowed",
            marks=pytest.mark.meta("5.1-permission"),
        ),
        pytest.param(
            "check_permission",
            (refused("Call Settings Not Enabled", 100, 1893056),),
            HOPELESS,
            id="check: audio not enabled",
            marks=pytest.mark.meta("5.1-audio"),
        ),
        pytest.param(
            "media_update",
            both("Invalid call id", 2018390),
            HOPELESS,
            id="media: invalid call id",
            marks=pytest.mark.meta("6.2-invalid-id"),
        ),
        pytest.param(
            "media_update",
            both("Invalid call participant page", 2018393),
            HOPELESS,
            id="media: Page id",
            marks=pytest.mark.meta("6.2-invalid-id"),
        ),
        pytest.param(
            "media_update",
            both("Invalid SDP parameter", 2018392),
            HOPELESS,
            id="media: SDP",
            marks=pytest.mark.meta("6.2-invalid-sdp"),
        ),
        pytest.param(
            "media_update", PERMISSION, HOPELESS, id="media: permission", marks=pytest.mark.meta("6.2-permission")
        ),
        pytest.param(
            "media_update",
            (refused("Cannot update a terminated call"),),
            HOPELESS,
            id="media: over",
            marks=pytest.mark.meta("6.2-over"),
        ),
        pytest.param(
            "media_update",
            (refused("Invalid track msid"),),
            HOPELESS,
            id="media: msid",
            marks=pytest.mark.meta("6.2-bad-msid"),
        ),
        pytest.param(
            "media_update",
            (refused("Calling app is not call owner"),),
            HOPELESS,
            id="media: not owner",
            marks=pytest.mark.meta("6.2-owner"),
        ),
        pytest.param(
            "optin",
            (refused("outside of allowed window", 10, 2018278), refused("", 10, 2534022)),
            HOPELESS,
            id="optin",
            marks=pytest.mark.meta("5.3-window"),
        ),
        pytest.param(
            "optin",
            (refused("rate limit", 613, 1893016),),
            HOPELESS,
            id="optin: two a day",
            marks=pytest.mark.meta("5.3-limit"),
        ),
    ],
)
def test_each_listed_error_of_a_call_is_judged(action: str, attempts: tuple[Attempt, ...], verdict: Verdict) -> None:
    for attempt in attempts:
        assert judge(action, attempt) is verdict
        assert not is_ambiguous(action, attempt), "Graph says that it did not do it"


RINGS: Final = (
    facts.Arrived(page="1", consumer="2", direction="user_initiated", sent_at_ms=1, answer_by_ms=56_000, at_ms=1),
    facts.Claimed(worker="one", epoch=1, at_ms=2),
    facts.OfferMade(sdp="v=0", epoch=1, at_ms=3),
    facts.ActionGranted(action="accept", epoch=1, at_ms=4),
)


@pytest.mark.meta("4.3-already", "4.3-over", "4.3-owner")
@pytest.mark.parametrize(
    ("message", "code", "ambiguous", "farewell"),
    [
        pytest.param("Call already accepted", 100, True, "terminate", id="by us, and the answer is lost"),
        pytest.param("Call already accepted", 100, False, "reject", id="by somebody else"),
        pytest.param("Calling app is not call owner", 100, False, "reject", id="not owner"),
        pytest.param("Cannot join ended call", 2018396, False, None, id="over, by its code"),
        pytest.param("Cannot accept a failed or terminated call", 100, False, "reject", id="over, in words"),
    ],
)
def test_after_an_accept_that_was_refused_meta_is_told_what_is_left_to_tell(
    message: str, code: int, ambiguous: bool, farewell: str | None
) -> None:
    failed = facts.ActionFailed(
        action="accept", cause="graph", message=message, code=code, ambiguous=ambiguous, epoch=1, at_ms=5
    )
    call = Call()
    for fact in (*RINGS, failed):
        call, todo = machine.transition(call, fact)
    assert [order.action for order in todo if isinstance(order, PostAction)] == ([farewell] if farewell else [])


@pytest.mark.meta("4.3-permission", "5.1-audio", "5.3-window", "7.1-audio", "7.4-errors", "7.5-errors")
@pytest.mark.parametrize(
    ("error", "word"),
    [
        pytest.param(GraphError(code=100, error_subcode=1893056), "doctor --fix", id="calling is switched off"),
        pytest.param(GraphError(code=10, error_subcode=2018278), "24 hours", id="outside the window"),
        pytest.param(GraphError(code=10, error_subcode=2534022), "24 hours", id="outside the window, too"),
        pytest.param(GraphError(code=613, error_subcode=1893016), "two permission requests", id="asked too often"),
        pytest.param(GraphError(code=200), "pages_messaging", id="permission is missing"),
        pytest.param(GraphError(code=2018389), "pageline doctor", id="Page not allowed to call"),
        pytest.param(GraphError(code=2018393), "PAGE_TOKENS", id="invalid Page"),
    ],
)
def test_who_can_do_something_about_a_listed_error_is_told_what(error: GraphError, word: str) -> None:
    assert word in remedy_for(error)
    assert not is_over(error)


@pytest.mark.meta("8-once", "8-in-progress", "8-errors")
@pytest.mark.parametrize(
    ("attempt", "fate"),
    [
        pytest.param(refused("Invalid call id", 2018390), Fate.HOPELESS, id="invalid call id"),
        pytest.param(refused("Invalid page id"), Fate.HOPELESS, id="invalid Page id"),
        pytest.param(refused("Metrics can only be submitted within 24 hours"), Fate.HOPELESS, id="outside 24 h"),
        pytest.param(refused("Call is still in progress"), Fate.LATER, id="in progress"),
        pytest.param(refused("Metrics were already submitted"), Fate.ALREADY, id="already submitted"),
        pytest.param(refused("App does not have calling capability", 3), Fate.HOPELESS, id="capability"),
    ],
)
def test_each_listed_error_of_metrics_is_judged(attempt: Attempt, fate: Fate) -> None:
    assert judge_report(attempt) is fate


@pytest.mark.meta("5.4-quota")
def test_what_is_asked_of_one_consumer_too_often_is_no_reason_to_call_later() -> None:
    """`connect` has a quota whose size and code are UNKNOWN; where it has a code of a limit, it is one."""
    assert is_throttled(refused("Call rate limit exceeded", 613))
    assert judge("connect", refused("Call rate limit exceeded", 613)) is HOPELESS
