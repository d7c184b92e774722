"""The sound of one leg as packets (an RTP session, RFC 3550): heard, played out, passed on, sent, and reported on.

Packets are handled where they arrive and sent where they are made, in the thread of the leg's loop, without a task.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from workers.media import dtmf, srtp
from workers.media.keys import Keys
from workers.media.opus import MAX_PACKET_BYTES
from workers.media.peer import MediaTransport
from workers.media.playout import Playout
from workers.media.rtcp import Reports
from workers.media.rtp import SAMPLES_20_MS, Heard, IncomingAudio, OutgoingAudio, RtpPacket, parse
from workers.media.sdp_gate import AudioTerms
from workers.media.video import Video

FIRST_REPORT_S, REPORT_INTERVAL_S = 0.5, 2.5


@dataclass(frozen=True, slots=True)
class LegFigures:
    """What was measured on a leg so far, counted from its start; docs/quality.md tells how.

    None where nothing was there to measure by: the peer gave no report, or its sound was not decoded. `peer` figures
    are what the peer's reports say of what we send.
    """

    packets_received: int
    packets_lost: int
    packets_sent: int
    jitter_ms: float | None
    round_trip_ms: float | None
    concealed_ms: float | None
    played_ms: float
    jitter_buffer_ms: float | None
    first_packet_ms: float | None
    silent_concealed_ms: float | None = None
    recovered_ms: float | None = None
    paused_ms: float | None = None
    late_packets: int | None = None
    decoded_packets: int = 0
    round_trip_last_ms: float | None = None
    round_trip_min_ms: float | None = None
    round_trip_max_ms: float | None = None
    round_trip_total_ms: float = 0.0
    round_trips: int = 0
    peer_reports: int | None = None
    peer_lost: int | None = None
    peer_lost_of: int | None = None
    peer_fraction_lost: float | None = None
    peer_jitter_ms: float | None = None


class RtpSession:
    """Both directions of a leg's sound, once `begin` has said that there is a way; how there comes to be one: `Leg`."""

    _media: MediaTransport
    """Set before anything is said or heard."""

    def __init__(self) -> None:
        self.on_digit: Callable[[dtmf.Digit], None] | None = None
        self.on_sound: Callable[[int, int, bytes, float], None] | None = None
        """Called with the SSRC, timestamp, payload and time of arrival, s, of what is heard, decoded or not."""
        self.on_said: Callable[[int, int, bytes, float], None] | None = None
        """The same of what is said, when it leaves."""
        self._hearing = True  # who hears from the beginning misses no packet that was faster
        self.may_speak: Callable[[], bool] = lambda: True
        """Asked before anything is sent, goodbyes included: whether the call is still ours."""
        self.muted = False
        """Whether nothing of our sound is sent but comfort; keys are."""
        self.dtx = False
        """Whether pauses of our speech are left out (DTX, RFC 7587 section 3.1.3)."""
        self.wishes: Mapping[str, int] = {}
        """How the peer wants its sound encoded; see `AudioTerms`."""
        self._incoming = IncomingAudio()
        self._outgoing = OutgoingAudio()
        self._playout = Playout()
        self._keys = Keys(self._tell)
        self._reports = Reports(self._incoming, self._outgoing)
        self.video = Video(self)
        self._onward: RtpSession | None = None
        self._live = self._left = False
        self._connected_s: float | None = None
        self._first_packet_s: float | None = None
        self._next_report: asyncio.TimerHandle | None = None

    @property
    def live(self) -> bool:
        """Whether media can flow now."""
        return self._live

    def _begin(self) -> None:
        """Speak and listen from now on."""
        self._live = True
        self._connected_s = time.monotonic()
        self._next_report = asyncio.get_running_loop().call_later(FIRST_REPORT_S, self._report)

    def _cease(self) -> None:
        """Say nothing more."""
        self._live = False
        if self._next_report is not None:
            self._next_report.cancel()
            self._next_report = None

    def _agree(self, terms: AudioTerms) -> None:
        """Go by these terms from now on."""
        self._incoming.expect(terms.opus, terms.events, terms.announced)
        self._outgoing.payload_type = terms.sending
        self._outgoing.events = terms.sending_events
        self.wishes = terms.wishes

    # --- said ---

    def send_packet(self, payload: bytes, *, samples: int = SAMPLES_20_MS, comfort: bool = False) -> bool:
        """Send one Opus packet that plays `samples` at 48 kHz; tell whether it left."""
        if self.muted and not comfort:
            self._outgoing.leave_out(samples)
            return False
        if not self._live or len(payload) > MAX_PACKET_BYTES or not self.may_speak():
            return False
        at_s = time.monotonic()
        length = self._outgoing.write(srtp.packet, payload, samples, at_s)
        self._tell_said(length, at_s)
        return length > 0 and self._media.send(length)

    def _tell_said(self, length: int, at_s: float) -> None:
        """Tell who wants it of a packet of sound that is about to leave; it lies in `srtp.packet`."""
        if self.on_said is not None and (said := parse(srtp.packet, length)) is not None:
            self.on_said(said.ssrc, said.timestamp, bytes(srtp.packet[said.start : said.end]), at_s)

    def leave_out(self, samples: int = SAMPLES_20_MS) -> None:
        """Send nothing for so many samples at 48 kHz, which are a pause and no loss."""
        self._outgoing.leave_out(samples)

    @property
    def event_rate(self) -> int | None:
        """Clock rate of the events the peer takes, Hz; None if it takes none."""
        return None if self._outgoing.events is None else self._outgoing.events[1]

    def send_event(self, payload: bytes, *, marker: bool, age: int) -> bool:
        """Send an event packet in place of 20 ms; tell whether it left. See `OutgoingAudio.write_event`."""
        if not self._live or not self.may_speak():
            return False
        length = self._outgoing.write_event(srtp.packet, payload, time.monotonic(), marker=marker, age=age)
        return length > 0 and self._media.send(length)

    # --- heard ---

    def hear(self, wanted: bool = True) -> None:  # a verb and its opposite
        """Keep what is heard from now on, for somebody to `pull`; what nobody hears is counted, and not kept."""
        if wanted and not self._hearing:
            self._playout.restart()
        self._hearing = wanted

    def pull(self, rate: int = 48_000) -> bytes | None:
        """Return the next 20 ms of what the consumer says (mono, s16); None before anything arrived."""
        self.hear()
        return self._playout.pull(time.monotonic(), rate)

    def take_rtp(self, length: int, at_s: float) -> None:
        """Take an authenticated RTP packet from the transport; it lies in `srtp.packet`."""
        packet = parse(srtp.packet, length)
        if packet is None or self._left:
            return
        if self._first_packet_s is None:
            self._first_packet_s = at_s
        before = self._incoming.heard
        heard = self._incoming.take(packet, at_s)
        if heard is Heard.SOUND:
            if self._hearing or self.on_sound is not None:
                self._keep(packet, at_s, another=before is not None and before != packet.ssrc)
            if self._onward is not None:
                self._onward.pass_on(packet, at_s)
        elif heard is Heard.EVENT:
            self._take_event(packet, at_s)
        elif self.video.terms.arriving:
            self.video.take(packet, at_s)

    def _keep(self, packet: RtpPacket, at_s: float, *, another: bool) -> None:
        """Keep a packet of sound for who wants it; `another` stream was heard before."""
        payload = bytes(srtp.packet[packet.start : packet.end])
        if self.on_sound is not None:
            self.on_sound(packet.ssrc, packet.timestamp, payload, at_s)
        if self._hearing:
            if another:
                self._playout.restart()
            self._playout.push(packet.sequence, packet.timestamp, payload, at_s)

    def _take_event(self, packet: RtpPacket, at_s: float) -> None:
        if self._hearing and packet.ssrc == self._incoming.heard:
            self._playout.pass_over(packet.sequence, packet.timestamp)
        rate = self._incoming.events[packet.payload_type]
        payload = bytes(srtp.packet[packet.start : packet.end])
        if self._onward is not None:
            self._onward.pass_on_event(packet, rate, at_s)
        self._keys.take(payload, packet.ssrc, packet.timestamp, rate, at_s, marker=packet.marker)

    def _tell(self, digit: dtmf.Digit) -> None:
        if self.on_digit is not None and not self._left:
            self.on_digit(digit)

    def forward(self, to: "RtpSession | None") -> None:
        """Pass everything heard on to another leg (or back, to this one) without decoding it; None stops that."""
        self._onward = to

    def pass_on(self, packet: RtpPacket, at_s: float) -> None:
        """Send another leg's packet, which lies in `srtp.packet`, as one of ours; nothing is left of it there."""
        if self._outgoing.payload_type is None or self.muted or not self._live or not self.may_speak():
            return
        length = self._outgoing.pass_on(srtp.packet, packet, self._outgoing.payload_type, at_s)
        if length:
            self._tell_said(length, at_s)
            self._media.send(length)

    def pass_on_event(self, packet: RtpPacket, rate: int, at_s: float) -> None:
        """Send another leg's event packet as one of ours, its durations counted at the rate our peer wants."""
        if self._outgoing.events is None or not self._live or not self.may_speak():
            return
        payload_type, wanted = self._outgoing.events
        dtmf.rescale(srtp.packet, packet.start, packet.end, rate, wanted)
        length = self._outgoing.pass_on(srtp.packet, packet, payload_type, at_s)
        if length:
            self._media.send(length)

    # --- reported ---

    def take_rtcp(self, data: bytes, at_s: float) -> None:
        """Take an authenticated RTCP packet from the transport."""
        self._reports.read(data, at_s)
        if not self.video.idle:
            self.video.read(data, at_s)

    def _report(self) -> None:
        if self.may_speak():
            self._media.send_rtcp(self._reports.write(time.monotonic()))
            if not self.video.idle:
                self._media.send_rtcp(self.video.report(time.monotonic()))
        pause_s = REPORT_INTERVAL_S * random.uniform(0.8, 1.2)
        self._next_report = asyncio.get_running_loop().call_later(pause_s, self._report)

    def _send_bye(self) -> None:
        self._media.send_rtcp(self._reports.bye())

    # --- what video needs ---

    @property
    def may_send(self) -> bool:
        """Whether something may be sent now."""
        return self._live and self.may_speak()

    @property
    def round_trip_s(self) -> float:
        """The round trip as far as it is known; 0 before."""
        return (self._reports.round_trip_ms or 0.0) / 1000

    @property
    def cname(self) -> str:
        """Our name in RTCP."""
        return self._reports.cname

    def transmit(self, length: int) -> bool:
        """Send the RTP packet of so many bytes that lies in `srtp.packet`."""
        return self._media.send(length)

    def transmit_rtcp(self, data: bytes) -> bool:
        """Send an RTCP packet."""
        return self.may_send and self._media.send_rtcp(data)

    # --- figures ---

    @property
    def packets_sent(self) -> int:
        """Packets of sound that left, those passed on included."""
        return self._outgoing.packets

    @property
    def loss_at_peer(self) -> float | None:
        """Share of our packets that the peer lost lately, as it last reported; None if it never did."""
        return self._reports.peer.fraction_lost

    def figures(self) -> LegFigures:
        """Return what was measured so far."""
        first_packet_ms = None
        if self._first_packet_s is not None and self._connected_s is not None:
            first_packet_ms = max(0.0, self._first_packet_s - self._connected_s) * 1000
        playout, peer = self._playout, self._reports.peer
        decoded = playout.played_ms > 0
        return LegFigures(
            packets_received=self._incoming.received,
            packets_lost=self._incoming.lost,
            packets_sent=self._outgoing.packets,
            jitter_ms=self._incoming.jitter_ms,
            round_trip_ms=self._reports.round_trip_ms,
            concealed_ms=playout.concealed_ms if decoded else None,
            played_ms=playout.played_ms,
            jitter_buffer_ms=playout.delay_ms,
            first_packet_ms=first_packet_ms,
            silent_concealed_ms=playout.silent_concealed_ms if decoded else None,
            recovered_ms=playout.recovered_ms if decoded else None,
            paused_ms=playout.silent_ms if decoded else None,
            late_packets=playout.late_packets if decoded else None,
            decoded_packets=playout.decoded_packets,
            round_trip_last_ms=peer.round_trip_last_ms,
            round_trip_min_ms=peer.round_trip_min_ms,
            round_trip_max_ms=peer.round_trip_max_ms,
            round_trip_total_ms=peer.round_trip_total_ms,
            round_trips=peer.round_trips,
            peer_reports=peer.reports,
            peer_lost=peer.lost,
            peer_lost_of=peer.lost_of,
            peer_fraction_lost=peer.fraction_lost,
            peer_jitter_ms=peer.jitter_ms,
        )
