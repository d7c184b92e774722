"""Video of a leg against a stock aiortc peer: pictures both ways, passed on, repaired, while the sound goes on."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction

import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame
from numpy.typing import NDArray

from shared.video import Image
from tests.integration.test_leg import OURS, OURS_HZ, THEIRS_HZ, Far, call, dominant_hz, ticks, until
from tests.integration.test_lossy_leg import call_over
from tests.path import Relay, Weather
from workers.media.host import Host
from workers.media.leg import Leg
from workers.media.live_call import LiveCall
from workers.media.pictures import Camera, Viewer
from workers.media.video_in import Assembler, Encoded, is_key

WIDTH, HEIGHT, POSITIONS = 320, 240, 16
CODECS = ("vp8", "h264")


def picture(number: int) -> NDArray[np.uint8]:
    """A bright bar that moves over a gradient, as I420 rows."""
    luma = np.tile(np.linspace(40, 140, WIDTH).astype(np.uint8), (HEIGHT, 1))
    width = WIDTH // POSITIONS
    at = number % POSITIONS * width
    luma[:, at : at + width] = 230
    chroma = np.full((HEIGHT // 2, WIDTH), 128, np.uint8)
    return np.concatenate((luma, chroma))


def bar(i420: bytes) -> int:
    """Where the bar is, and that the rest is as it was painted."""
    rows = np.frombuffer(i420, np.uint8).reshape(HEIGHT * 3 // 2, WIDTH)
    number = int(rows[:HEIGHT].astype(float).mean(0).reshape(POSITIONS, -1).mean(1).argmax())
    assert np.abs(rows[:HEIGHT].astype(int) - picture(number)[:HEIGHT]).mean() < 12
    return number


class Moving(MediaStreamTrack):
    """The far camera, 25 pictures a second."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._started_s = time.monotonic()
        self.number = 0

    async def recv(self) -> VideoFrame:
        await asyncio.sleep(max(0.0, self._started_s + self.number / 25 - time.monotonic()))
        frame = VideoFrame.from_ndarray(picture(self.number), format="yuv420p")
        frame.pts, frame.time_base = self.number * 3600, Fraction(1, 90_000)
        self.number += 1
        return frame


class Camcorder(Far):
    """A far side with a camera and a screen."""

    def __init__(self, codec: str = "vp8", *, hz: float | None = THEIRS_HZ) -> None:
        self.seen: list[bytes] = []
        self.relay: Relay | None = None
        self._watching: asyncio.Task[None] | None = None
        super().__init__(hz=hz)
        self.codec = codec
        self.pc.on("track", self._watch)

    def prefer(self) -> None:
        wanted = [
            c for c in RTCRtpSender.getCapabilities("video").codecs if c.mimeType.lower() == f"video/{self.codec}"
        ]
        for transceiver in self.pc.getTransceivers():
            if transceiver.kind == "video":
                transceiver.setCodecPreferences(wanted)

    def _watch(self, track: MediaStreamTrack) -> None:
        async def watch() -> None:
            with contextlib.suppress(MediaStreamError):
                while True:
                    frame = await track.recv()
                    assert isinstance(frame, VideoFrame)
                    self.seen.append(frame.reformat(format="yuv420p").to_ndarray().tobytes())

        if track.kind == "video":
            self._watching = asyncio.create_task(watch())

    async def turn_on(self, leg: Leg) -> None:
        """Offer video, and apply the answer."""
        self.pc.addTrack(Moving())
        self.prefer()
        await self.pc.setLocalDescription(await self.pc.createOffer())
        offer = self.pc.localDescription.sdp
        # aiortc offers Opus by its own number, but hears it by the one agreed on first
        offer = offer.replace("SAVPF 96 9 0 8", "SAVPF 111 9 0 8").replace("rtpmap:96 opus", "rtpmap:111 opus")
        answer = (
            self.relay.offer(await leg.renegotiate(self.relay.answer(offer)))
            if self.relay
            else (await leg.renegotiate(offer))
        )
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))


@asynccontextmanager
async def talk(leg: Leg, live: LiveCall | None = None) -> AsyncIterator[tuple[LiveCall, list[bytes]]]:
    """Say our tone and listen, in rounds, in a task."""
    live, heard = live or LiveCall(leg), list[bytes]()
    leg.hear()

    async def go() -> None:
        async for tick in ticks(100_000):
            live.speak()
            leg.send_packet(OURS[tick % len(OURS)])
            heard.append(leg.pull() or b"")

    going = asyncio.create_task(go())
    try:
        yield live, heard
        assert not going.done()
    finally:
        going.cancel()


def assert_undisturbed(sound: bytes, hz: float) -> None:
    """Every half second of the tone is the tone."""
    samples = np.frombuffer(sound, np.int16)
    for start in range(0, len(samples) - 24_000, 24_000):
        assert abs(dominant_hz(samples[start : start + 24_000]) - hz) <= 5


@pytest.mark.meta("6.1-toggle")
@pytest.mark.parametrize("codec", CODECS)
async def test_a_consumers_camera_is_seen_picture_by_picture_and_the_sound_goes_on(codec: str) -> None:
    far = Camcorder(codec)
    async with call(far, renegotiated=False) as (leg, _), talk(leg) as (_live, heard):
        await until(lambda: len(heard) > 30)
        await far.turn_on(leg)
        viewer = Viewer(leg.video.ask_for_key)

        def put(encoded: Encoded, _at_s: float) -> None:
            viewer.put(encoded)

        leg.video.view(put)
        bars, keys = [], []
        async with asyncio.timeout(10):
            while len(bars) < 40:
                seen = await viewer.take()
                assert seen.codec == codec
                keys.append(seen.key)
                image = await seen.decode()
                assert image is not None
                assert (image.width, image.height) == (WIDTH, HEIGHT)
                bars.append(bar(image.i420))
        leg.video.unview(put)
        assert keys[0]
        steps = {(later - earlier) % POSITIONS for earlier, later in itertools.pairwise(bars)}
        assert steps == {1}, "no picture is missing"
        figures = leg.figures()
        assert figures.packets_lost == 0
        assert_undisturbed(b"".join(heard[25:]), THEIRS_HZ)


@pytest.mark.parametrize("codec", CODECS)
async def test_what_is_shown_is_seen_at_the_far_side_and_the_sound_goes_on(codec: str) -> None:
    far = Camcorder(codec)
    async with call(far, renegotiated=False) as (leg, _), talk(leg):
        await far.turn_on(leg)
        camera = Camera(leg.video, Host(asyncio.get_running_loop(), asyncio.get_running_loop()))
        for number in range(60):
            camera.show(Image(WIDTH, HEIGHT, picture(number).tobytes()))
            await asyncio.sleep(0.04)
        await until(lambda: len(far.seen) > 30)
        bars = [bar(one) for one in far.seen]
        assert len(set(bars)) > POSITIONS / 2
        assert_undisturbed(far.sound()[24_000:].tobytes(), OURS_HZ)


@pytest.mark.meta("6.2-reply", "6.4-first-offer")
async def test_our_own_offer_brings_our_video_to_a_peer_that_had_none() -> None:
    far = Camcorder()
    async with call(far, renegotiated=False) as (leg, _), talk(leg):
        await far.pc.setRemoteDescription(RTCSessionDescription(leg.offer_again(), "offer"))
        await far.pc.setLocalDescription(await far.pc.createAnswer())
        await leg.take_answer_again(far.pc.localDescription.sdp)
        assert leg.video.codec == "vp8"
        camera = Camera(leg.video, Host(asyncio.get_running_loop(), asyncio.get_running_loop()))
        for number in range(30):
            camera.show(Image(WIDTH, HEIGHT, picture(number).tobytes()))
            await asyncio.sleep(0.04)
        await until(lambda: len(far.seen) > 10)
        assert len({bar(one) for one in far.seen}) > 5


@pytest.mark.parametrize("codec", CODECS)
async def test_on_a_bad_path_what_is_lost_is_asked_for_and_no_picture_is_broken(codec: str) -> None:
    relay, far = Relay(seed=4), Camcorder(codec)
    far.relay = relay
    async with call_over(relay, far) as (live, _), talk(live.leg, live):
        leg = live.leg
        await far.turn_on(leg)
        relay.to_caller.weather = relay.to_callee.weather = Weather(loss=0.08, delay_ms=20, jitter_ms=5, overtaken=0.02)
        viewer = Viewer(leg.video.ask_for_key)
        leg.video.view(lambda encoded, _at_s: viewer.put(encoded))
        camera = Camera(leg.video, Host(asyncio.get_running_loop(), asyncio.get_running_loop()))
        bars: list[int] = []

        async def look() -> None:
            while True:
                image = await (await viewer.take()).decode()
                if image is not None:
                    bars.append(bar(image.i420))

        looking = asyncio.create_task(look())
        for number in range(150):
            camera.show(Image(WIDTH, HEIGHT, picture(number).tobytes()))
            await asyncio.sleep(0.04)
        assert relay.to_caller.lost > 20
        assert relay.to_callee.lost > 20
        assert not looking.done()
        looking.cancel()
        steps = [(later - earlier) % POSITIONS for earlier, later in itertools.pairwise(bars)]
        assert steps.count(1) > 80, "most of what was lost was sent again in time"
        assert len(far.seen) > 40
        for one in far.seen:
            bar(one)


async def test_a_peer_that_asks_for_a_key_picture_is_given_one() -> None:
    far = Camcorder()
    async with call(far, renegotiated=False) as (leg, _), talk(leg):
        await far.turn_on(leg)
        camera = Camera(leg.video, Host(asyncio.get_running_loop(), asyncio.get_running_loop()))
        for number in range(40):
            camera.show(Image(WIDTH, HEIGHT, picture(number).tobytes()))
            if number == 20:
                (receiver,) = (t.receiver for t in far.pc.getTransceivers() if t.kind == "video")
                await receiver._send_rtcp_pli(leg.video.outgoing.ssrc)
            await asyncio.sleep(0.04)
        other, keys = Assembler("vp8"), list[bool]()
        for sequence, (_, sent) in leg.video.outgoing._kept.items():  # as it is kept for being repeated
            whole = other.take(sequence, sent.timestamp, sent.payload, 0.0, marker=sent.marker)
            keys += [is_key("vp8", one.data) for one in whole]
        assert len(keys) > 25
        assert keys[0]
        assert 1 <= sum(keys[1:]) <= 2, "for the one we asked for, and one that aiortc may ask for by itself"


async def test_bridged_legs_pass_pictures_on_undecoded() -> None:
    far, other_far = Camcorder("h264"), Camcorder("h264", hz=None)
    async with call(far, renegotiated=False) as (leg, _), call(other_far, renegotiated=False) as (other, _):
        await far.turn_on(leg)
        await other_far.turn_on(other)
        async with talk(leg) as (live, _), talk(other) as (other_live, _):
            bridging = asyncio.create_task(live.bridge(other_live))
            await until(lambda: len(other_far.seen) > 30 and len(far.seen) > 30, within_s=10)
            bridging.cancel()
        for seen in (far.seen, other_far.seen):
            bars = [bar(one) for one in seen[5:]]
            steps = [(later - earlier) % POSITIONS for earlier, later in itertools.pairwise(bars)]
            assert steps.count(1) > len(steps) * 0.8
