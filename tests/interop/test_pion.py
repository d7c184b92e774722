"""Our leg and pion, a WebRTC stack in Go, which says back what it hears; as ICE-lite it stands where Meta does."""

import pytest

from tests.interop.line import OURS_HZ, called
from tests.interop.program import CACHE, running

PION = CACHE / "pion_peer"

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not PION.exists(), reason="pion's peer is not built: it takes Debian's packages and `make interop`"),
]
both_ways = pytest.mark.parametrize("options", [("-lite",), ()], ids=["ice-lite", "full ICE"])


@both_ways
async def test_pion_answers_our_offer_and_its_echo_is_heard(options: tuple[str, ...]) -> None:
    async with running(PION, *options) as peer, called(peer) as line:
        await line.hears(OURS_HZ)
        await line.listen(2)
        assert line.gaps() == 0
        assert line.leg.figures().packets_lost == 0
