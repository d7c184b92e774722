"""Hostile RTP and RTCP: through the parsers, and authenticated into a real leg beside a conversation of another one.

A packet may be dropped. It may not raise, grow what we keep, or be noticed by any call but its own.
"""

import asyncio
import struct
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from aiortc.rtp import RtcpPacket
from hypothesis import given
from hypothesis import strategies as st
from pylibsrtp import Error as SrtpError

from tests.fuzz.budget import drawn, examples
from tests.fuzz.packets import DATAGRAMS, GOODBYES, REPORTS, Datagram, Kind, rtp
from tests.integration.test_leg import OURS, OURS_HZ, THEIRS, THEIRS_HZ, Far, call, dominant_hz, ticks
from workers.media.dtmf import DigitReader
from workers.media.playout import MAX_DEPTH_MS, Playout
from workers.media.rtcp import Reports
from workers.media.rtp import HEADER_BYTES, Heard, IncomingAudio, OutgoingAudio, parse
from workers.media.srtp import PACKET_BYTES

MOST_STREAMS: Final = 16
TICK_BYTES: Final = 1920
LONGEST_DEPTH_MS: Final = MAX_DEPTH_MS + 120
"""What is cut at once, and one more packet of the longest kind."""


@given(st.lists(rtp() | REPORTS | GOODBYES | st.integers(1, 60), max_size=60))
@examples(100)
def test_no_packet_makes_whoever_reads_it_raise_or_keep_more_and_more(events: list[bytes | int]) -> None:
    incoming, outgoing, playout, keys = IncomingAudio(), OutgoingAudio(), Playout(), DigitReader()
    incoming.expect({111}, {110: 48_000, 126: 8_000}, ())
    outgoing.payload_type = 111
    reports = Reports(incoming, outgoing, "us")
    buffer, now_s = memoryview(bytearray(PACKET_BYTES)), 100.0
    for event in events:
        if isinstance(event, int):
            for _ in range(event):
                now_s += 0.02
                keys.poll(now_s)
                pcm = playout.pull(now_s)
                assert pcm is None or len(pcm) == TICK_BYTES
            continue
        reports.read(event, now_s)
        packet, before = parse(event, len(event)), incoming.heard
        heard = Heard.NOTHING if packet is None else incoming.take(packet, now_s)
        assert len(incoming.streams) <= MOST_STREAMS
        if packet is not None and heard is not Heard.NOTHING:
            payload = event[packet.start : packet.end]
            if heard is Heard.EVENT:
                playout.pass_over(packet.sequence, packet.timestamp)
                rate = incoming.events[packet.payload_type]
                keys.take(payload, packet.ssrc, packet.timestamp, rate, now_s, marker=packet.marker)
            else:
                if before not in {None, packet.ssrc}:
                    playout.restart()
                playout.push(packet.sequence, packet.timestamp, payload, now_s)
            buffer[: len(event)] = event
            length = outgoing.pass_on(buffer, packet, 111, now_s)
            assert length == 0 or bytes(buffer[HEADER_BYTES:length]) == payload
        assert RtcpPacket.parse(reports.write(now_s)), "what was heard can be reported, whatever it was"
    playout.pull(now_s + 0.02)
    assert playout.depth_ms <= LONGEST_DEPTH_MS
    assert playout.concealed_ms >= 0


class Rude(Far):
    """A peer that sends anything, encrypted with the keys that were agreed on where that is possible."""

    def __init__(self) -> None:
        super().__init__()
        self.sealed = 0

    def utter(self, datagram: Datagram) -> None:
        """Send it at once; what its own SRTP refuses to encrypt goes out in the clear.

        Most RTP packets are made a stream of their own, for SRTP takes no number twice and none far behind another.
        """
        data, pair, session = datagram.data, self.ice._nominated[1], self.dtls._tx_srtp
        if datagram.kind is Kind.RTP and data[11] % 4:
            data = data[:8] + struct.pack("!L", 0x0100_0000 + self.sealed) + data[12:]
        protect = {Kind.RTP: session.protect, Kind.RTCP: session.protect_rtcp, Kind.RAW: bytes}[datagram.kind]
        with suppress(SrtpError, ValueError):
            data = protect(data)
            self.sealed += datagram.kind is Kind.RTP
        pair.protocol.transport.sendto(data, pair.remote_addr)


async def test_garbage_that_authenticates_is_noticed_by_no_call_but_its_own() -> None:
    garbage: Sequence[Datagram] = await asyncio.to_thread(drawn, DATAGRAMS, 400)
    unheard: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    rude = Rude()
    async with call(rude) as (attacked, _), call() as (leg, far):
        heard, todo = bytearray(), iter(garbage)
        async for tick in ticks(len(garbage) // 10 + 60):
            leg.send_packet(OURS[tick % len(OURS)])
            await far.send(THEIRS[tick % len(THEIRS)], tick)
            heard += leg.pull() or b""
            attacked.pull()
            await rude.send(THEIRS[tick % len(THEIRS)], tick, ssrc=0x5EED_0001)
            for datagram in islice(todo, 10):
                rude.utter(datagram)
        assert unheard == [], "an exception that nobody caught"
        assert abs(dominant_hz(bytes(heard[-48_000:])) - THEIRS_HZ) <= 5
        assert abs(dominant_hz(far.sound()[-24_000:]) - OURS_HZ) <= 5
        assert leg.figures().packets_lost == 0
        assert leg.live
        assert attacked.live, "garbage is no goodbye"
        assert rude.sealed > len(garbage) // 8
        assert MOST_STREAMS // 2 < len(attacked._incoming.streams) <= MOST_STREAMS, "much was let in, and little kept"
        after = bytearray()
        async for tick in ticks(45):
            await rude.send(THEIRS[tick], tick, ssrc=0x5EED_0002)
            after += attacked.pull() or b""
        assert abs(dominant_hz(bytes(after[-48_000:])) - THEIRS_HZ) <= 5, "a new stream is heard as if nothing had been"
