"""Our leg and headless Chromium, sound by FFT at both ends."""

from tests.interop.chromium import THEIRS_HZ, chromium
from tests.interop.line import OURS_HZ, called


async def test_chromium_and_we_hear_each_other_and_every_digit_pressed_there_arrives_once() -> None:
    async with chromium() as peer, called(peer) as line:
        await line.hears(THEIRS_HZ)
        await peer.hears(OURS_HZ)
        [transport] = await peer.stats("transport")
        assert transport["iceRole"] == "controlled"
        await peer.press("1259#*")
        await line.hears(THEIRS_HZ)
        assert line.leg.figures().packets_lost == 0
        assert "".join(line.digits) == "1259#*"
