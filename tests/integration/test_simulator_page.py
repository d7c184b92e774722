"""The stand-in for Meta, asked about everything around calls: settings, subscriptions, messages, metrics, tokens."""

import asyncio
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.business import (
    BEARER,
    PAGE,
    PSID,
    SECRET,
    Business,
    Webhooks,
    act,
    ask,
    connect,
    error,
    meta,
    ring,
    talk,
    wait,
)

FIXTURES = Path(__file__).parent.parent / "fixtures"
METRICS = json.loads((FIXTURES / "api" / "messenger-call-metrics-request.json").read_text())
SETTINGS_UPDATE = json.loads((FIXTURES / "webhooks" / "messenger-call-settings-update.json").read_text())
MONDAY = {"day_of_week": "MONDAY", "open_time": "0900", "close_time": "1700"}
HOURS = {"timezone_id": "America/Los_Angeles", "weekly_operating_hours": [MONDAY]}
SETTINGS = "messenger_call_settings"


async def change(graph: httpx.AsyncClient, **settings: Any) -> Any:
    changed = await ask(graph, "POST", SETTINGS, settings)
    assert changed.status_code == 200, changed.text
    return changed.json()


@pytest.mark.meta("7.1-subset", "7.2-replace", "7.2-empty")
async def test_settings_are_merged_and_hours_replaced(webhooks: Webhooks) -> None:
    async with meta(webhooks) as graph:
        assert await change(graph, call_hours=HOURS) == {"success": True}
        assert await change(graph, icon_enabled=False) == {"result": "success"}
        await change(graph, call_hours=HOURS | {"weekly_operating_hours": []})
        assert await change(graph, call_routing={"ring_target": "META"}) == {"success": True}
        told = (await ask(graph, "GET", SETTINGS)).json()
        few = (await ask(graph, "GET", SETTINGS, fields="call_routing,audio_enabled")).json()
        assert "colour" in (await error(ask(graph, "GET", SETTINGS, fields="call_routing,colour")))["message"]
        entries = [await webhooks.next_entry() for _ in range(4)]
    assert told == {
        "audio_enabled": True,
        "video_enabled": True,
        "icon_enabled": False,
        "call_routing": {"ring_target": "META"},
        "call_hours": {"timezone_id": "America/Los_Angeles", "weekly_operating_hours": []},
    }
    assert few == {"call_routing": {"ring_target": "META"}, "audio_enabled": True}
    last = max(entries, key=lambda entry: entry["call_settings"]["call_routing"] == "META")["call_settings"]
    assert last.keys() == SETTINGS_UPDATE["entry"][0]["call_settings"].keys()
    assert (last["call_routing"], last["icon_enabled"]) == ("META", False)


@pytest.mark.meta("7.1-get")
async def test_settings_are_answered_as_the_reference_has_it(webhooks: Webhooks) -> None:
    async with meta(webhooks, settings_shape="reference") as graph:
        assert await change(graph, call_hours=HOURS) == {"result": "success"}
        assert (await ask(graph, "GET", SETTINGS)).json()["data"][0]["call_hours"] == HOURS


@pytest.mark.meta("7.2-timezone", "7.2-time", "7.2-close-first", "7.2-duplicate", "7.2-holidays", "7.3-errors")
@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "nothing to change"),
        ({"call_hours": HOURS | {"weekly_operating_hours": [MONDAY, MONDAY]}}, "MONDAY is there twice"),
        ({"call_hours": HOURS | {"weekly_operating_hours": [MONDAY | {"close_time": "0800"}]}}, "closes before"),
        ({"call_hours": HOURS | {"weekly_operating_hours": [MONDAY | {"open_time": "9:00"}]}}, "'9:00' of MONDAY"),
        ({"call_hours": HOURS | {"weekly_operating_hours": [MONDAY | {"open_time": "2460"}]}}, "no time"),
        ({"call_hours": HOURS | {"weekly_operating_hours": [MONDAY | {"day_of_week": "Monday"}]}}, "day_of_week"),
        ({"call_hours": HOURS | {"timezone_id": "Mars/Olympus"}}, "no IANA time zone"),
        ({"call_hours": {"weekly_operating_hours": []}}, "timezone_id"),
        ({"call_routing": {"ring_target": "NOBODY"}}, "NOBODY"),
        ({"holidays": []}, "holidays"),
        ({"audio_enabled": "yes"}, "audio_enabled"),
    ],
)
async def test_settings_that_cannot_be_are_refused(webhooks: Webhooks, settings: dict[str, Any], why: str) -> None:
    async with meta(webhooks) as graph:
        refused = await error(ask(graph, "POST", SETTINGS, settings))
        assert (refused["code"], why in refused["message"]) == (100, True), refused
        assert "call_hours" not in (await ask(graph, "GET", SETTINGS)).json()


@pytest.mark.meta("7.3-routing")
@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"ring_target": "META"}, "call_routing.ring_target is META"),
        ({"audio_enabled": False}, "audio_enabled is false"),
        ({"subscribed": False}, "not subscribed to the field calls"),
        ({"feature_status": "disabled"}, "messenger_api_calling is not enabled"),
    ],
)
async def test_call_that_cannot_reach_the_business_rings_in_vain_and_tells_why(
    webhooks: Webhooks, settings: dict[str, Any], why: str
) -> None:
    async with meta(webhooks, answer_window_s=0.2, **settings) as graph:
        call_id = (await graph.post("/sim/calls", json={})).json()["call_id"]
        call = await wait(graph, call_id)
        assert (call["ended_by"], call["webhook_sent_ms"]) == ("timeout", None)
        assert why in call["in_vain"]
        assert (await error(act(graph, "terminate", call_id)))["code"] in (2018390, 2018389, 100)
    assert webhooks.bodies == []


@pytest.mark.meta("7.1-partners-last", "7.6-subscribed")
async def test_subscriptions_are_replaced_and_what_is_not_subscribed_is_not_sent(webhooks: Webhooks) -> None:
    async with meta(webhooks) as graph:
        assert len((await ask(graph, "GET", "subscribed_apps")).json()["data"][0]["subscribed_fields"]) == 5
        kept = await ask(graph, "POST", "subscribed_apps", subscribed_fields="calls,messages")
        assert kept.json() == {"success": True}
        assert (await ask(graph, "GET", "subscribed_apps")).json()["data"][0]["subscribed_fields"] == [
            "calls",
            "messages",
        ]
        await change(graph, icon_enabled=False)
        (withheld,) = (await graph.get("/sim/webhooks")).json()
        assert (withheld["event"], withheld["attempts"]) == ("call_settings_update", [])
        assert "not subscribed to the field call_settings_update" in withheld["withheld"]
        assert (
            "telepathy"
            in (await error(ask(graph, "POST", "subscribed_apps", {"subscribed_fields": ["calls", "telepathy"]})))[
                "message"
            ]
        )
        assert (await ask(graph, "DELETE", "subscribed_apps")).json() == {"success": True}
        assert (await ask(graph, "GET", "subscribed_apps")).json() == {"data": []}
        routed = await error(ask(graph, "POST", SETTINGS, {"call_routing": {"ring_target": "PARTNERS"}}))
        assert "subscribed to the field calls" in routed["message"]
        await ask(graph, "POST", "subscribed_apps", {"subscribed_fields": ["calls"]})
        await ring(graph, webhooks)


@pytest.mark.meta("5.1-audio", "7.4-errors")
async def test_page_with_calling_switched_off_is_refused_everywhere(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks) as graph:
        await graph.post("/sim/permissions", json={"granted": True})
        await change(graph, audio_enabled=False)
        optin = {"attachment": {"type": "template", "payload": {"template_type": "calling_optin"}}}
        for asked in (
            connect(graph, await business.offer()),
            ask(graph, "GET", "messenger_call_permissions", psid=PSID),
            ask(graph, "POST", "messages", {"recipient": {"id": PSID}, "message": optin}),
        ):
            assert (await error(asked))["error_subcode"] == 1893056
        text = {"recipient": {"id": PSID}, "message": {"text": "hello"}}
        assert (await ask(graph, "POST", "messages", text)).status_code == 200


async def test_feature_name_and_token_are_told(webhooks: Webhooks) -> None:
    features = {"features": [{"feature": "messenger_api_calling"}]}
    async with meta(webhooks, feature_status="ENABLED", tokens=frozenset({"EAAtoken"})) as graph:
        status = await ask(graph, "POST", "business_messaging_feature_status", features)
        assert status.json() == {"data": [{"feature": "messenger_api_calling", "status": "ENABLED"}]}
        node = await graph.get(f"/v23.0/{PAGE}", params={"fields": "id,name"}, headers=BEARER)
        assert node.json().keys() == {"id", "name"}
        good, bad = [
            (await graph.get("/v23.0/debug_token", params={"input_token": token}, headers=BEARER)).json()["data"]
            for token in ("EAAtoken", "EAAother")
        ]
    assert (good["is_valid"], good["type"], good["profile_id"]) == (True, "PAGE", PAGE)
    assert {"pages_messaging", "pages_manage_metadata"} <= set(good["scopes"])
    assert (bad["is_valid"], bad["error"]["code"]) == (False, 190)


async def test_token_expires_and_another_is_taken(webhooks: Webhooks) -> None:
    async with meta(webhooks, tokens=frozenset({"EAAtoken"})) as graph:
        await graph.post("/sim/tokens", json={"token": "EAAtoken", "valid": False})
        expired = await error(ask(graph, "GET", SETTINGS), 401)
        assert (expired["code"], expired["error_subcode"]) == (190, 463)
        await graph.post("/sim/tokens", json={"token": "EAAnew", "valid": True})
        renewed = await graph.get(f"/v23.0/{PAGE}/{SETTINGS}", headers={"Authorization": "Bearer EAAnew"})
        assert renewed.status_code == 200


async def test_proof_is_checked_where_it_is_given_and_can_be_required(webhooks: Webhooks) -> None:
    proof = hmac.new(SECRET.encode(), b"EAAtoken", hashlib.sha256).hexdigest()
    async with meta(webhooks) as graph:
        assert (await ask(graph, "GET", SETTINGS, appsecret_proof=proof)).status_code == 200
        wrong = await error(ask(graph, "GET", SETTINGS, appsecret_proof=proof[::-1]))
        assert (wrong["code"], "appsecret_proof" in wrong["message"]) == (100, True)
    async with meta(webhooks, require_proof=True) as graph:
        assert "appsecret_proof" in (await error(ask(graph, "GET", SETTINGS)))["message"]


async def test_usage_is_told_in_headers_while_it_is_set(webhooks: Webhooks) -> None:
    async with meta(webhooks) as graph:
        await graph.post("/sim/usage", json={"call_count": 95, "estimated_time_to_regain_access": 3})
        headers = (await ask(graph, "GET", SETTINGS)).headers
        assert json.loads(headers["X-App-Usage"]) == {"call_count": 95, "total_time": 0, "total_cputime": 0}
        (business,) = json.loads(headers["X-Business-Use-Case-Usage"])[PAGE]
        assert (business["type"], business["call_count"]) == ("messenger", 95)
        assert business["estimated_time_to_regain_access"] == 3
        await graph.delete("/sim/usage")
        assert "X-App-Usage" not in (await ask(graph, "GET", SETTINGS)).headers
        fault = {"action": SETTINGS, "kind": "error", "status": 400, "error": {"code": 80006, "message": "limited"}}
        await graph.post("/sim/faults", json=fault | {"headers": {"Retry-After": "7"}})
        limited = await ask(graph, "GET", SETTINGS)
        assert (limited.json()["error"]["code"], limited.headers["Retry-After"]) == (80006, "7")
    async with meta(webhooks, usage_percent=40) as graph:
        assert json.loads((await ask(graph, "GET", SETTINGS)).headers["X-App-Usage"])["call_count"] == 40


def template(**payload: Any) -> dict[str, Any]:
    return {"attachment": {"type": "template", "payload": payload}}


CALL_BUTTON = {"type": "audio_call", "title": "Call Now", "expires_in_days": 5}


@pytest.mark.meta("7.5-reply")
@pytest.mark.parametrize(
    ("message", "keys"),
    [
        ({"text": "We missed your call."}, {"recipient_id", "message_id"}),
        (template(template_type="call_prompt", ttl_days=5), {"recipient_id", "message_id"}),
        (template(template_type="button", text="Questions?", buttons=[CALL_BUTTON]), {"recipient"}),
        (template(template_type="generic", elements=[{"title": "Shop", "buttons": [CALL_BUTTON]}]), {"recipient"}),
    ],
)
async def test_message_is_taken_and_kept(webhooks: Webhooks, message: dict[str, Any], keys: set[str]) -> None:
    async with meta(webhooks) as graph:
        body = {"recipient": {"id": PSID}, "message": message, "messaging_type": "RESPONSE"}
        answered = (await ask(graph, "POST", "messages", body)).json()
        (kept,) = (await graph.get("/sim/messages")).json()
    assert answered.keys() == keys
    assert kept["message_id"] == answered.get("message_id", answered.get("recipient", {}).get("message_id"))
    assert (kept["psid"], kept["message"]) == (PSID, message)


@pytest.mark.meta("7.5-button", "7.5-days")
@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({}, "a text or an attachment"),
        ({"text": "a", **template(template_type="call_prompt")}, "a text or an attachment"),
        ({"text": ""}, "length >= 1"),
        (template(template_type="call_prompt", text="Call us"), "text"),
        (template(template_type="call_prompt", ttl_days="5"), "ttl_days"),
        (template(template_type="button", text="?", buttons=[]), "buttons"),
        (template(template_type="button", text="?", buttons=[CALL_BUTTON | {"expires_in_days": 8}]), "<= 7"),
        (template(template_type="button", text="?", buttons=[CALL_BUTTON | {"payload": "x"}]), "payload"),
        (template(template_type="button", text="?", buttons=[{"type": "audio_call"}]), "title"),
        (template(template_type="generic", elements=[{"title": "Shop", "buttons": [CALL_BUTTON] * 4}]), "<= 3"),
    ],
)
async def test_message_that_is_none_is_refused(webhooks: Webhooks, message: dict[str, Any], why: str) -> None:
    async with meta(webhooks) as graph:
        refused = await error(ask(graph, "POST", "messages", {"recipient": {"id": PSID}, "message": message}))
        assert (refused["code"], why in refused["message"]) == (100, True), refused
        assert (await graph.get("/sim/messages")).json() == []


@pytest.mark.meta("5.3-window")
async def test_message_outside_the_window_is_refused(webhooks: Webhooks) -> None:
    async with meta(webhooks) as graph:
        await graph.post("/sim/consumers", json={"psid": PSID, "window_open": False})
        refused = await error(ask(graph, "POST", "messages", {"recipient": {"id": PSID}, "message": {"text": "hi"}}))
    assert (refused["code"], refused["error_subcode"]) == (10, 2018278)


async def ended(graph: httpx.AsyncClient, webhooks: Webhooks) -> str:
    call_id = await ring(graph, webhooks)
    await graph.post(f"/sim/calls/{call_id}/hangup")
    await webhooks.expect("terminate")
    return call_id


@pytest.mark.meta("8-once")
async def test_metrics_are_taken_once_after_the_call(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks) as graph:
        call_id = await talk(graph, webhooks, business)
        metrics = METRICS | {"call_id": call_id}
        assert "in progress" in (await error(ask(graph, "POST", "call_metrics", metrics)))["message"]
        await graph.post(f"/sim/calls/{call_id}/hangup")
        without = {key: value for key, value in metrics.items() if key != "audio_stats"}
        assert "audio_stats" in (await error(ask(graph, "POST", "call_metrics", without)))["message"]
        assert (await ask(graph, "POST", "call_metrics", metrics)).json() == {"success": True}
        assert "already submitted" in (await error(ask(graph, "POST", "call_metrics", metrics)))["message"]
        assert (await error(ask(graph, "POST", "call_metrics", METRICS)))["code"] == 2018390
        assert (await error(ask(graph, "POST", "call_metrics", metrics, page="1")))["code"] == 2018393
        assert (await graph.get(f"/sim/calls/{call_id}")).json()["metrics"] == metrics


@pytest.mark.meta("8-platform", "8-reason", "8-unit")
@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"end_call_reason": "HangupCall"}, "end_call_reason"),
        ({"platform": "whatsapp"}, "platform"),
        ({"call_ended_time": 1671644944000}, "call_ended_time"),
        ({"mood": "good"}, "mood"),
        (
            {"audio_stats": METRICS["audio_stats"] | {"jitter": 1}},
            "audio_stats: Object contains unknown field",
        ),
        ({"audio_stats": {"jitter_sec": 0.1}}, "audio_stats: Object missing required field"),
    ],
)
async def test_metrics_off_the_schema_are_refused(webhooks: Webhooks, wrong: dict[str, Any], why: str) -> None:
    async with meta(webhooks) as graph:
        call_id = await ended(graph, webhooks)
        refused = await error(ask(graph, "POST", "call_metrics", METRICS | {"call_id": call_id} | wrong))
        assert (refused["code"], why in refused["message"]) == (100, True), refused
        capitals = METRICS | {"call_id": call_id, "end_call_reason": "NO_ANSWER_TIMEOUT"}
        assert (await ask(graph, "POST", "call_metrics", capitals)).status_code == 200


@pytest.mark.meta("8-day")
async def test_metrics_come_too_late_and_in_the_spelling_of_the_table(webhooks: Webhooks) -> None:
    async with meta(webhooks, metrics_window_s=0.1, metrics_spelling="milliseconds") as graph:
        call_id = await ended(graph, webhooks)
        metrics = METRICS | {"call_id": call_id}
        assert "`jitter_sec`" in (await error(ask(graph, "POST", "call_metrics", metrics)))["message"]
        stats = {key.replace("_sec", "_ms"): value for key, value in METRICS["audio_stats"].items()}
        stats["jitter"] = stats.pop("jitter_ms")
        await asyncio.sleep(0.2)  # the window is over
        late = metrics | {"audio_stats": stats | {"call_ended_time": 1671644944}}
        assert "within 24 hours" in (await error(ask(graph, "POST", "call_metrics", late)))["message"]
