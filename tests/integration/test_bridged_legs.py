"""Two real legs bridged, the first over a bad path: the far side of the second hears what it would have heard alone."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiortc.rtp import RtpPacket as TheirPacket

from tests.integration.test_leg import THEIRS, Far, Notes, call, ticks, until
from tests.integration.test_leg_digits import Packets
from tests.integration.test_lossy_leg import LATE_PERCENT, RATE, Listener, call_over
from tests.path import Relay, Weather
from tests.unit.test_lossy_path import AIMS, speech
from workers.media.live_call import SILENCE, LiveCall
from workers.media.rtp import ReceivedStream, RtpPacket

SECONDS, LOSS_PERCENT = 3, 10


class Counting(Listener):
    """A listener that counts what is missing as a receiver's report would."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = ReceivedStream()

    async def _handle_rtp_packet(self, packet: TheirPacket, arrival_time_ms: int) -> None:
        read = RtpPacket(packet.ssrc, packet.payload_type, packet.sequence_number, packet.timestamp, False, 0, 0)
        self.stream.take(read, asyncio.get_running_loop().time(), timed=True)
        await super()._handle_rtp_packet(packet, arrival_time_ms)


@asynccontextmanager
async def bridged(relay: Relay) -> AsyncIterator[tuple[LiveCall, Far, LiveCall, Far]]:
    """Connect two callers with each other, the first of them through a relay."""
    async with call_over(relay) as (live, far), call() as (leg, other_far):
        other = LiveCall(leg)
        bridging = asyncio.create_task(live.bridge(other))
        await asyncio.sleep(0)
        yield live, far, other, other_far
        bridging.cancel()
        await asyncio.wait([bridging])


def listen(far: Far, notes: Notes) -> None:
    router = far.dtls._rtp_router
    router.register_receiver(notes, ssrcs=list(router.ssrc_table), payload_types=[111])


async def test_the_far_side_of_the_second_leg_sees_the_holes_of_the_first_and_fills_them_by_fec() -> None:
    relay, packets, listener = Relay(seed=21), speech(SECONDS, LOSS_PERCENT), Counting()
    async with bridged(relay) as (live, far, other, other_far):
        relay.to_caller.weather = Weather(loss=LOSS_PERCENT / 100, delay_ms=20, jitter_ms=10)
        listen(other_far, listener)
        async for tick in ticks(len(packets)):
            if tick == len(packets) - 1:
                relay.to_caller.weather = Weather(delay_ms=40)  # the last one tells of those missing before it
            await far.send(packets[tick], tick)
            for one in (live, other):
                one.tick([])
            listener.playout.pull(asyncio.get_running_loop().time(), RATE)
        lost = relay.to_caller.lost
        await until(lambda: listener.stream.received == len(packets) - lost)
        figures = live.leg.figures()
        assert lost > len(packets) * LOSS_PERCENT / 200, "the path was bad"
        assert (figures.packets_lost, listener.stream.lost) == (lost, lost)
        assert figures.concealed_ms is None, "nothing is decoded in between"
        assert listener.playout.recovered_ms > lost * 20 / 4
        missing_percent = listener.playout.concealed_ms / listener.playout.played_ms * 100
        assert missing_percent <= AIMS[LOSS_PERCENT] + LATE_PERCENT


async def test_streams_that_change_and_comfort_between_them_never_repeat_a_number() -> None:
    """And nothing of what came is withheld, be it late, but what would need a number that is taken."""
    relay, packets = Relay(seed=5), Packets()
    async with bridged(relay) as (live, far, other, other_far):
        relay.to_caller.weather = Weather(loss=0.1, delay_ms=5, overtaken=0.1, held_back_ms=50, doubled=0.1)
        listen(other_far, packets)
        at, at_of = 0, dict[int, int]()
        for ssrc, count, pause in ((1, 25, 30), (2, 20, 4), (3, 10, 0), (4, 10, 27), (5, 15, 30), (5, 15, 5)):
            if at_of.setdefault(ssrc, at) == at:  # a new one, which begins anywhere
                far._sequence = (far._sequence + 30_000) & 0xFFFF
            async for tick in ticks(count + pause):
                if tick < count:
                    await far.send(THEIRS[at % len(THEIRS)], at, ssrc=ssrc)
                at += 1
                live.tick([])
                other.tick([])
        received = live.leg.figures().packets_received
        await until(lambda: len(packets.kept) == other.leg.packets_sent)
        numbers, comforts = packets.numbers(), [packet.payload for packet in packets.kept].count(SILENCE)
        assert len(set(numbers)) == len(numbers)
        assert comforts >= 2
        assert len(numbers) - comforts >= received * 0.8, "a stream that is not the one heard is not passed on"
        stamps = dict(zip(numbers, packets.stamps(111), strict=True))
        ordered = [stamps[number] for number in sorted(stamps)]
        assert all(earlier < later for earlier, later in itertools.pairwise(ordered))
