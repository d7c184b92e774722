"""Video between our leg and headless Chromium, both ways and in both codecs, while each hears the other."""

import asyncio
import time
from typing import Any

import pytest

from shared.video import Image
from tests.interop.chromium import THEIRS_HZ, Chromium, chromium
from tests.interop.line import OURS_HZ, Line, called
from workers.media.host import Host
from workers.media.pictures import Camera, Viewer

pytestmark = pytest.mark.interop
WIDTH, HEIGHT = 320, 240
WITHIN_S = 15

PAINT = """codec => {
  const canvas = document.createElement("canvas");
  canvas.width = 320; canvas.height = 240;
  const pen = canvas.getContext("2d");
  let at = 0;
  setInterval(() => {
    pen.fillStyle = "#444"; pen.fillRect(0, 0, 320, 240);
    pen.fillStyle = "#eee"; pen.fillRect(at = (at + 8) % 280, 0, 40, 240);
  }, 40);
  phone.pc.addTrack(canvas.captureStream(25).getVideoTracks()[0]);
  const known = RTCRtpReceiver.getCapabilities("video").codecs;
  const wanted = known.filter((one) => one.mimeType === "video/" + codec);
  if (!wanted.length) return false;
  phone.pc.getTransceivers().at(-1).setCodecPreferences(wanted);
  return true;
}"""


def stripes(number: int) -> Image:
    line = bytearray(b"\x40" * WIDTH)
    at = number * 8 % (WIDTH - 40)
    line[at : at + 40] = b"\xe0" * 40
    return Image(WIDTH, HEIGHT, bytes(line) * HEIGHT + b"\x80" * (WIDTH * HEIGHT // 2))


async def show(line: Line, seconds: float) -> None:
    camera = Camera(line.leg.video, Host(asyncio.get_running_loop(), asyncio.get_running_loop()))
    for number in range(int(seconds * 25)):
        camera.show(stripes(number))
        await asyncio.sleep(0.04)


async def seen_by(peer: Chromium, count: int) -> dict[str, Any]:
    due_s = time.monotonic() + WITHIN_S
    while time.monotonic() < due_s:
        for stats in await peer.stats("inbound-rtp"):
            if stats["kind"] == "video" and stats.get("framesDecoded", 0) >= count:
                return stats
        await asyncio.sleep(0.1)  # statistics tell of no event
    raise AssertionError(await peer.stats("inbound-rtp"))


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_pictures_go_both_ways_and_no_sound_is_missing(codec: str) -> None:
    async with chromium() as peer, called(peer) as line:
        await line.hears(THEIRS_HZ)
        if not await peer.page.evaluate(PAINT, codec):
            pytest.skip(f"this Chromium knows no {codec}")
        await line.renegotiate(peer)
        viewer = Viewer(line.leg.video.ask_for_key)
        line.leg.video.view(lambda encoded, _at_s: viewer.put(encoded))
        listening, showing = asyncio.create_task(line.listen(4)), asyncio.create_task(show(line, 5))
        images: list[Image] = []
        async with asyncio.timeout(WITHIN_S):
            while len(images) < 40:
                picture = await viewer.take()
                assert picture.codec == codec.lower()
                image = await picture.decode()
                if image is not None:
                    images.append(image)
        assert {image[:2] for image in images} == {(WIDTH, HEIGHT)}
        bars = {image.i420[: image.width].index(max(image.i420[: image.width])) // 16 for image in images}
        assert len(bars) > 5, "the bar moves"
        seen = await seen_by(peer, 30)
        assert (seen["frameWidth"], seen["frameHeight"]) == (WIDTH, HEIGHT)
        await listening
        assert line.gaps() == 0
        assert line.leg.figures().packets_lost == 0
        await peer.hears(OURS_HZ)
        await showing


async def test_our_own_offer_brings_our_picture_to_chromium() -> None:
    async with chromium() as peer, called(peer) as line:
        await line.hears(THEIRS_HZ)
        await line.leg.take_answer_again(await peer.answer(line.leg.offer_again()))
        assert line.leg.video.codec == "vp8"
        showing = asyncio.create_task(show(line, 3))
        await seen_by(peer, 30)
        await showing
        await line.hears(THEIRS_HZ)
        await peer.hears(OURS_HZ)
        [sound] = [one for one in await peer.stats("inbound-rtp") if one["kind"] == "audio"]
        assert sound["packetsLost"] == 0


async def test_two_chromiums_that_are_bridged_see_each_other() -> None:
    async with chromium() as one, chromium(hz=1_300) as two, called(one) as first, called(two) as second:
        for peer, line in ((one, first), (two, second)):
            await peer.page.evaluate(PAINT, "VP8")
            await line.renegotiate(peer)
        bridge = asyncio.create_task(first.call.bridge(second.call))
        await seen_by(one, 30)
        await seen_by(two, 30)
        await one.hears(1_300)
        await two.hears(THEIRS_HZ)
        bridge.cancel()
        await asyncio.wait([bridge])
