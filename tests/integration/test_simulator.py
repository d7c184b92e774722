"""The stand-in for Meta, called by consumers: real HTTP, real signatures, real WebRTC, tones by FFT."""

import asyncio
import io
import json
import signal
import time
import wave
from typing import Any

import httpx
import pytest

from tests.browser import browser_page
from tests.integration.business import (
    PAGE,
    Business,
    Webhooks,
    accept,
    act,
    command,
    error,
    meta,
    ring,
    talk,
    wait,
)


@pytest.mark.meta("3.1-connect", "7.5-no-payload")
async def test_connect_webhook_has_the_documented_shape_and_a_valid_signature(webhooks: Webhooks) -> None:
    async with meta(webhooks) as graph:
        call_id = await ring(graph, webhooks, psid="77")
    connect = json.loads(webhooks.bodies[0])["entry"][0]["calls"][0]
    assert connect.pop("timestamp") == pytest.approx(time.time(), abs=5)
    assert connect == {"id": call_id, "to": PAGE, "from": "77", "event": "connect", "call_direction": "user_initiated"}
    assert len(call_id) == 40
    assert b" " not in webhooks.bodies[0]


@pytest.mark.meta("4.1-local")
@pytest.mark.parametrize("shape", ["strings", "objects", "answer-only"])
async def test_both_sides_hear_each_others_tone(webhooks: Webhooks, business: Business, shape: str) -> None:
    async with meta(webhooks) as graph:
        call_id = await talk(graph, webhooks, business, tone_hz=620, answer_shape=shape)
        assert await business.hears() == pytest.approx(620, abs=2)
        assert len(business.tracks) == (1 if shape == "answer-only" else 2)
        hung_up = await act(graph, "terminate", call_id)
        assert hung_up.json() == {"success": True}
        call = await wait(graph, call_id)
        recording = await graph.get(call["heard"]["recording"])
    assert (call["state"], call["ended_by"]) == ("ended", "business")
    assert call["heard"]["dominant_hz"] == pytest.approx(440, abs=1)
    assert call["heard"]["lost_packets"] == 0
    assert call["heard"]["packets"] >= 40
    assert call["heard"]["seconds"] > 0.8
    assert 0 < call["webhook_to_accept_ms"] < call["webhook_to_first_audio_ms"] < 2000
    with wave.open(io.BytesIO(recording.content)) as file:
        assert file.getnframes() / file.getframerate() >= call["heard"]["seconds"]


async def test_recorded_caller_is_known_by_its_pilot_tone(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks) as graph:
        await talk(graph, webhooks, business)
        assert await business.hears(3) == pytest.approx(620, abs=1)


async def test_sound_without_loop_is_followed_by_silence(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks) as graph:
        await talk(graph, webhooks, business, tone_hz=620, loop=False)
        assert await business.hears() == pytest.approx(620, abs=2)
        await business.hears(1.0)
        with pytest.raises(AssertionError, match="silence"):
            await business.hears(0.5)


@pytest.mark.meta("4.5-sections")
async def test_renegotiation_moves_the_caller_to_a_second_section_like_the_sample(
    webhooks: Webhooks, business: Business
) -> None:
    async with meta(webhooks) as graph:
        call_id = await ring(graph, webhooks)
        session = (await accept(graph, call_id, await business.offer())).json()["session"]
        answer, renegotiation = session["sdp_response"], session["sdp_renegotiation"]
        assert answer.count("m=audio") == 1
        assert renegotiation.count("m=audio") == 2
        first, second = renegotiation.split("m=audio")[1:]
        assert "a=mid:0\r\n" in first
        assert "a=recvonly\r\n" in first
        assert "a=mid:1\r\n" in second
        assert "a=sendonly\r\n" in second
        assert "a=ssrc:" in second
        for sdp in (answer, renegotiation):
            assert "a=ice-lite\r\n" in sdp
            assert "a=setup:passive\r\n" in sdp
            assert "a=setup:active" not in sdp
        transport = ("a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=candidate")
        carried = [line for line in answer.split("\r\n") if line.startswith(transport)]
        assert [line for line in second.split("\r\n") if line.startswith(transport)] == carried


async def test_caller_who_hangs_up_ends_the_call_with_its_duration(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks) as graph:
        call_id = await talk(graph, webhooks, business, hang_up_after_s=0.3)
        terminate = await webhooks.next()
        assert (await wait(graph, call_id))["ended_by"] == "consumer"
    assert (terminate["event"], terminate["status"], terminate["duration"]) == ("terminate", "Completed", 1)


async def test_caller_who_gives_up_ringing_leaves_no_duration(webhooks: Webhooks) -> None:
    async with meta(webhooks) as graph:
        call_id = await ring(graph, webhooks)
        await graph.post(f"/sim/calls/{call_id}/hangup")
        terminate = await webhooks.next()
        assert (terminate["event"], terminate["status"]) == ("terminate", "Completed")
        assert "duration" not in terminate


@pytest.mark.meta("3.4-unanswered")
async def test_unanswered_call_ends_with_the_answer_window(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks, answer_window_s=0.2) as graph:
        call_id = await ring(graph, webhooks)
        assert "duration" not in await webhooks.next()
        assert (await wait(graph, call_id))["ended_by"] == "timeout"
        assert (await error(accept(graph, call_id, await business.offer())))["code"] == 2018396


async def test_accepted_call_without_media_fails(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks, media_timeout_s=0.3) as graph:
        call_id = await ring(graph, webhooks)
        assert (await accept(graph, call_id, await business.offer())).is_success  # and its answer is never applied
        terminate = await webhooks.next()
        assert terminate["status"] == "Failed"
        assert "duration" not in terminate
        assert (await error(act(graph, "terminate", call_id)))["code"] == 2018395


async def test_business_that_falls_silent_is_dropped(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks, media_timeout_s=0.5) as graph:
        call_id = await talk(graph, webhooks, business)
        await business.hears(0.5)
        await business.peer.close()
        assert (await webhooks.next())["status"] == "Failed"
        heard = (await wait(graph, call_id))["heard"]
        assert heard["packets"] >= 20, "what was counted must outlive the connection"


@pytest.mark.meta("4.4-reject")
async def test_rejected_call_ends_for_the_caller(webhooks: Webhooks) -> None:
    async with meta(webhooks) as graph:
        call_id = await ring(graph, webhooks)
        assert (await act(graph, "reject", call_id)).json() == {"success": True}
        assert (await webhooks.next())["event"] == "terminate"
        assert (await wait(graph, call_id))["ended_by"] == "business"
        assert (await error(act(graph, "reject", call_id)))["message"] == "Call already rejected"


@pytest.mark.meta("4.3-already")
async def test_second_accept_is_refused_and_the_first_goes_on(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks) as graph:
        call_id = await talk(graph, webhooks, business, tone_hz=700)
        other = Business()
        told = await error(accept(graph, call_id, await other.offer()))
        await other.peer.close()
        assert told["message"] == "Call already accepted"
        assert await business.hears() == pytest.approx(700, abs=2)


@pytest.mark.meta("4.1-later")
async def test_media_update_carries_an_offer_that_applies(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks) as graph:
        call_id = await talk(graph, webhooks, business, tone_hz=620)
        for version in (1, 2):
            assert (await graph.post(f"/sim/calls/{call_id}/media-update")).status_code == 204
            update = await webhooks.next()
            assert (update["event"], update["session"]["version"]) == ("media_update", version)
            offer = update["session"]["sdp_renegotiation"]["sdp"]
            await business.renegotiate(offer)
        assert await business.hears() == pytest.approx(620, abs=2)
        spoken_on = [source.source for source in business.peer.getReceivers()[-1].getSynchronizationSources()]
        assert spoken_on == [int(offer.split("a=ssrc:")[1].split()[0])]


@pytest.mark.meta("4.3-invalid-id", "4.3-invalid-sdp")
async def test_graph_errors_are_enveloped_like_the_documentation(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks, tokens=frozenset({"EAAtoken"})) as graph:
        offer = await business.offer()
        call_id = await ring(graph, webhooks)
        wrong = {"Authorization": "Bearer EAAother"}
        assert (await error(graph.post(f"/v23.0/{PAGE}/calls", json={}, headers=wrong), 401))["code"] == 190
        assert (await error(graph.post(f"/v23.0/{PAGE}/calls", json={}), 401))["code"] == 190
        assert (await error(accept(graph, "c_nobody", offer)))["code"] == 2018390
        assert (await error(act(graph, "terminate", call_id, page="1")))["code"] == 2018393
        assert (await error(act(graph, "accept", call_id)))["code"] == 2018391
        assert (await error(accept(graph, call_id, "v=0\r\n")))["code"] == 2018392
        assert (await error(accept(graph, call_id, offer.replace("opus", "opal"))))["code"] == 2018392
        assert "tracks" in (await error(act(graph, "media_update", call_id)))["message"]
        assert (await error(act(graph, "dance", call_id)))["code"] == 100
        assert (await error(graph.get("/v23.0/me"), 404))["code"] == 2500
        assert (await accept(graph, call_id, offer)).is_success, "a refused offer must not spoil the next"
        requests = (await graph.get("/sim/graph")).json()
    assert [(request["action"], request["status"]) for request in requests[-2:]] == [("dance", 400), ("accept", 200)]
    assert requests[-1]["call_id"] == call_id


@pytest.mark.meta("4.2-errors")
async def test_calling_errors_can_sit_in_the_subcode(webhooks: Webhooks) -> None:
    async with meta(webhooks, errors_in="error_subcode") as graph:
        told = await error(act(graph, "terminate", "c_nobody"))
    assert (told["code"], told["error_subcode"]) == (100, 2018390)


async def test_planned_faults_happen_once_and_in_order(webhooks: Webhooks) -> None:
    async with meta(webhooks) as graph:
        call_id = await ring(graph, webhooks)
        for fault in (
            {"action": "terminate", "kind": "error", "status": 503},
            {"action": "terminate", "kind": "drop_before"},
            {"action": "*", "kind": "drop_after"},
            {"action": "reject", "kind": "error", "error": {"code": 1, "message": "not for terminate"}},
        ):
            assert (await graph.post("/sim/faults", json=fault)).status_code == 201
        assert (await error(act(graph, "terminate", call_id), 503))["is_transient"]
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await act(graph, "terminate", call_id)
        assert (await graph.get(f"/sim/calls/{call_id}")).json()["state"] == "ringing"
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await act(graph, "terminate", call_id)
        assert (await wait(graph, call_id))["ended_by"] == "business"
        assert (await error(act(graph, "terminate", call_id)))["message"] == "Call already terminated"
        assert [fault["action"] for fault in (await graph.get("/sim/faults")).json()] == ["reject"]
        assert [request["status"] for request in (await graph.get("/sim/graph")).json()] == [503, None, None, 400]


async def test_slow_graph_takes_its_time(webhooks: Webhooks) -> None:
    async with meta(webhooks) as graph:
        await graph.post("/sim/faults", json={"kind": "latency", "latency_ms": 150, "times": 1})
        await act(graph, "terminate", "c_nobody")
        await act(graph, "terminate", "c_nobody")
        slow, quick = (await graph.get("/sim/graph")).json()
    assert slow["took_ms"] >= 150 > quick["took_ms"]


async def test_webhook_that_is_not_taken_comes_again_and_is_given_up_in_the_end(webhooks: Webhooks) -> None:
    webhooks.statuses = [500, 302]
    async with meta(webhooks, webhook_retry_pauses_s=(0.0, 0.02, 0.05)) as graph:
        call_id = await ring(graph, webhooks)
        await webhooks.refused(2)
        webhooks.statuses = [500] * 4
        await graph.post(f"/sim/calls/{call_id}/hangup")
        await webhooks.refused(4)
        connect, terminate = (await graph.get("/sim/webhooks")).json()
    assert [attempt["status"] for attempt in connect["attempts"]] == [500, 302, 200]
    assert connect["delivered"]
    assert [attempt["status"] for attempt in terminate["attempts"]] == [500] * 4
    assert not terminate["delivered"]


async def test_ten_phones_talk_at_once(webhooks: Webhooks) -> None:
    async with meta(webhooks) as graph:

        async def one_call(hz: int) -> tuple[float, dict[str, Any]]:
            line = Business(hz)
            created = await graph.post("/sim/calls", json={"tone_hz": hz + 1000})
            call_id = created.json()["call_id"]
            await line.apply((await accept(graph, call_id, await line.offer())).json()["session"])
            await wait(graph, call_id, state="connected")
            heard = await line.hears(1.5)
            await graph.post(f"/sim/calls/{call_id}/hangup")
            call = await wait(graph, call_id)
            await line.peer.close()
            return heard - 1000 - hz, call["heard"] | {"off_hz": call["heard"]["dominant_hz"] - hz}

        results = await asyncio.gather(*(one_call(400 + 20 * number) for number in range(10)))
    assert all(abs(off_hz) < 3 for off_hz, _ in results)
    assert all(abs(heard["off_hz"]) < 3 and heard["lost_packets"] == 0 for _, heard in results)


@pytest.mark.parametrize("ended_by", ["consumer", "business"])
async def test_person_calls_from_the_page_and_both_hear_each_other(
    webhooks: Webhooks, business: Business, ended_by: str
) -> None:
    async with meta(webhooks) as graph, browser_page() as page:
        await page.goto(f"{graph.base_url}/?tone=620&psid=77")
        await page.get_by_role("button", name="Call").click()
        connect = await webhooks.next()
        assert connect["from"] == "77"
        await page.get_by_text("Ringing").wait_for()
        granted = await accept(graph, connect["id"], await business.offer())
        assert granted.status_code == 200, granted.text
        await business.apply(granted.json()["session"])
        await page.get_by_text("Connected 0:01").wait_for()
        assert await business.hears() == pytest.approx(620, abs=2)
        await page.get_by_text("Connected 0:02").wait_for()
        assert await page.evaluate("pageline.heardHz()") == pytest.approx(440, abs=2)
        if ended_by == "consumer":
            await page.get_by_role("button", name="Hang up").click()
            await page.get_by_text("You hung up").wait_for()
        else:
            await act(graph, "terminate", connect["id"])
            await page.get_by_text("The line hung up").wait_for()
        terminate = await webhooks.next()
        assert terminate["duration"] >= 2
        call = await wait(graph, connect["id"])
        await page.get_by_role("button", name="Call again").wait_for()
    assert (call["state"], call["ended_by"]) == ("ended", ended_by)
    assert call["heard"]["dominant_hz"] == pytest.approx(440, abs=2)
    assert call["heard"]["lost_packets"] == 0


async def test_page_that_is_closed_hangs_up(webhooks: Webhooks) -> None:
    async with meta(webhooks) as graph, browser_page() as page:
        await page.goto(f"{graph.base_url}/?tone=620")
        await page.get_by_role("button", name="Call").press("Enter")
        assert (await webhooks.next())["event"] == "connect"
        await page.wait_for_function("window.pageline.callId()")  # before that it has no call to end
        await page.close(run_before_unload=True)
        assert (await webhooks.next())["event"] == "terminate"


async def test_command_prints_its_address_and_ends_on_sigterm(webhooks: Webhooks) -> None:
    async with command(webhooks) as (process, graph):
        assert "<title>" in (await graph.get("/")).text
        await ring(graph, webhooks)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
