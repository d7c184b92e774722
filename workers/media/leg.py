"""One WebRTC leg of a call: an offer, an answer, and then Opus both ways until somebody leaves.

A leg belongs to one event loop and is used from its thread only. It starts no thread and, while media flows, no task of
its own; packets are handled where they arrive and sent where they are made.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from workers.media import sdp_gate, srtp
from workers.media.ice import SILENCE_LIMIT_S
from workers.media.opus import MAX_PACKET_BYTES
from workers.media.path import MediaPath
from workers.media.peer import Peer
from workers.media.playout import Playout
from workers.media.rtcp import Reports
from workers.media.rtp import SAMPLES_20_MS, Heard, IncomingAudio, OutgoingAudio, RtpPacket, parse
from workers.media.turn import Relays

NEGOTIATION_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 2.0
FIRST_REPORT_S, REPORT_INTERVAL_S = 0.5, 2.5

log = structlog.get_logger()


class LegFailed(Exception):
    """A leg could not be set up or changed; `reason` says why and quotes no description."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LegFigures:
    """What was measured on a leg so far; None where the peer gave nothing to measure by."""

    packets_received: int
    packets_lost: int
    packets_sent: int
    jitter_ms: float | None
    round_trip_ms: float | None
    concealed_ms: float
    played_ms: float
    jitter_buffer_ms: float | None
    first_packet_ms: float | None


class Leg:
    """One media connection; `offer`, `apply`, `connected`, then `send_packet` and `pull` once per 20 ms.

    Args:
        addresses: local addresses to gather on, 127.0.0.1 too if wanted; empty for all but loopback.
        ports: inclusive range of local UDP ports; None for any.
        relays: TURN servers, for where UDP is blocked.
        silence_limit_s: the peer is dead when nothing authenticated (RTP, RTCP, consent) came for so long.
        fast: take packets straight from the socket. False goes aiortc's way, to compare and to fall back.
    """

    def __init__(
        self,
        *,
        addresses: tuple[str, ...] = (),
        ports: tuple[int, int] | None = None,
        relays: Relays | None = None,
        silence_limit_s: float = SILENCE_LIMIT_S,
        fast: bool = True,
    ) -> None:
        self.on_ended: Callable[[str], None] | None = None
        self.hearing = False
        """Whether somebody pulls; what nobody hears is counted, and not kept."""
        self.may_speak: Callable[[], bool] = lambda: True
        """Asked before anything is sent, goodbyes included: whether the call is still ours."""
        self._incoming = IncomingAudio()
        self._outgoing = OutgoingAudio()
        self._playout = Playout()
        self._onward: Leg | None = None
        path = MediaPath(addresses, ports, relays, silence_limit_s=silence_limit_s)
        self._peer = Peer(self, self._outgoing.ssrc, path, fast=fast)
        self._reports = Reports(self._incoming, self._outgoing, cname=self._peer.cname)
        self._negotiating = asyncio.Lock()
        self._settled = asyncio.Event()  # connected, or never will be
        self._terms: sdp_gate.AudioTerms | None = None
        self._connected_s: float | None = None
        self._first_packet_s: float | None = None
        self._ended = self._left = False
        self._next_report: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._peer.on("connectionstatechange", self._on_state)

    # --- negotiation ---

    async def offer(self) -> str:
        """Return the complete offer, candidates included.

        Raises:
            LegFailed: no local address could be used.
        """
        async with self._step("the offer could not be made"):
            offer = await self._peer.offer()
        return sdp_gate.advertise(offer)

    async def apply(self, answer: str, renegotiation: str | None) -> None:
        """Apply the answer and, back to back, the renegotiation offer that usually comes with it.

        Raises:
            LegFailed: one of them was refused; close the leg.
        """
        async with self._step("the answer was refused"):
            admitted = sdp_gate.admit_answer(answer)
            await self._peer.take_answer(admitted)
            self._agree(admitted)
        if renegotiation is not None:
            await self.renegotiate(renegotiation)
        if sdp_gate.audio_terms(admitted).has_candidates:  # else the peer's own checks are awaited
            async with self._step("the candidates were refused"):
                await self._peer.end_candidates()

    async def renegotiate(self, offer: str) -> str:
        """Apply a later offer of the peer and return our answer, for a peer that wants it; Meta does not.

        New ICE credentials in it make a second connection, which carries the media once it is connected; where it is
        not within 10 s, the first goes on.

        Raises:
            LegFailed: it was refused. The media goes on as agreed before.
        """
        async with self._step("the peer's offer was refused"):
            admitted = sdp_gate.admit_offer(offer, in_force=self._terms)
            terms = sdp_gate.audio_terms(admitted)
            restarted = self._terms is not None and not terms.same_ice(self._terms)
            answer = await self._peer.take_offer(admitted, terms if restarted else None)
            self._agree(admitted)
            return sdp_gate.advertise_answer(answer, offer)

    async def connected(self, timeout_s: float = 10.0) -> None:
        """Wait until media can flow.

        Raises:
            LegFailed: the connection failed, the peer left, or `timeout_s` passed.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._settled.wait()
        except TimeoutError:
            raise LegFailed(f"no media connection within {timeout_s:g} s; is outbound UDP allowed?") from None
        if not self.live:
            raise LegFailed("the media connection failed") from self._peer.failure

    @asynccontextmanager
    async def _step(self, what: str) -> AsyncIterator[None]:
        """Run one negotiation step alone and under a timeout; whatever goes wrong in aiortc is a LegFailed."""
        async with self._negotiating:
            if self._left:
                raise LegFailed(f"{what}: the leg is closed")
            try:
                async with asyncio.timeout(NEGOTIATION_TIMEOUT_S):
                    yield
            except TimeoutError as error:
                raise LegFailed(f"{what}: it took more than {NEGOTIATION_TIMEOUT_S:g} s") from error
            except (sdp_gate.SdpRefused, OSError) as error:
                raise LegFailed(f"{what}: {error}") from error
            except Exception as error:
                # The type alone: messages of the parser may quote the description.
                raise LegFailed(f"{what}: {type(error).__name__} in aiortc") from error

    def _agree(self, admitted: str) -> None:
        terms = self._terms = sdp_gate.audio_terms(admitted)
        self._incoming.expect(terms.opus, terms.events, terms.announced)
        self._outgoing.payload_type = terms.sending

    # --- life ---

    @property
    def live(self) -> bool:
        """Whether media can flow now."""
        return self._connected_s is not None and not self._ended and not self._left

    def _on_state(self) -> None:
        state = self._peer.connectionState
        if state == "connected" and self._connected_s is None and not self._left:
            self._connected_s = time.monotonic()
            self._next_report = asyncio.get_running_loop().call_later(FIRST_REPORT_S, self._report)
            self._settled.set()
        elif state in {"failed", "closed"} or self._peer.failure is not None:
            self._end()

    def _end(self) -> None:
        """The peer went away, or never came."""
        was_live = self.live
        self._ended = True
        self._settled.set()
        self._stop_reports()
        if was_live and self.on_ended is not None:
            pulse = self._peer.path.pulse
            silent = pulse.silent_s() >= pulse.limit_s
            self.on_ended(f"nothing was heard of the peer for {pulse.limit_s:g} s" if silent else "the peer closed")

    def mute_forever(self) -> None:
        """Stop sending at once, without goodbye: close the sockets. For a worker that lost the right to speak."""
        self._left = True
        self._stop_reports()
        self._peer.path.mute()
        self._settled.set()

    async def close(self) -> None:
        """Say goodbye and close everything, within 2 s; may be called again and never raises."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if not self.may_speak():
            self.mute_forever()
        elif self.live:
            self._send_bye()
        self._left = True
        self._stop_reports()
        self._settled.set()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._peer.close()
        except Exception as error:  # noqa: BLE001  # whatever aiortc left behind, the sockets must go
            log.warning("leg.closed_hard", error=type(error).__name__)
            self._peer.path.mute()

    # --- media ---

    def send_packet(self, payload: bytes, *, samples: int = SAMPLES_20_MS) -> bool:
        """Send one Opus packet that plays `samples` at 48 kHz; tell whether it left."""
        if not self.live or len(payload) > MAX_PACKET_BYTES or not self.may_speak():
            return False
        length = self._outgoing.write(srtp.packet, payload, samples, time.monotonic())
        return length > 0 and self._peer.media.send(length)

    def pull(self, rate: int = 48_000) -> bytes | None:
        """Return the next 20 ms of what the consumer says (mono, s16); None before anything arrived."""
        if not self.hearing:
            self.hearing = True
            self._playout.restart()
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
        if heard is Heard.NOTHING:
            return
        if self.hearing:
            self._play(packet, heard, at_s, another=before is not None and before != packet.ssrc)
        if self._onward is not None:
            self._onward.pass_on(packet, heard, at_s)

    def _play(self, packet: RtpPacket, heard: Heard, at_s: float, *, another: bool) -> None:
        if heard is Heard.EVENT:
            self._playout.pass_over(packet.sequence)
            return
        if another:
            self._playout.restart()
        payload = bytes(srtp.packet[packet.start : packet.end])
        self._playout.push(packet.sequence, packet.timestamp, payload, at_s)

    def forward(self, to: "Leg | None") -> None:
        """Pass everything heard on to another leg (or back, to this one) without decoding it; None stops that."""
        self._onward = to

    def pass_on(self, packet: RtpPacket, heard: Heard, at_s: float) -> None:
        """Send another leg's packet, which lies in `srtp.packet`, as one of ours; nothing is left of it there."""
        if heard is not Heard.SOUND or self._outgoing.payload_type is None or not self.live or not self.may_speak():
            return
        length = self._outgoing.pass_on(srtp.packet, packet, self._outgoing.payload_type, at_s)
        if length:
            self._peer.media.send(length)

    def take_rtcp(self, data: bytes, at_s: float) -> None:
        """Take an authenticated RTCP packet from the transport."""
        self._reports.read(data, at_s)

    def _report(self) -> None:
        if self.may_speak():
            self._peer.media.send_rtcp(self._reports.write(time.monotonic()))
        pause_s = REPORT_INTERVAL_S * random.uniform(0.8, 1.2)
        self._next_report = asyncio.get_running_loop().call_later(pause_s, self._report)

    def _stop_reports(self) -> None:
        if self._next_report is not None:
            self._next_report.cancel()
            self._next_report = None

    def _send_bye(self) -> None:
        self._peer.media.send_rtcp(self._reports.bye())

    # --- figures ---

    @property
    def packets_sent(self) -> int:
        """Packets of sound that left, those passed on included."""
        return self._outgoing.packets

    def figures(self) -> LegFigures:
        """Return what was measured so far."""
        first_packet_ms = None
        if self._first_packet_s is not None and self._connected_s is not None:
            first_packet_ms = max(0.0, self._first_packet_s - self._connected_s) * 1000
        return LegFigures(
            packets_received=self._incoming.received,
            packets_lost=self._incoming.lost,
            packets_sent=self._outgoing.packets,
            jitter_ms=self._incoming.jitter_ms,
            round_trip_ms=self._reports.round_trip_ms,
            concealed_ms=self._playout.concealed_ms,
            played_ms=self._playout.played_ms,
            jitter_buffer_ms=self._playout.delay_ms,
            first_packet_ms=first_packet_ms,
        )
