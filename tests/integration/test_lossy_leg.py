"""Calls over an impaired path: real SRTP datagrams through the relay of tests/path.py, judged by what is heard."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiortc.rtp import RtpPacket

from shared.handling import Frame
from tests.integration.test_leg import LOOPBACK, THEIRS, THEIRS_HZ, Far, Notes, dominant_hz, ticks, tone
from tests.path import Relay, Weather
from tests.unit.test_lossy_path import AIMS, HZ, purity_db, speech, voice
from tests.unit.test_playout import longest_quiet_ms
from workers.media.host import Ear
from workers.media.leg import Leg
from workers.media.live_call import LiveCall
from workers.media.opus import encode_clip
from workers.media.playout import Playout

LATE_PERCENT = 10.0
"""What a busy machine may add: a tick or a datagram that stands still for longer than the delay is no fault of ours.
The tests on virtual time and those of `make interop` are strict."""

LATE_MS = 60
RATE, SECONDS = 16_000, 5
EVEN_SEED = 21
"""Loses close to what it should within five seconds, both ways."""


class Listener(Notes):
    """The far side's ear: a playout of ours, fed by a stock receiver's packets."""

    def __init__(self) -> None:
        super().__init__()
        self.playout = Playout(RATE)

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        now_s = asyncio.get_running_loop().time()
        self.playout.push(packet.sequence_number, packet.timestamp, packet.payload, now_s)


@asynccontextmanager
async def call_over(relay: Relay, far: Far | None = None) -> AsyncIterator[tuple[LiveCall, Far]]:
    """Connect a leg of ours with a stock peer through a relay."""
    leg, far = Leg(addresses=LOOPBACK), far or Far()
    async with relay:
        try:
            answer = relay.answer(await far.answer(relay.offer(await leg.offer())))
            await leg.apply(answer, far.renegotiation(answer))
            await leg.connected()
            await far.connected()
            yield LiveCall(leg), far
        finally:
            await leg.close()
            await far.pc.close()


async def missing_percent(loss_percent: int, seconds: int) -> tuple[float, float]:
    """Talk both ways over a lossy path; return how much of the sound each side had to make up."""
    relay = Relay(seed=EVEN_SEED)
    async with call_over(relay) as (live, far):
        relay.to_caller.weather = relay.to_callee.weather = Weather(loss=loss_percent / 100, delay_ms=20, jitter_ms=10)
        listener, packets, said = Listener(), speech(seconds, loss_percent), voice(seconds)
        router = far.dtls._rtp_router
        router.register_receiver(listener, ssrcs=list(router.ssrc_table), payload_types=[111])
        live.add_ear(Ear(), RATE)
        async for tick in ticks(seconds * 50):
            await far.send(packets[tick], tick)
            live.outbound.put(Frame(said[tick * 640 : tick * 640 + 640], RATE))
            live.tick([])
            listener.playout.pull(asyncio.get_running_loop().time(), RATE)
        figures = live.leg.figures()
        assert relay.to_caller.lost > seconds * 50 * loss_percent / 100 * 0.5, "the path was bad"
        assert relay.to_callee.lost > seconds * 50 * loss_percent / 100 * 0.5
        assert 0 < figures.packets_lost <= relay.to_caller.lost, "the last may not be known yet"
        assert live.leg._playout.recovered_ms > relay.to_caller.lost * 20 / 4
        assert listener.playout.recovered_ms > relay.to_callee.lost * 20 / 4
        inward = figures.concealed_ms / figures.played_ms * 100
        return inward, listener.playout.concealed_ms / listener.playout.played_ms * 100


async def test_little_is_missing_of_what_is_said_over_a_lossy_path() -> None:
    for loss_percent in AIMS:
        speech(SECONDS, loss_percent)  # encoded before the clock runs
    results = await asyncio.gather(*(missing_percent(loss_percent, SECONDS) for loss_percent in AIMS))
    for (loss_percent, aim), missing in zip(AIMS.items(), results, strict=True):
        assert max(missing) <= aim + LATE_PERCENT, loss_percent


async def test_packets_that_come_twice_or_overtake_each_other_are_not_heard() -> None:
    relay, clip = Relay(), encode_clip(tone(HZ, 2))
    async with call_over(relay) as (live, far):
        relay.to_caller.weather = Weather(delay_ms=20, overtaken=0.1, held_back_ms=30, doubled=0.3)
        heard = bytearray()
        async for tick in ticks(100):
            await far.send(clip[tick], tick)
            heard += live.leg.pull() or b""
        assert live.leg.figures().packets_lost == 0
        assert live.leg.figures().packets_received <= relay.to_caller.sent, "a double is a replay to SRTP"
        assert purity_db(bytes(heard[-96_000:])) > 15, "test_lossy_path.py, which no machine disturbs, is stricter"


async def test_a_storm_leaves_no_gap_and_the_delay_is_short_again_after_it() -> None:
    relay = Relay()
    async with call_over(relay) as (live, far):
        heard = bytearray()
        async for tick in ticks(240):
            if tick == 20:
                relay.to_caller.weather = Weather(loss=0.1, burst=2, delay_ms=30, jitter_ms=80)
            elif tick == 70:
                relay.to_caller.weather = Weather(delay_ms=20)
            await far.send(THEIRS[tick % len(THEIRS)], tick)
            heard += live.leg.pull() or b""
        assert abs(dominant_hz(bytes(heard[-48_000:])) - THEIRS_HZ) <= 5
        assert longest_quiet_ms(bytes(heard[9_600:])) <= 60
        assert live.leg._playout.target_ms <= 60 + LATE_MS
        assert live.leg._playout.depth_ms <= 80 + LATE_MS
