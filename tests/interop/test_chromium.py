"""Our leg and headless Chromium, sound by FFT at both ends."""

import asyncio

import pytest

from tests.interop.chromium import THEIRS_HZ, Chromium, chromium
from tests.interop.line import OURS_HZ, Line, called
from tests.interop.tones import keys_in


async def test_chromium_and_we_hear_each_other_and_every_digit_pressed_there_arrives_once() -> None:
    async with chromium() as peer, called(peer) as line:
        await line.hears(THEIRS_HZ)
        await peer.hears(OURS_HZ)
        assert ".local " in line.answer
        [transport] = await peer.stats("transport")
        assert transport["iceRole"] == "controlled"
        await peer.press("1259#*")
        await line.hears(THEIRS_HZ)
        assert line.leg.figures().packets_lost == 0
        assert "".join(line.digits) == "1259#*"


@pytest.mark.interop
async def test_chromium_plays_each_digit_of_ours_once_and_then_hears_us_again() -> None:
    async with chromium() as peer, called(peer) as line:
        await peer.hears(OURS_HZ)
        line.speaking = False
        await peer.hears(None)
        await peer.forget()
        await line.call.send_digits("1590*#AD33")
        await asyncio.sleep(0.3)  # for what is on its way
        assert keys_in(await peer.heard()) == "1590*#AD33"
        line.speaking = True
        await peer.hears(OURS_HZ)
        await line.hears(THEIRS_HZ)


@pytest.mark.interop
async def test_chromium_that_may_use_the_microphone_tells_its_addresses_and_is_heard() -> None:
    async with chromium(microphone=True) as peer, called(peer) as line:
        assert ".local " not in line.answer
        await line.hears(THEIRS_HZ)
        await peer.hears(OURS_HZ)


@pytest.mark.interop
@pytest.mark.parametrize(
    "added", [{}, {"video": True}, {"video": True, "data": True}], ids=lambda added: " and ".join(added) or "nothing"
)
async def test_later_offer_of_chromiums_that_adds_this_does_not_disturb_the_sound(added: dict[str, bool]) -> None:
    async with chromium() as peer, called(peer) as line:
        await line.hears(THEIRS_HZ)
        await peer.hears(OURS_HZ)
        [before] = await peer.stats("inbound-rtp")
        listening = asyncio.create_task(line.listen(3))
        await line.renegotiate(peer, **added)
        await listening
        assert line.gaps() == 0
        assert line.leg.figures().packets_lost == 0
        await peer.hears(OURS_HZ)
        [after] = await peer.stats("inbound-rtp")
        assert after["packetsLost"] == 0
        assert after["packetsReceived"] - before["packetsReceived"] > 120


@pytest.mark.interop
async def test_voice_that_chromium_moves_to_a_section_of_its_own_is_heard() -> None:
    async with chromium() as peer, called(peer) as line:
        await line.hears(THEIRS_HZ)
        await line.renegotiate(peer, move=True)
        await line.hears(THEIRS_HZ)
        await peer.hears(OURS_HZ)


@pytest.mark.interop
async def test_sound_goes_on_after_each_of_two_ice_restarts_offered_by_chromium() -> None:
    async with chromium() as peer, called(peer) as line:
        await line.hears(THEIRS_HZ)
        for added in ({}, {"video": True, "data": True}):
            await restart(line, peer, **added)
            await line.hears(THEIRS_HZ)
            await peer.hears(OURS_HZ)
        await line.listen(10)  # longer than Chromium keeps a path that it left, and we wait for a dead peer
        await line.hears(THEIRS_HZ)
        await peer.hears(OURS_HZ)
        assert line.ended == []


async def restart(line: Line, peer: Chromium, **added: bool) -> None:
    """Let Chromium restart ICE; return when it uses a path between its new name and a new one of ours."""
    theirs, ours = await peer.ice_names()
    answer = await line.renegotiate(peer, restart=True, **added)
    assert f"a=ice-ufrag:{ours}\r\n" not in answer, "a restart is answered with a new name"
    async with asyncio.timeout(5):
        while {theirs, ours} & set(await peer.ice_names()):  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.05)


@pytest.mark.interop
async def test_call_muted_on_both_sides_for_long_lives_and_is_heard_again() -> None:
    async with chromium() as peer, called(peer, silence_limit_s=5) as line:
        await line.hears(THEIRS_HZ)
        await peer.mute()
        line.speaking = False
        await asyncio.sleep(1)  # for what is on its way
        [before], heard_before = await peer.stats("inbound-rtp"), line.leg.figures().packets_received
        await asyncio.sleep(25)  # five times as long as a dead peer is waited for
        [after], heard_after = await peer.stats("inbound-rtp"), line.leg.figures().packets_received
        assert heard_after == heard_before
        assert after["packetsReceived"] - before["packetsReceived"] > 40, "comfort packets keep the far side content"
        assert line.ended == []
        await peer.mute(False)
        line.speaking = True
        await line.hears(THEIRS_HZ)
        await peer.hears(OURS_HZ)


@pytest.mark.interop
async def test_chromium_that_hangs_up_is_noticed_at_once() -> None:
    async with chromium() as peer, called(peer) as line:
        await line.hears(THEIRS_HZ)
        await peer.close()
        async with asyncio.timeout(2):
            while not line.ended:  # noqa: ASYNC110  # what is waited for has no event
                await asyncio.sleep(0.02)
        assert line.ended == ["the peer closed"]


@pytest.mark.interop
async def test_two_chromiums_that_are_bridged_hear_each_other_and_each_other_s_keys() -> None:
    async with chromium() as one, chromium(hz=1_300) as two, called(one) as first, called(two) as second:
        bridge = asyncio.create_task(first.call.bridge(second.call))
        await one.hears(1_300)
        await two.hears(THEIRS_HZ)
        await one.hush()
        await two.hears(None)
        await two.forget()
        await one.press("1590*#33", gap_ms=100)
        await asyncio.sleep(0.5)  # for what is on its way
        assert keys_in(await two.heard()) == "1590*#33"
        bridge.cancel()
        await asyncio.wait([bridge])
        await two.hears(OURS_HZ)
