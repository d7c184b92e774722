"""Our side of RTCP: the reports we send about what we hear, and what the peer's reports tell us."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from aiortc import clock
from aiortc.rtp import (
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
    clamp_packets_lost,
)

from workers.media.rtp import CLOCK_RATE, IncomingAudio, OutgoingAudio

_CNAME = 1  # RFC 3550 section 6.5.1
_MAX_REPORTS = 31  # the count has five bits
_REMEMBERED = 8  # sender reports an answer may still come to
_SMOOTHING = 0.15


@dataclass(slots=True)
class PeerView:
    """What the peer's reports say; None where they have not said it."""

    reports: int = 0
    """How many came, whether they speak of our stream or not: a peer that hears nothing of us reports on nothing."""
    lost: int | None = None
    """Our packets that never reached it; duplicates count against them, even below 0 (RFC 3550 section 6.4.1)."""
    lost_of: int | None = None
    """How many we had sent when it said so."""
    fraction_lost: float | None = None
    """Share lost between its last two reports, 0 to 1."""
    jitter_ms: float | None = None
    round_trip_last_ms: float | None = None
    round_trip_min_ms: float | None = None
    round_trip_max_ms: float | None = None
    round_trip_total_ms: float = 0.0
    round_trips: int = 0

    def timed(self, round_trip_ms: float) -> None:
        """Take a measured round trip."""
        self.round_trip_last_ms = round_trip_ms
        lowest_ms, highest_ms = self.round_trip_min_ms, self.round_trip_max_ms
        self.round_trip_min_ms = round_trip_ms if lowest_ms is None else min(lowest_ms, round_trip_ms)
        self.round_trip_max_ms = round_trip_ms if highest_ms is None else max(highest_ms, round_trip_ms)
        self.round_trip_total_ms += round_trip_ms
        self.round_trips += 1


class Reports:
    """Writes and reads the reports of one leg; knows the round trip only from a peer that reports back."""

    def __init__(self, incoming: IncomingAudio, outgoing: OutgoingAudio, cname: str = "") -> None:
        self.round_trip_ms: float | None = None
        self.peer = PeerView()
        self.cname = cname
        self._incoming = incoming
        self._outgoing = outgoing
        self._heard: dict[int, tuple[int, float]] = {}  # SSRC -> middle of its last report's NTP time, and when it came
        self._asked: dict[int, float] = {}  # middle of our report's NTP time -> when we sent it

    def write(self, at_s: float) -> bytes:
        """Return a compound report: what we sent (if anything), what we hear, and our CNAME."""
        blocks = [self._block(ssrc, at_s) for ssrc in tuple(self._incoming.streams)[-_MAX_REPORTS:]]
        report: AnyRtcpPacket = RtcpRrPacket(ssrc=self._outgoing.ssrc, reports=blocks)
        if self._outgoing.packets:
            ntp = clock.datetime_to_ntp(datetime.now(UTC))
            self._asked[ntp >> 16 & 0xFFFFFFFF] = at_s
            if len(self._asked) > _REMEMBERED:
                del self._asked[next(iter(self._asked))]
            sent = RtcpSenderInfo(
                ntp_timestamp=ntp,
                rtp_timestamp=self._outgoing.timestamp_at(at_s),
                packet_count=self._outgoing.packets & 0xFFFFFFFF,
                octet_count=self._outgoing.octets & 0xFFFFFFFF,
            )
            report = RtcpSrPacket(ssrc=self._outgoing.ssrc, sender_info=sent, reports=blocks)
        name = RtcpSourceInfo(ssrc=self._outgoing.ssrc, items=[(_CNAME, self.cname.encode())])
        return bytes(report) + bytes(RtcpSdesPacket(chunks=[name]))

    def _block(self, ssrc: int, at_s: float) -> RtcpReceiverInfo:
        stream = self._incoming.streams[ssrc]
        middle, came_at_s = self._heard.get(ssrc, (0, at_s))
        return RtcpReceiverInfo(
            ssrc=ssrc,
            fraction_lost=stream.fraction_lost(),
            packets_lost=clamp_packets_lost(stream.lost),
            highest_sequence=stream.highest & 0xFFFFFFFF,
            jitter=int((stream.jitter_ms or 0.0) * CLOCK_RATE / 1000),
            lsr=middle,
            dlsr=int((at_s - came_at_s) * 65536) & 0xFFFFFFFF if middle else 0,
        )

    def bye(self) -> bytes:
        """Return the goodbye of our stream, in the compound form that RFC 3550 section 6.1 asks for."""
        return self.write(time.monotonic()) + bytes(RtcpByePacket(sources=[self._outgoing.ssrc]))

    def read(self, data: bytes, at_s: float) -> None:
        """Learn from a compound packet of the peer; a malformed one teaches nothing."""
        try:
            packets = RtcpPacket.parse(data)
        except Exception:  # noqa: BLE001  # the parser raises whatever it meets, and the packet is the peer's business
            return
        for packet in packets:
            if isinstance(packet, RtcpSrPacket) and packet.ssrc in self._incoming.streams:
                self._heard[packet.ssrc] = (packet.sender_info.ntp_timestamp >> 16 & 0xFFFFFFFF, at_s)
            if isinstance(packet, RtcpSrPacket | RtcpRrPacket):
                self.peer.reports += 1
                for block in packet.reports:
                    if block.ssrc == self._outgoing.ssrc:
                        self._note(block)
                        self._time(block, at_s)

    def _note(self, block: RtcpReceiverInfo) -> None:
        peer = self.peer
        peer.lost, peer.lost_of = block.packets_lost, self._outgoing.packets
        peer.fraction_lost = block.fraction_lost / 256
        peer.jitter_ms = block.jitter * 1000 / CLOCK_RATE

    def _time(self, block: RtcpReceiverInfo, at_s: float) -> None:
        asked_at_s = self._asked.get(block.lsr)
        if asked_at_s is None:
            return
        measured_ms = max(0.0, at_s - asked_at_s - block.dlsr / 65536) * 1000
        self.peer.timed(measured_ms)
        known_ms = measured_ms if self.round_trip_ms is None else self.round_trip_ms
        self.round_trip_ms = known_ms + (measured_ms - known_ms) * _SMOOTHING
