"""The stand-in for Meta, asked by a business to call people: permissions, requests, rings, pick-ups."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.business import PAGE, PSID, Business, Webhooks, act, ask, connect, error, meta, text, wait

API = Path(__file__).parent.parent / "fixtures" / "api"
OPTIN = json.loads((API / "messenger-calling-optin-request.json").read_text())


async def grant(graph: httpx.AsyncClient, **more: Any) -> None:
    assert (await graph.post("/sim/permissions", json={"granted": True} | more)).status_code == 201


async def told(graph: httpx.AsyncClient, **more: Any) -> None:
    assert (await graph.post("/sim/consumers", json=more)).status_code == 201


async def permission(graph: httpx.AsyncClient, psid: str = PSID) -> Any:
    return (await ask(graph, "GET", "messenger_call_permissions", psid=psid)).json()


async def place(graph: httpx.AsyncClient, business: Business) -> str:
    placed = await connect(graph, await business.offer())
    assert placed.status_code == 200, placed.text
    await business.apply(placed.json()["session"])
    return str(placed.json()["id"])


def keys(value: Any) -> Any:
    """Return the shape of a JSON value: its keys, and the type of everything else."""
    match value:
        case dict():
            return {key: keys(inner) for key, inner in value.items()}
        case list():
            return [keys(inner) for inner in value]
        case _:
            return type(value)


@pytest.mark.meta("5.1-wrapper", "5.2-seven-days")
@pytest.mark.parametrize(
    ("shape", "sample"),
    [
        ("can_perform", "flat-can-perform"),
        ("can_perform_action", "flat-can-perform-action"),
        ("data", "data-wrapper"),
    ],
)
async def test_permission_is_told_in_every_documented_shape(webhooks: Webhooks, shape: str, sample: str) -> None:
    documented = json.loads((API / f"messenger-call-permissions-{sample}.json").read_text())
    async with meta(webhooks, permission_shape=shape) as graph:
        await grant(graph)
        body = await permission(graph)
        nobody = await permission(graph, "77")
    of = (lambda whole: whole["data"][0]) if shape == "data" else (lambda whole: whole)
    names = {action["action_name"]: keys(action) for action in of(body)["actions"]}
    assert all(names[action["action_name"]] == keys(action) for action in of(documented)["actions"])
    assert keys(of(body)["permission"]) == keys(of(documented)["permission"])
    assert of(body)["permission"]["expiration_time"] == pytest.approx(time.time() + 7 * 86_400, abs=5)
    assert "expiration_time" not in of(nobody)["permission"]
    assert of(nobody)["permission"]["status"].lower() == "no_permission"


@pytest.mark.meta("5.2-seven-days", "5.4-no-leave")
async def test_call_without_permission_is_refused_and_nobody_is_rung(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks, no_permission_code=10) as graph:
        offer = await business.offer()
        refused = await error(connect(graph, offer))
        assert (refused["code"], refused["message"]) == (10, "Consumer has not given permission to call")
        await grant(graph, expires_in_s=-1)
        assert (await error(connect(graph, offer)))["code"] == 10, "an expired permission is none"
        await grant(graph, may_call=False)
        assert (await error(connect(graph, offer)))["code"] == 613
        assert (await graph.get("/sim/calls")).json() == []
    assert webhooks.bodies == []


@pytest.mark.meta("5.4-picked-up")
async def test_called_person_picks_up_and_both_hear_each_other(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks) as graph:
        await grant(graph)
        await told(graph, psid=PSID, tone_hz=620, pickup_after_ms=300)
        call_id = await place(graph, business)
        rung, ringing, accepted, update = await webhooks.expect("connect", "ringing", "accepted", "media_update")
        assert rung["call_direction"] == "business_initiated"
        assert {event["id"] for event in (rung, ringing, accepted, update)} == {call_id}
        assert ringing["recipient_id"] == PSID
        assert update["session"]["version"] == 1
        offer = update["session"]["sdp_renegotiation"]
        assert (offer["sdp_type"], offer["sdp"].count("m=audio")) == ("offer", 2)
        await business.renegotiate(offer["sdp"])
        assert await business.hears() == pytest.approx(620, abs=2)
        await act(graph, "terminate", call_id)
        (ended,) = await webhooks.expect("terminate")
        call = await wait(graph, call_id)
    assert ended["duration"] >= 1
    assert (call["direction"], call["ended_by"]) == ("business_initiated", "business")
    assert call["rang_ms"] + 300 <= call["picked_up_ms"]
    assert call["heard"]["dominant_hz"] == pytest.approx(440, abs=2)


async def test_nothing_is_heard_on_either_side_while_it_rings(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks, media_timeout_s=0.3, implied_permission=False) as graph:
        await grant(graph)
        await told(graph, pickup="ignore", tone_hz=620)
        call_id = await place(graph, business)
        await webhooks.expect("connect", "ringing")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(business.tracks[0].recv(), 1.0)
        assert (await act(graph, "terminate", call_id)).json() == {"success": True}
        (ended,) = await webhooks.expect("terminate")
        call = await wait(graph, call_id)
    assert ended["status"] == "Completed"
    assert "duration" not in ended
    assert (call["heard"]["seconds"], call["picked_up_ms"]) == (0, None)


@pytest.mark.meta("5.4-webhook")
@pytest.mark.parametrize(
    ("pickup", "events", "by"),
    [("decline", ["ringing"], "consumer"), ("ignore", ["ringing"], "timeout"), ("unreachable", [], "timeout")],
)
async def test_person_who_does_not_answer_leaves_no_duration(
    webhooks: Webhooks, business: Business, pickup: str, events: list[str], by: str
) -> None:
    async with meta(webhooks, ring_timeout_s=0.5, connect_webhook=False) as graph:
        await grant(graph)
        await told(graph, pickup=pickup, pickup_after_ms=50)
        call_id = await place(graph, business)
        ended = (await webhooks.expect(*events, "terminate"))[-1]
        assert (await wait(graph, call_id))["ended_by"] == by
    assert ended["status"] == "Completed"
    assert "duration" not in ended


@pytest.mark.meta("5.4-overtaken")
async def test_webhooks_can_overtake_the_response_that_names_the_call(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks, overtake=True) as graph:
        await grant(graph)
        await place(graph, business)
        await webhooks.expect("connect", "ringing")
        (placed,) = (await graph.get("/sim/graph")).json()
        sent = [delivery["attempts"][0] for delivery in (await graph.get("/sim/webhooks")).json()]
    assert len(sent) == 2
    assert all(first["sent_ms"] + first["took_ms"] <= placed["at_ms"] + placed["took_ms"] for first in sent)


@pytest.mark.meta("5.4-renegotiation")
@pytest.mark.parametrize(
    "settings",
    [
        {"connect_shape": "string"},
        {"connect_renegotiation": True},
        {"connect_shape": "string", "connect_renegotiation": True, "connect_id_field": "call_id"},
    ],
)
async def test_response_to_connect_has_every_documented_shape(
    webhooks: Webhooks, business: Business, settings: dict[str, Any]
) -> None:
    async with meta(webhooks, **settings) as graph:
        await grant(graph)
        placed = (await connect(graph, await business.offer())).json()
    assert placed.keys() == {"success", settings.get("connect_id_field", "id"), "session"}
    assert ("sdp_renegotiation" in placed["session"]) == settings.get("connect_renegotiation", False)
    for described in placed["session"].values():
        assert isinstance(described, str) == (settings.get("connect_shape") == "string")
        assert text(described).startswith("v=0\r\n")


@pytest.mark.meta("3.5-place")
@pytest.mark.parametrize("place_", ["entry", "messaging"])
async def test_person_answers_a_permission_request(webhooks: Webhooks, place_: str) -> None:
    async with meta(webhooks, permission_reply_in=place_) as graph:
        await told(graph, psid="77", optin_reply="reject", optin_after_ms=0)
        sent = (await ask(graph, "POST", "messages", OPTIN)).json()
        assert sent.keys() == {"recipient", "message_id"}
        entry = await webhooks.next_entry()
        reply = entry if place_ == "entry" else entry["messaging"][0]
        assert ("id" in entry) == (place_ == "messaging")
        assert (reply["sender"], reply["recipient"]) == ({"id": PSID}, {"id": PAGE})
        assert reply["call_permission_reply"]["response"] == "approve"
        expires_s = reply["call_permission_reply"]["expiration_timestamp"]
        assert isinstance(expires_s, str if place_ == "entry" else int)
        assert (await permission(graph))["permission"]["expiration_time"] == int(expires_s)
        await ask(graph, "POST", "messages", OPTIN | {"recipient": {"id": "77"}})
        entry = await webhooks.next_entry()
        reply = entry if place_ == "entry" else entry["messaging"][0]
        assert reply["call_permission_reply"] == {"response": "reject"}
        assert (await permission(graph, "77"))["permission"] == {"status": "no_permission"}


@pytest.mark.meta("5.2-two-a-day")
async def test_third_permission_request_of_a_day_is_refused(webhooks: Webhooks) -> None:
    async with meta(webhooks, optin_reply="ignore", message_shape="flat") as graph:
        for _ in range(2):
            assert (await ask(graph, "POST", "messages", OPTIN)).json().keys() == {"recipient_id", "message_id"}
        refused = await error(ask(graph, "POST", "messages", OPTIN))
        assert (refused["code"], refused["error_subcode"]) == (613, 1893016)
        request = (await permission(graph))["actions"][0]
    assert request["can_perform"] is False
    assert request["limits"][0]["current_usage"] == 2


@pytest.mark.meta("5.2-implicit")
async def test_call_from_a_person_lets_the_page_call_back(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks, calls_per_day=1) as graph:
        call_id = (await graph.post("/sim/calls", json={})).json()["call_id"]
        await graph.post(f"/sim/calls/{call_id}/hangup")
        assert (await permission(graph))["permission"]["status"] == "has_permission"
        await place(graph, business)
        assert (await error(connect(graph, "v=0\r\n")))["message"] == "Call rate limit exceeded"
        assert (await permission(graph))["actions"][1]["can_perform"] is False


@pytest.mark.meta("5.4-errors")
async def test_what_connect_cannot_do_is_said_like_graph_says_it(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks, pickup="ignore") as graph:
        await grant(graph)
        assert (await error(connect(graph, "v=0\r\n")))["code"] == 2018392
        assert (await error(act(graph, "connect", None, to=PSID)))["code"] == 2018391
        assert "to must be" in (await error(act(graph, "connect", None)))["message"]
        assert "`colour`" in (await error(connect(graph, "", colour="red")))["message"]
        assert (
            "template_type"
            in (await error(ask(graph, "POST", "messages", _with_template("calling_option"))))["message"]
        )
        call_id = await place(graph, business)
        for action in ("accept", "reject"):
            session = {"sdp_type": "offer", "sdp": await business.offer()} if action == "accept" else None
            refused = await error(act(graph, action, call_id, **({"session": session} if session else {})))
            assert "Only a call from a person" in refused["message"]


def _with_template(name: str) -> dict[str, Any]:
    return OPTIN | {"message": {"attachment": {"type": "template", "payload": {"template_type": name}}}}
