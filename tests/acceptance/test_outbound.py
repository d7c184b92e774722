"""Calls that we place, through real processes, to consumers of the simulator."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from shared.calls import facts
from tests.acceptance.line import PAGES, PIPELINE, Line
from tests.acceptance.simulated import SimulatedMeta
from tests.acceptance.standin import until

KEY = "a-key-for-the-tests"
PAGE = PAGES["duet"]
CONSUMER_HZ = 620
OUR_HZ = 440
TOLERANCE_HZ = 5


@pytest.fixture(scope="module")
def simulated() -> SimulatedMeta:
    return SimulatedMeta()


@pytest.fixture(scope="module")
def line(simulated: SimulatedMeta, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    settings = {"PAGELINE_API_KEYS": f"another-key,{KEY}", "CALL_HANDLERS": "reception:duet"}
    with Line(tmp_path_factory.mktemp("outbound"), simulated, **settings) as running:
        running.processes["sim"] = simulated.start(running.home)
        running.start(*PIPELINE)
        yield running.await_ready()


def place(line: Line, to: str, *, key: str = "", **more: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {KEY}"} | ({"idempotency-key": key} if key else {})
    body = {"page": PAGE, "to": to, **more}
    return httpx.post(f"{line.base}/v1/calls", json=body, headers=headers)


def placed(line: Line, to: str, **more: Any) -> str:
    reply = place(line, to, **more)
    assert reply.status_code == 202, reply.text
    call_id: str = reply.json()["call_id"]
    assert reply.headers["location"] == f"/v1/calls/{call_id}"
    return call_id


def shown(line: Line, call_id: str) -> dict[str, Any]:
    reply = httpx.get(f"{line.base}/v1/calls/{call_id}", headers={"authorization": f"Bearer {KEY}"})
    assert reply.status_code == 200, reply.text
    call: dict[str, Any] = reply.json()
    return call


def ended(line: Line, call_id: str) -> dict[str, Any]:
    def over() -> dict[str, Any] | None:
        call = shown(line, call_id)
        return call if call["phase"] == "ended" else None

    return until(over, f"the end of {call_id}", timeout_s=30)


@pytest.mark.meta("3.2-accepted", "5.1-check", "5.4-answer")
def test_a_consumer_who_picks_up_hears_us_and_is_heard(line: Line, simulated: SimulatedMeta) -> None:
    simulated.permit(PAGE, "1001")
    simulated.tell("1001", pickup="answer", pickup_after_ms=300, tone_hz=CONSUMER_HZ)
    ours = placed(line, "1001")
    call = simulated.wait(simulated.call_to("1001")["call_id"])
    assert call["status"] == "Completed"
    assert abs(call["heard"]["dominant_hz"] - OUR_HZ) <= TOLERANCE_HZ
    told = ended(line, ours)
    assert (told["outcome"], told["because"]) == ("completed", "handler_returned")
    assert (told["meta_id"], told["direction"]) == (call["call_id"], "business_initiated")
    kinds = [type(fact) for fact in line.log_of(ours)]
    assert kinds.index(facts.PermissionRead) < kinds.index(facts.ConnectAnswered) < kinds.index(facts.LegConnected)
    figures = next(fact for fact in line.log_of(ours) if isinstance(fact, facts.LegClosed))
    assert figures.packets_received > 0


@pytest.mark.meta("3.2-no-declined", "5.4-ring-time")
@pytest.mark.parametrize(
    ("pickup", "because"),
    [("decline", "declined_or_unanswered"), ("ignore", "unanswered"), ("unreachable", "unanswered")],
)
def test_a_consumer_who_does_not_pick_up_is_unreached(
    line: Line, simulated: SimulatedMeta, pickup: str, because: str
) -> None:
    psid = f"2{pickup}"
    simulated.permit(PAGE, psid)
    simulated.tell(psid, pickup=pickup, pickup_after_ms=200)
    ours = placed(line, psid, ring_s=2)
    told = ended(line, ours)
    assert (told["outcome"], told["because"]) == ("unreached", because)
    assert simulated.call_to(psid)["state"] == "ended"


def test_without_leave_nobody_is_called_and_nobody_asked(line: Line, simulated: SimulatedMeta) -> None:
    told = ended(line, placed(line, "3001"))
    assert (told["outcome"], told["because"]) == ("unreached", "no_permission")
    assert simulated.calls_to("3001") == []


@pytest.mark.meta("5.2-optin", "5.3-answer")
@pytest.mark.parametrize("reply", ["approve", "reject", "ignore"])
def test_a_consumer_is_asked_and_called_only_with_leave(line: Line, simulated: SimulatedMeta, reply: str) -> None:
    psid = f"4{reply}"
    simulated.tell(
        psid, optin_reply=reply, optin_after_ms=300, pickup="answer", pickup_after_ms=100, tone_hz=CONSUMER_HZ
    )
    ours = placed(line, psid, ask_permission=True, within_s=4 if reply == "ignore" else 60)
    told = ended(line, ours)
    expected = {
        "approve": ("completed", "handler_returned"),
        "reject": ("unreached", "permission_refused"),
        "ignore": ("unreached", "permission_unanswered"),
    }
    assert (told["outcome"], told["because"]) == expected[reply]
    assert len(simulated.calls_to(psid)) == (1 if reply == "approve" else 0)
    log = line.log_of(ours)
    assert any(isinstance(fact, facts.HandedBack) for fact in log), "it waits on the shelf, and takes no place"


@pytest.mark.meta("5.4-once")
def test_the_same_key_rings_once(line: Line, simulated: SimulatedMeta) -> None:
    simulated.permit(PAGE, "5001")
    simulated.tell("5001", pickup="decline", pickup_after_ms=300)
    first, second = (place(line, "5001", key="order-17").json()["call_id"] for _ in range(2))
    assert first == second
    assert ended(line, first)["outcome"] == "unreached"
    assert place(line, "5001", key="order-17").json()["call_id"] == first
    assert len(simulated.calls_to("5001")) == 1
    other = place(line, "5002", key="order-17")
    assert other.status_code == 422
    assert first in other.json()["error"]["message"]


@pytest.mark.meta("4.1-end", "5.4-cancel")
def test_a_call_is_given_up_before_anybody_picks_up(line: Line, simulated: SimulatedMeta) -> None:
    simulated.permit(PAGE, "6001")
    simulated.tell("6001", pickup="ignore")
    ours = placed(line, "6001")
    until(lambda: shown(line, ours)["phase"] == "calling", "it rings")
    reply = httpx.post(f"{line.base}/v1/calls/{ours}/hangup", headers={"authorization": f"Bearer {KEY}"})
    assert reply.status_code == 202
    told = ended(line, ours)
    assert (told["outcome"], told["because"]) == ("cancelled", "hung_up_by_api")
    assert simulated.call_to("6001")["ended_by"] == "business"


@pytest.mark.meta("5.4-connect")
def test_the_command_line_dials_and_tells_how_it_went(line: Line, simulated: SimulatedMeta) -> None:
    simulated.permit(PAGE, "7001")
    simulated.tell("7001", pickup="answer", pickup_after_ms=100, tone_hz=CONSUMER_HZ)
    dialled = subprocess.run(
        [sys.executable, "-m", "pageline", "dial", "7001", "--page", PAGE, "--wait", "--json"],
        env={**os.environ, **line.settings},
        cwd=line.home,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert json.loads(dialled.stdout)["outcome"] == "completed"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"page": PAGE}, "to"),
        ({"page": PAGE, "to": ""}, "length"),
        ({"page": "1", "to": "1001"}, "Page 1 has no access token"),
        ({"page": PAGE, "to": "1001", "handler": "os:system"}, "os:system"),
        ({"page": PAGE, "to": "1001", "surprise": 1}, "surprise"),
        ([], "object"),
    ],
)
def test_a_request_that_cannot_be_meant_is_refused_with_its_reason(line: Line, body: Any, why: str) -> None:
    reply = httpx.post(f"{line.base}/v1/calls", json=body, headers={"authorization": f"Bearer {KEY}"})
    assert reply.status_code == 400
    assert why in reply.json()["error"]["message"]


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer wrong"}, {"authorization": KEY}])
def test_nobody_calls_without_a_key(line: Line, header: dict[str, str]) -> None:
    for method, path in (("POST", "/v1/calls"), ("GET", "/v1/calls"), ("POST", "/v1/calls/o_1/hangup")):
        assert httpx.request(method, line.base + path, headers=header).status_code == 401
