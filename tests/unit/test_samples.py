"""Every sample of Meta's that we keep, and what it is to us: each file has a row, and no row lacks its file.

A reply is decoded; a request is rebuilt by the function that sends it, from what the sample says, and has to come out
the same. Webhooks and session descriptions have tables of their own beside their decoders (test_webhook.py,
test_sdp_gate.py).
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from shared.calls.machine import CALL_OVER_CODES
from shared.meta.graph import connect_body, media_body, read_reply, request_body
from shared.meta.messages import optin_body
from shared.meta.metrics import REASONS
from shared.meta.permissions import CallPermission, read_permission
from workers.action.verdict import Attempt, Sent, Verdict, is_over, is_throttled, judge

API: Final = Path(__file__).parents[1] / "fixtures" / "api"


def raw(name: str) -> bytes:
    return (API / f"{name}.json").read_bytes()


def told(name: str) -> Any:
    return json.loads(raw(name))


def attempt(name: str, *, status: int = 400) -> Attempt:
    return Attempt(Sent.REPLIED, status=status, reply=read_reply(raw(name)), body=raw(name))


# --- replies ---


def is_an_error(code: int, subcode: int | None, verdict: Verdict, *, action: str = "accept") -> Callable[[str], None]:
    def check(name: str) -> None:
        error = attempt(name).error
        assert error is not None
        assert (error.code, error.error_subcode) == (code, subcode)
        assert error.message
        assert error.fbtrace_id
        assert judge(action, attempt(name)) is verdict
        assert is_throttled(attempt(name)) is (code == 80001)

    return check


def is_the_end_of_a_call(name: str) -> None:
    error = attempt(name).error
    assert error is not None
    assert {error.code, error.error_subcode} & CALL_OVER_CODES
    assert is_over(error)
    assert judge("terminate", attempt(name)) is Verdict.SETTLED
    assert judge("accept", attempt(name)) is Verdict.HOPELESS


def has(*, answer: bool, renegotiation: bool) -> Callable[[str], None]:
    def check(name: str) -> None:
        reply = read_reply(raw(name))
        assert reply is not None
        assert reply.success is True
        assert (reply.answer or "").startswith("v=0\r\n") is answer
        assert (reply.renegotiation or "").startswith("v=0\r\n") is renegotiation

    return check


def names_a_call(name: str) -> None:
    has(answer=True, renegotiation=False)(name)
    reply = read_reply(raw(name))
    assert reply is not None
    assert reply.call_id == told(name)["id"]


def permits(permission: CallPermission) -> Callable[[str], None]:
    def check(name: str) -> None:
        assert read_permission(raw(name)) == permission

    return check


GRANTED: Final = CallPermission("has_permission", may_call=True, may_ask=False, expires_s=1745343479)
NOT_YET: Final = CallPermission("no_permission", may_call=False, may_ask=True)


# --- requests ---


def is_our_accept(name: str) -> None:
    sample = told(name)
    ours = request_body(sample["action"], sample["call_id"], sample["session"]["sdp"])
    assert json.loads(ours) == sample


def is_our_connect(name: str) -> None:
    sample = told(name)
    assert json.loads(connect_body(sample["to"], sample["session"]["sdp"])) == sample


def is_our_permission_request(name: str) -> None:
    assert json.loads(optin_body(told(name)["recipient"]["id"])) == told(name)


def has_a_reason_of_ours(name: str) -> None:
    """Which body we build from which log: test_call_metrics.py."""
    assert told(name)["end_call_reason"] in REASONS


def is_our_change(name: str) -> None:
    sample = told(name)
    tracks = [(track["msid"], track["label"], track["status"]) for track in sample["tracks"]]
    ours = media_body(sample["call_id"], sample["session"]["sdp"], tracks=tracks, version=sample["from_version"])
    assert json.loads(ours) == sample


ROWS: Final[dict[str, Callable[[str], None]]] = {
    "graph-error-call-ended": is_the_end_of_a_call,
    "graph-error-call-ended-as-subcode": is_the_end_of_a_call,
    "graph-error-page-throttled": is_an_error(80001, None, Verdict.AGAIN),
    "graph-error-token-expired": is_an_error(190, 463, Verdict.HOPELESS),
    "graph-error-transient": is_an_error(2, None, Verdict.AGAIN),
    "messenger-accept-request": is_our_accept,
    "messenger-accept-response-answer-only": has(answer=True, renegotiation=False),
    "messenger-accept-response-objects": has(answer=True, renegotiation=True),
    "messenger-accept-response-strings": has(answer=True, renegotiation=True),
    "messenger-call-metrics-request": has_a_reason_of_ours,
    "messenger-call-permissions-data-wrapper": permits(GRANTED),
    "messenger-call-permissions-flat-can-perform": permits(GRANTED),
    "messenger-call-permissions-flat-can-perform-action": permits(GRANTED),
    "messenger-call-permissions-none": permits(NOT_YET),
    "messenger-calling-optin-request": is_our_permission_request,
    "messenger-connect-request": is_our_connect,
    "messenger-connect-response": names_a_call,
    "messenger-media-update-request": is_our_change,
    "messenger-media-update-response-conflict": has(answer=False, renegotiation=False),
    "whatsapp-error-fingerprint": is_an_error(100, 2494010, Verdict.HOPELESS),
}


@pytest.mark.meta(
    "4.2-call-id",
    "4.2-to",
    "4.2-session",
    "4.2-new-id",
    "4.3-accept",
    "5.1-wrapper",
    "5.1-status",
    "5.1-flag",
    "5.3-request",
    "5.4-connect",
    "5.4-answer",
    "6.2-request",
    "6.3-conflict",
    "8-reason",
)
@pytest.mark.parametrize("name", ROWS)
def test_every_sample_of_graph_s_is_what_it_should_be(name: str) -> None:
    ROWS[name](name)


def test_no_sample_of_graph_s_is_left_out() -> None:
    assert sorted(ROWS) == sorted(path.stem for path in API.iterdir())
