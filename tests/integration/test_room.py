"""Three real legs in one room: real ICE, DTLS, SRTP and Opus on loopback, each peer's sound by FFT."""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path

from tests.integration.test_leg import Far, call, ticks
from tests.unit.test_mixer import A, B, C, tones
from tests.unit.test_recorder import RATE_HZ, dominant_hz, played
from workers.media.host import Host
from workers.media.live_call import LiveCall
from workers.media.mixer import Mixer, Participant
from workers.media.rounds import Rounds
from workers.media.tape import recorder

FAINT = 1_500
"""A stock receiver on a busy machine makes more of a tone than there is."""


def hear(fars: Iterable[Far]) -> list[set[int]]:
    """Return the tones that each peer heard in the last second."""
    return [tones(far.sound()[-48_000:], faint=FAINT) for far in fars]


async def test_three_peers_hear_each_other_and_one_that_dies_is_missed_by_nobody(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    rounds, mixer = Rounds(Host(loop, loop)), Mixer(48_000, None)
    async with AsyncExitStack() as stack:
        legs, fars = zip(*[await stack.enter_async_context(call(Far(hz=hz))) for hz in (A, B, C)], strict=True)
        lives = [LiveCall(leg) for leg in legs]
        rounds.lives.update(dict.fromkeys(lives))
        for live in lives:
            live.join(Participant(mixer, live.leg))
        await lives[0].tape.record(recorder(tmp_path / "a.opus", 48_000))
        async for _ in ticks(130):
            rounds.go()
        assert hear(fars) == [{B, C}, {A, C}, {A, B}]

        await fars[2].die()
        await lives[2].close()  # as the worker does once it knows
        sent = [leg.packets_sent for leg in legs]
        async for _ in ticks(100):
            rounds.go()
        assert hear(fars[:2]) == [{B}, {A}]
        assert [leg.packets_sent - before for leg, before in zip(legs, sent, strict=True)] == [100, 100, 0]

        lives[1].leave(lives[1]._participant)
        lives[1].join(Participant(mixer, legs[1], listen_only=True))
        async for _ in ticks(80):
            rounds.go()
        assert hear(fars[1:2]) == [{A}]
        assert legs[0].packets_sent - sent[0] < 115, "nobody is left who speaks to it"
        for live in lives[:2]:
            await live.close()
    recorded = played(tmp_path / "a.opus")
    assert len(recorded) > 5 * RATE_HZ
    assert abs(dominant_hz(recorded) - A) <= 5, "what the room said to it is not in it"
