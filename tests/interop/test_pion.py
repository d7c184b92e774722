"""Our leg and pion, a WebRTC stack in Go, which says back what it hears; as ICE-lite it stands where Meta does."""

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest

from tests.interop.line import OURS_HZ, called
from tests.interop.program import CACHE, Program, running

PION = CACHE / "pion_peer"
DIGITS = "1590*#AD33"

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not PION.exists(), reason="pion's peer is not built: `make interop` as root does it"),
    pytest.mark.parametrize("lite", [True, False], ids=["ice-lite", "full-ice"]),
]


def pion(lite: bool) -> AbstractAsyncContextManager[Program]:
    return running(PION, f"-lite={str(lite).lower()}")


async def test_pion_answers_our_offer_and_its_echo_is_heard_whole(lite: bool) -> None:
    async with pion(lite) as peer, called(peer) as line:
        assert ("a=ice-lite" in line.answer) is lite
        await line.hears(OURS_HZ)
        await line.listen(2)
        assert line.gaps() == 0
        assert line.leg.figures().packets_lost == 0


@pytest.mark.parametrize("video", [False, True], ids=["nothing", "video"])
async def test_later_offer_of_pions_that_adds_this_does_not_disturb_the_sound(lite: bool, video: bool) -> None:
    async with pion(lite) as peer, called(peer) as line:
        await line.hears(OURS_HZ)
        listening = asyncio.create_task(line.listen(3))
        await line.renegotiate(peer, video=video)
        await listening
        assert line.gaps() == 0
        assert line.leg.figures().packets_lost == 0


async def test_echo_is_heard_after_each_of_two_ice_restarts_offered_by_pion(lite: bool) -> None:
    async with pion(lite) as peer, called(peer) as line:
        await line.hears(OURS_HZ)
        for _ in range(2):
            await line.renegotiate(peer, restart=True)
            await line.hears(OURS_HZ)
        await line.listen(1)
        assert line.gaps() == 0
        assert line.ended == []


async def test_each_digit_arrives_once_both_ways_and_the_echo_comes_back(lite: bool) -> None:
    async with pion(lite) as peer, called(peer) as line:
        await line.hears(OURS_HZ)
        await line.call.send_digits(DIGITS)
        await line.hears(OURS_HZ)
        assert (await peer.ask("report"))["digits"] == DIGITS
        await peer.ask("press", digits=DIGITS)
        await line.hears(OURS_HZ)
        assert "".join(line.digits) == DIGITS
        assert line.leg.figures().packets_lost == 0
