"""The video of one leg as packets: who may see it, what is asked for again, what is sent; audio never waits for it.

Packets are handled where they arrive, like those of sound; what can wait (asking, pacing) is done once per 20 ms round.
What nobody watches costs the opening of an SRTP packet and a look at its header.
"""

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

from aiortc import clock
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    AnyRtcpPacket,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
    clamp_packets_lost,
    pack_remb_fci,
    unpack_remb_fci,
)

from workers.media import srtp
from workers.media.rtp import ReceivedStream, RtpPacket
from workers.media.video_in import Assembler, Encoded
from workers.media.video_out import CLOCK_RATE, OutgoingVideo
from workers.media.video_sdp import VideoTerms

PACKETS_PER_ROUND: Final = 12
"""Of our own pictures in 20 ms: some 5 Mbit/s, so that a key picture does not come as one burst before the sound."""
KEY_AGAIN_S: Final = 0.5
"""A key picture is asked for no more often than this."""
KEY_GIVEN_S: Final = 0.3
"""A peer that asks for key pictures is given one no more often than this."""
REPEATED_AT_MOST: Final = 64
"""Packets sent once more for one request."""
STREAM_SILENT_S: Final = 1.0
MOST_BITS_S: Final = 1_500_000
LEAST_BITS_S: Final = 100_000
_CNAME: Final = 1


class Way(Protocol):
    """What a leg's video needs of its leg."""

    @property
    def may_send(self) -> bool: ...
    @property
    def round_trip_s(self) -> float: ...
    @property
    def cname(self) -> str: ...
    def transmit(self, length: int) -> bool: ...
    def transmit_rtcp(self, data: bytes) -> bool: ...


class Video:
    """Both directions of a leg's video."""

    def __init__(self, way: Way) -> None:
        self.terms = VideoTerms()
        self.on_key_wanted: Callable[[], None] | None = None
        """Called when the peer needs a key picture of those we make."""
        self.bits_s = MOST_BITS_S
        """What the peer bears, as far as it said (REMB)."""
        self.outgoing = OutgoingVideo()
        self.stopped = False
        """Nothing of ours is shown, although the peer would take it."""
        self._way = way
        self._viewers: list[Callable[[Encoded, float], None]] = []
        self._onward: Video | None = None
        self._source: Video | None = None
        self._ssrc: int | None = None
        self._stream = ReceivedStream()
        self._assembler: Assembler | None = None
        self._key_asked_s = self._key_given_s = 0.0
        self._key_due = False
        self._heard: tuple[int, float] | None = None  # middle of their last report's NTP time, and when it came
        self._bearable = MOST_BITS_S

    def agree(self, terms: VideoTerms) -> None:
        """Go by these terms from now on."""
        self.terms = terms
        if not terms.sending:
            self.outgoing.forget()

    # --- seen ---

    def view(self, viewer: Callable[[Encoded, float], None]) -> None:
        """Give every picture that comes to `viewer`, with the time of its last packet, beginning with a key picture."""
        self._viewers.append(viewer)
        self._key_due = True

    def unview(self, viewer: Callable[[Encoded, float], None]) -> None:
        """Give it no more."""
        if viewer in self._viewers:
            self._viewers.remove(viewer)
        self._rest()

    def forward(self, to: "Video | None") -> None:
        """Pass packets on to another leg, undecoded; None stops that."""
        if to is self._onward:
            return
        if self._onward is not None:
            self._onward._source = None
        self._onward = to
        if to is not None:
            to._source = self
            self._key_due = True
        self._rest()

    def _rest(self) -> None:
        if not self._viewers and self._onward is None:
            self._assembler = self._ssrc = None

    def ask_for_key(self) -> None:
        """Ask the peer for a key picture, in the next round."""
        self._key_due = True

    def take(self, packet: RtpPacket, at_s: float) -> None:
        """Take a packet that is no sound; it lies in `srtp.packet`."""
        codec = self.terms.arriving.get(packet.payload_type)
        if codec is None or not (self._viewers or self._onward is not None):
            return
        if packet.ssrc != self._ssrc and not self._goes_first(packet.ssrc, at_s):
            return
        if packet.ssrc != self._ssrc or self._assembler is None or self._assembler.codec != codec:
            self._ssrc, self._stream, self._assembler = packet.ssrc, ReceivedStream(), Assembler(codec)
            self._heard = None
        self._stream.take(packet._replace(timestamp=packet.timestamp * 8 // 15), at_s, timed=True)  # as if of 48 kHz
        payload = bytes(srtp.packet[packet.start : packet.end])
        if self._onward is not None:
            self._onward.pass_on(packet, codec, at_s)
        for picture in self._assembler.take(packet.sequence, packet.timestamp, payload, at_s, marker=packet.marker):
            for viewer in tuple(self._viewers):
                viewer(picture, at_s)

    def _goes_first(self, ssrc: int, at_s: float) -> bool:
        """Tell whether another stream takes the place of the one seen: one announced later, or any after a silence."""
        if self._ssrc is None or at_s - self._stream.last_at_s > STREAM_SILENT_S:
            return True
        rank = {one: place for place, one in enumerate(self.terms.announced, start=1)}
        return rank.get(ssrc, 0) > rank.get(self._ssrc, 0)

    # --- shown ---

    @property
    def peer_takes(self) -> str | None:
        """The codec that the peer likes best; None while it takes no video."""
        return next(iter(self.terms.sending), None)

    @property
    def codec(self) -> str | None:
        """What to encode with; None while nothing is to be shown."""
        return None if self.stopped else self.peer_takes

    def show(self, picture: Encoded, at_s: float) -> bool:
        """Queue a picture of ours; False where it cannot be sent, and the next must be a key picture."""
        payload_type = self.terms.sending.get(picture.codec)
        if payload_type is None or self.stopped or self._source is not None:
            return False
        return self.outgoing.put(picture.codec, payload_type, picture.data, at_s)

    def pass_on(self, packet: RtpPacket, codec: str, at_s: float) -> None:
        """Send another leg's packet, which lies in `srtp.packet`, as one of ours, where our peer takes that codec."""
        payload_type = self.terms.sending.get(codec)
        if payload_type is None or self.stopped or not self._way.may_send:
            return
        length = self.outgoing.pass_on(srtp.packet, packet, payload_type, at_s)
        if length:
            self._way.transmit(length)

    # --- once per round ---

    def round(self, at_s: float) -> None:
        """Send what is due, and ask for what is missing."""
        if self.outgoing.waiting:
            for _ in range(PACKETS_PER_ROUND):
                length = self.outgoing.write(srtp.packet) if self._way.may_send else 0
                if not length:
                    break
                self._way.transmit(length)
        assembler = self._assembler
        if assembler is None or self._ssrc is None:
            return
        missing = assembler.missing(at_s, self._way.round_trip_s)
        if missing:
            self._way.transmit_rtcp(bytes(RtcpRtpfbPacket(RTCP_RTPFB_NACK, self.outgoing.ssrc, self._ssrc, missing)))
        if (assembler.wants_key or self._key_due) and at_s - self._key_asked_s >= KEY_AGAIN_S:
            self._key_asked_s, self._key_due = at_s, False
            self._way.transmit_rtcp(bytes(RtcpPsfbPacket(RTCP_PSFB_PLI, self.outgoing.ssrc, self._ssrc)))

    # --- reported ---

    @property
    def idle(self) -> bool:
        """Whether there is nothing to report on, and nothing of the peer's reports concerns video."""
        return self._assembler is None and not self.outgoing.packets

    def report(self, at_s: float) -> bytes:
        """Return a compound report: what we sent, what we received, and how much we bear."""
        ours, blocks, tail = self.outgoing.ssrc, list[RtcpReceiverInfo](), b""
        if self._ssrc is not None:
            block = self._block(self._ssrc, at_s)
            blocks.append(block)
            tail = bytes(RtcpPsfbPacket(RTCP_PSFB_APP, ours, 0, pack_remb_fci(self._bearable, [self._ssrc])))
        report: AnyRtcpPacket = RtcpRrPacket(ssrc=ours, reports=blocks)
        if self.outgoing.packets:
            sent = RtcpSenderInfo(
                ntp_timestamp=clock.datetime_to_ntp(datetime.now(UTC)),
                rtp_timestamp=self.outgoing.timestamp_at(at_s),
                packet_count=self.outgoing.packets & 0xFFFFFFFF,
                octet_count=self.outgoing.octets & 0xFFFFFFFF,
            )
            report = RtcpSrPacket(ssrc=ours, sender_info=sent, reports=blocks)
        name = RtcpSourceInfo(ssrc=ours, items=[(_CNAME, self._way.cname.encode())])
        return bytes(report) + bytes(RtcpSdesPacket(chunks=[name])) + tail

    def _block(self, ssrc: int, at_s: float) -> RtcpReceiverInfo:
        fraction = self._stream.fraction_lost()
        # more than a tenth lost: bear less; nothing lost: more again (as loss-based congestion controllers do)
        change = 1 - fraction / 512 if fraction > 25 else 1.08 if fraction < 5 else 1.0
        self._bearable = int(min(MOST_BITS_S, max(LEAST_BITS_S, self._bearable * change)))
        middle, came_at_s = self._heard or (0, at_s)
        return RtcpReceiverInfo(
            ssrc=ssrc,
            fraction_lost=fraction,
            packets_lost=clamp_packets_lost(self._stream.lost),
            highest_sequence=self._stream.highest & 0xFFFFFFFF,
            jitter=int((self._stream.jitter_ms or 0.0) * CLOCK_RATE / 1000),
            lsr=middle,
            dlsr=int((at_s - came_at_s) * 65536) & 0xFFFFFFFF if middle else 0,
        )

    def read(self, data: bytes, at_s: float) -> None:
        """Do what the peer's RTCP asks of our video; a malformed packet asks nothing."""
        try:
            packets = RtcpPacket.parse(data)
        except Exception:  # noqa: BLE001  # the parser raises whatever it meets, and the packet is the peer's business
            return
        for packet in packets:
            match packet:
                case RtcpSrPacket(ssrc=self._ssrc):
                    self._heard = packet.sender_info.ntp_timestamp >> 16 & 0xFFFFFFFF, at_s
                case RtcpRtpfbPacket(fmt=1, media_ssrc=self.outgoing.ssrc):
                    self._repeat(packet.lost)
                case RtcpPsfbPacket(fmt=1 | 4):
                    self._give_key(packet, at_s)
                case RtcpPsfbPacket(fmt=15):
                    self._note_bearable(packet)
                case _:
                    pass

    def _repeat(self, numbers: list[int]) -> None:
        for number in numbers[:REPEATED_AT_MOST]:
            length = self.outgoing.again(srtp.packet, number) if self._way.may_send else 0
            if length:
                self._way.transmit(length)

    def _give_key(self, packet: RtcpPsfbPacket, at_s: float) -> None:
        asked = packet.media_ssrc
        if packet.fmt == RTCP_PSFB_FIR and len(packet.fci) >= 4:
            (asked,) = struct.unpack_from("!L", packet.fci)
        if asked != self.outgoing.ssrc or at_s - self._key_given_s < KEY_GIVEN_S:
            return
        self._key_given_s = at_s
        if self._source is not None:
            self._source.ask_for_key()
        elif self.on_key_wanted is not None:
            self.on_key_wanted()

    def _note_bearable(self, packet: RtcpPsfbPacket) -> None:
        try:
            bits_s, _ = unpack_remb_fci(packet.fci)
        except Exception:  # noqa: BLE001  # some other application's packet
            return
        self.bits_s = min(MOST_BITS_S, max(LEAST_BITS_S, bits_s))
