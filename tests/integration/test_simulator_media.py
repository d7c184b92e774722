"""The stand-in for Meta, in a call whose media changes: cameras, mutes, versions that collide, keys on both sides."""

import asyncio
import contextlib
import io
import os
import signal
import struct
import time
from fractions import Fraction
from itertools import count
from typing import Any

import av
import httpx
import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCSessionDescription
from aiortc.rtp import RtpPacket, is_rtcp
from av import VideoFrame

from tests.browser import browser_page
from tests.integration.business import Business, Webhooks, accept, act, command, error, meta, ring, talk, text, wait

EVENTS = {110: 48_000, 126: 8_000}


class Stripes(MediaStreamTrack):
    """The business's picture: bright and dark stripes that move."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._number, self._began = 0, time.monotonic()

    async def recv(self) -> VideoFrame:
        await asyncio.sleep(self._began + self._number / 15 - time.monotonic())
        stripes = ((np.arange(160) + 4 * self._number) // 20 % 2 * 200).astype(np.uint8)
        frame = VideoFrame.from_ndarray(np.tile(stripes, (120, 1)), format="gray").reformat(format="yuv420p")
        frame.pts, frame.time_base = self._number * 6000, Fraction(1, 90_000)
        self._number += 1
        return frame


class KeyedBusiness(Business):
    """Offers telephone events, which aiortc does not, hears them, and presses keys of its own."""

    def __init__(self, *events: int) -> None:
        super().__init__()
        self.packets: list[RtpPacket] = []
        self.events = events or tuple(EVENTS)
        self._sequence = count(1000)
        self._transport = self.peer.getSenders()[0].transport
        self._take = self._transport._handle_rtp_data
        self._transport._handle_rtp_data = self._hear

    async def offer(self) -> str:
        offer = await super().offer()
        lines = "".join(f"a=rtpmap:{number} telephone-event/{EVENTS[number]}\r\n" for number in self.events)
        numbers = "".join(f" {number}" for number in self.events)
        return offer.replace("SAVPF 96", f"SAVPF{numbers} 96") + lines

    async def press(self, digit: int, payload_type: int) -> None:
        """Press a key for 40 ms, the end of it three times; every press of a key begins at the same timestamp."""
        for end, held in [(0, 960), *[(0x80, 1920)] * 3]:
            packet = RtpPacket(payload_type=payload_type, timestamp=digit * 48_000)
            packet.sequence_number = next(self._sequence)
            packet.ssrc, packet.payload = 4711, struct.pack("!BBH", digit, end | 10, held)
            await self._transport._send_rtp(packet.serialize())

    async def _hear(self, data: bytes, arrival_time_ms: int) -> None:
        if not is_rtcp(data):
            self.packets.append(RtpPacket.parse(data))
        await self._take(data, arrival_time_ms=arrival_time_ms)


async def toggle(graph: httpx.AsyncClient, webhooks: Webhooks, call_id: str, **what: bool) -> tuple[int, str]:
    """Let the consumer switch something; returns the version and the offer that the business gets."""
    assert (await graph.post(f"/sim/calls/{call_id}/media-update", json=what)).status_code == 204
    (update,) = await webhooks.expect("media_update")
    return update["session"]["version"], update["session"]["sdp_renegotiation"]["sdp"]


async def show(graph: httpx.AsyncClient, business: Business, call_id: str, version: int, **more: Any) -> httpx.Response:
    """Let the business offer all it has, and say of its tracks that they are enabled."""
    await business.peer.setLocalDescription(await business.peer.createOffer())
    offer = business.peer.localDescription.sdp
    labels = {"audio": "default_audio", "video": "default_video"}
    tracks = [
        {"msid": sender.track.id, "label": labels[sender.track.kind], "status": "enabled"}
        for sender in business.peer.getSenders()
        if sender.track
    ]
    body = {"session": {"sdp_type": "offer", "sdp": offer}, "tracks": tracks}
    body |= {"from_version": version, "to_version": version + 1}
    return await act(graph, "media_update", call_id, **(body | more))


def camera(business: Business) -> MediaStreamTrack:
    return [track for track in business.tracks if track.kind == "video"][-1]


async def sees(track: MediaStreamTrack, frames: int = 10) -> list[VideoFrame]:
    async with asyncio.timeout(10):
        seen = [await track.recv() for _ in range(frames)]
    assert all(isinstance(frame, VideoFrame) for frame in seen)
    return seen


async def until_seen(graph: httpx.AsyncClient, call_id: str, frames: int) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            seen = (await graph.get(f"/sim/calls/{call_id}")).json()["seen"]
            if seen["frames"] >= frames and seen["moving"]:
                return dict(seen)
            await asyncio.sleep(0.05)


@pytest.mark.meta("3.3-triggers", "6.1-toggle")
async def test_consumer_s_camera_comes_with_an_offer_like_the_sample(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks) as graph:
        call_id = await talk(graph, webhooks, business, tone_hz=620)
        version, offer = await toggle(graph, webhooks, call_id, video=True)
        sections = offer.split("\r\nm=")[1:]
        assert version == 1
        assert [section.split(" ")[0] for section in sections] == ["audio", "audio", "video", "video"]
        assert "a=msid:- D3F4U1T_F8_TR4CK" in sections[2]
        assert "a=ssrc" not in sections[2]
        assert "a=ssrc" in sections[3]
        assert "a=group:BUNDLE 0 1 2 3\r\n" in offer
        await business.renegotiate(offer)
        frames = await sees(camera(business))
        assert (frames[0].width, frames[0].height) == (320, 240)
        assert len({bytes(frame.planes[0]) for frame in frames}) > 1, "the picture must move"
        version, offer = await toggle(graph, webhooks, call_id, video=False)
        assert (version, offer.split("\r\nm=")[4].count("a=inactive")) == (2, 1)
        await business.renegotiate(offer)
        version, offer = await toggle(graph, webhooks, call_id, video=True)
        assert (version, offer.count("m=video")) == (3, 2)
        await business.renegotiate(offer)
        await sees(camera(business))
        assert await business.hears() == pytest.approx(620, abs=2)
        assert (await graph.get(f"/sim/calls/{call_id}")).json()["video"]


@pytest.mark.parametrize("renegotiation", [False, True])
async def test_business_shows_a_picture(webhooks: Webhooks, business: Business, renegotiation: bool) -> None:
    async with meta(webhooks, update_renegotiation=renegotiation) as graph:
        call_id = await talk(graph, webhooks, business, tone_hz=620)
        business.peer.addTrack(Stripes())
        updated = await show(graph, business, call_id, 0)
        assert updated.status_code == 200, updated.text
        session = updated.json()["session"]
        assert session["sdp_response"]["sdp"].count("m=video") == 1
        await business.apply(session)
        seen = await until_seen(graph, call_id, 10)
        picture = await graph.get(seen["picture"])
        with av.open(io.BytesIO(picture.content)) as file:
            image = next(file.decode(video=0)).to_ndarray(format="gray")
        call = (await graph.get(f"/sim/calls/{call_id}")).json()
        assert await business.hears() == pytest.approx(620, abs=2)
    assert (seen["width"], seen["height"]) == image.shape[::-1] == (160, 120)
    assert int(image.max()) - int(image.min()) > 150, "stripes are dark and bright"
    assert call["media_version"] == (2 if renegotiation else 1)
    assert {track["label"] for track in call["tracks"].values()} == {"default_audio", "default_video"}


async def test_command_told_many_times_to_end_still_puts_the_phone_down(webhooks: Webhooks, business: Business) -> None:
    async with command(webhooks) as (process, graph):
        call_id = await talk(graph, webhooks, business)
        business.peer.addTrack(Stripes())
        await business.apply((await show(graph, business, call_id, 0)).json()["session"])
        await until_seen(graph, call_id, 2)
        assert process.stderr is not None
        saying = asyncio.create_task(process.stderr.read())
        async with asyncio.timeout(10):
            while process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)  # `send_signal` would take its exit status away from asyncio
                await asyncio.sleep(0.001)
        assert process.returncode in (0, -signal.SIGTERM)  # it came when all was down
        assert b"CancelledError" not in await saying  # something was cut short
        await webhooks.expect("terminate")


@pytest.mark.parametrize("reused", [False, True], ids=["in a section of its own", "in one of Meta's"])
async def test_both_show_pictures_in_one_call(webhooks: Webhooks, business: Business, reused: bool) -> None:
    async with meta(webhooks) as graph:
        call_id = await talk(graph, webhooks, business, tone_hz=620)
        version, offer = await toggle(graph, webhooks, call_id, video=True)
        await business.renegotiate(offer)
        if reused:
            business.peer.addTrack(Stripes())
        else:
            business.peer.addTransceiver(Stripes(), direction="sendonly")
        await business.apply((await show(graph, business, call_id, version)).json()["session"])
        await sees(camera(business))
        await until_seen(graph, call_id, 10)
        version, offer = await toggle(graph, webhooks, call_id, muted=True)
        assert version == 3
        await business.renegotiate(offer)
        await sees(camera(business))


@pytest.mark.meta("6.3-conflict")
@pytest.mark.parametrize(("conflict", "status"), [("empty", 200), ("error", 400)])
async def test_versions_that_collide_are_told_and_the_call_goes_on(
    webhooks: Webhooks, business: Business, conflict: str, status: int
) -> None:
    async with meta(webhooks, conflict=conflict) as graph:
        call_id = await talk(graph, webhooks, business, tone_hz=620)
        version, offer = await toggle(graph, webhooks, call_id)
        await business.renegotiate(offer)
        other = Business()
        other.peer.addTrack(Stripes())
        collided = await show(graph, other, call_id, version - 1)
        await other.peer.close()
        assert collided.status_code == status
        if status == 200:
            assert collided.json() == {"success": True, "session": {}}
        business.peer.addTrack(Stripes())
        await business.apply((await show(graph, business, call_id, version)).json()["session"])
        await until_seen(graph, call_id, 5)


@pytest.mark.meta("6.2-versions", "6.2-msid", "6.2-invalid-sdp", "6.2-over")
async def test_what_media_update_cannot_do_is_said(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks) as graph:
        call_id = await ring(graph, webhooks)
        tracks = [{"msid": "nobody", "label": "default_audio", "status": "enabled"}]
        assert "accepted call" in (await error(act(graph, "media_update", call_id, tracks=tracks)))["message"]
        await business.apply((await accept(graph, call_id, await business.offer())).json()["session"])
        await wait(graph, call_id, state="connected")
        assert "Invalid track msid" in (await error(act(graph, "media_update", call_id, tracks=tracks)))["message"]
        business.peer.addTrack(Stripes())
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"tracks": tracks}, "Invalid track msid"),
            ({"to_version": 2}, "from_version + 1"),
            ({"from_version": None}, "from_version"),
            ({"tracks": [tracks[0] | {"label": "DEFAULT_AUDIO"}]}, "DEFAULT_AUDIO"),
            ({"tracks": tracks * 5}, "length <= 4"),
            ({"session": {"sdp_type": "answer", "sdp": "v=0"}}, "sdp_type must be offer"),
        ]
        for body, why in wrong:
            assert why in (await error(show(graph, business, call_id, 0, **body)))["message"]
        await business.peer.setLocalDescription(await business.peer.createOffer())
        offer = business.peer.localDescription.sdp
        known = {"tracks": [tracks[0] | {"msid": business.peer.getSenders()[0].track.id}]}
        for spoilt, why in (
            (offer.replace("BUNDLE 0 1 2", "BUNDLE 0 1"), "BUNDLE is mandatory"),
            (offer.replace("a=mid:1", "a=mid:9").replace("BUNDLE 0 1 2", "BUNDLE 0 9 2"), "must begin with"),
            (offer.replace("VP8", "VP3").replace("H264", "H111"), "VP8 or H264"),
        ):
            session = {"session": {"sdp_type": "offer", "sdp": spoilt}}
            told = await error(act(graph, "media_update", call_id, from_version=0, to_version=1, **known, **session))
            assert (told["code"], why in told["message"]) == (2018392, True), told
        assert (await act(graph, "media_update", call_id, **known)).json() == {"success": True}
        await graph.post(f"/sim/calls/{call_id}/hangup")
        assert (await error(act(graph, "media_update", call_id, **known)))["code"] == 2018396


@pytest.mark.meta("6.2-version-type")
async def test_versions_may_be_strings_and_begin_with_the_accept(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks, first_version=1) as graph:
        call_id = await talk(graph, webhooks, business)
        business.peer.addTrack(Stripes())
        updated = await show(graph, business, call_id, 0, from_version="1", to_version="2")
        assert "sdp_response" in updated.json()["session"]


@pytest.mark.meta("3.3-triggers")
async def test_muted_consumer_sends_nothing_and_is_heard_again(webhooks: Webhooks) -> None:
    business = KeyedBusiness()
    async with meta(webhooks) as graph:
        call_id = await talk(graph, webhooks, business, tone_hz=620)
        await toggle(graph, webhooks, call_id, muted=True)
        await asyncio.sleep(0.1)  # what was on its way
        sent = len(business.packets)
        await asyncio.sleep(0.5)  # twenty-five packets' time
        assert len(business.packets) == sent
        assert (await graph.get(f"/sim/calls/{call_id}")).json()["muted"]
        await toggle(graph, webhooks, call_id, muted=False)
        assert await business.hears() == pytest.approx(620, abs=2)
    numbers = [packet.sequence_number for packet in business.packets]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "silence is no loss"
    await business.peer.close()


@pytest.mark.parametrize(("rates", "payload_type", "ticks"), [((48_000,), 110, 960), ((8_000,), 126, 160)])
async def test_keys_of_the_consumer_are_events_in_the_stream_of_their_voice(
    webhooks: Webhooks, rates: tuple[int, ...], payload_type: int, ticks: int
) -> None:
    business = KeyedBusiness()
    async with meta(webhooks, digit_rates=rates) as graph:
        call_id = await ring(graph, webhooks, tone_hz=620)
        session = (await accept(graph, call_id, await business.offer())).json()["session"]
        assert "telephone-event" not in text(session["sdp_response"])
        assert text(session["sdp_renegotiation"]).count(f"a=rtpmap:{payload_type} telephone-event/{rates[0]}\r\n") == 2
        await business.apply(session)
        await wait(graph, call_id, state="connected")
        pressed = await graph.post(f"/sim/calls/{call_id}/digits", json={"digits": "7#"})
        assert pressed.status_code == 204, pressed.text
        assert (await graph.get(f"/sim/calls/{call_id}")).json()["pressed"] == "7#"
        refused = await graph.post(f"/sim/calls/{call_id}/digits", json={"digits": "A"})
        assert refused.status_code == 409
    assert len({packet.ssrc for packet in business.packets}) == 1
    keys = [packet for packet in business.packets if packet.payload_type == payload_type]
    events = [struct.unpack("!BBH", packet.payload) for packet in keys]
    assert [event for event, _, _ in events] == [7] * 27 + [11] * 27
    assert [held for event, _, held in events if event == 7] == [*(ticks * n for n in range(1, 26)), *[ticks * 25] * 2]
    assert [bool(volume & 0x80) for _, volume, _ in events] == ([False] * 24 + [True] * 3) * 2
    assert [packet.marker for packet in keys] == ([1] + [0] * 26) * 2
    first, second = dict.fromkeys(packet.timestamp for packet in keys)
    assert second - first == 48_000 * 6 // 10, "a tone of 500 ms and a gap of 100 ms"
    numbers = [packet.sequence_number for packet in business.packets]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    await business.peer.close()


async def test_keys_of_the_business_are_heard_once_each(webhooks: Webhooks) -> None:
    business = KeyedBusiness()
    async with meta(webhooks) as graph:
        call_id = await talk(graph, webhooks, business)
        for digit in (4, 4, 10):
            await business.press(digit, 110)
        await business.press(5, 126)  # a clock rate that Meta has not kept
        await act(graph, "terminate", call_id)
        call = await wait(graph, call_id)
    assert call["heard"]["digits"] == "4*"
    await business.peer.close()


async def test_phone_without_events_says_so(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks) as graph:
        call_id = await talk(graph, webhooks, business)
        refused = await graph.post(f"/sim/calls/{call_id}/digits", json={"digits": "1"})
    assert (refused.status_code, "telephone events" in refused.json()["error"]) == (409, True)


async def test_offer_of_a_camera_applies_before_any_other_offer(webhooks: Webhooks, business: Business) -> None:
    async with meta(webhooks) as graph:
        call_id = await talk(graph, webhooks, business, answer_shape="answer-only", tone_hz=620)
        _, offer = await toggle(graph, webhooks, call_id, video=True)
        await business.peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await business.peer.setLocalDescription(await business.peer.createAnswer())
        await sees(camera(business))


async def test_person_presses_keys_on_the_page(webhooks: Webhooks) -> None:
    business = KeyedBusiness()
    async with meta(webhooks) as graph, browser_page() as page:
        await page.goto(f"{graph.base_url}/?tone=620")
        await page.get_by_role("button", name="Call").click()
        (rung,) = await webhooks.expect("connect")
        await business.apply((await accept(graph, rung["id"], await business.offer())).json()["session"])
        await page.get_by_text("Connected 0:01").wait_for()
        await page.get_by_role("button", name="5").click()
        await page.get_by_role("button", name="star").click()
        await page.wait_for_function("document.querySelector('#status').textContent >= 'Connected 0:03'")
        await page.get_by_role("button", name="Hang up").click()
        await wait(graph, rung["id"])
    keys = [packet.payload[0] for packet in business.packets if packet.payload_type == 110]
    assert list(dict.fromkeys(keys)) == [5, 10]
    await business.peer.close()
