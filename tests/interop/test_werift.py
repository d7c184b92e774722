"""Our leg and werift, a WebRTC stack in TypeScript, which says back what it hears."""

import shutil

import pytest

from tests.interop.line import OURS_HZ, called
from tests.interop.program import CACHE, PEERS, running

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        shutil.which("node") is None or not (CACHE / "node_modules" / "werift").exists(),
        reason="werift is not installed: it takes Node and `make interop`",
    ),
]


async def test_werift_answers_our_offer_and_its_echo_is_heard() -> None:
    async with running("node", PEERS / "werift_peer.mjs") as peer, called(peer) as line:
        await line.hears(OURS_HZ)
        await line.listen(2)
        assert line.gaps() == 0
        assert line.leg.figures().packets_lost == 0
