"""One WebRTC leg of a call: an offer, an answer, and then Opus both ways until somebody leaves.

A leg belongs to one event loop and is used from its thread only. It starts no thread and, while media flows, no task of
its own.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import structlog

from shared.calls.facts import PEER_CLOSED
from workers.media import sdp_gate
from workers.media.ice import SILENCE_LIMIT_S
from workers.media.path import MediaPath
from workers.media.peer import Peer
from workers.media.session import RtpSession
from workers.media.turn import Relays
from workers.media.video_sdp import OurTracks, Place, places, video_terms, write_offer

NEGOTIATION_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 2.0

log = structlog.get_logger()


class LegFailed(Exception):
    """A leg could not be set up or changed; `reason` says why and quotes no description."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Leg(RtpSession):
    """One media connection; `offer`, `apply`, `connected`, then `send_packet` and `pull` once per 20 ms.

    Args:
        addresses: local addresses to gather on, 127.0.0.1 too if wanted; empty for all but loopback.
        ports: inclusive range of local UDP ports; None for any.
        relays: TURN servers, for where UDP is blocked.
        silence_limit_s: the peer is dead when nothing authenticated (RTP, RTCP, consent) came for so long.
        dtx: leave out the pauses of what is said.
        fast: take packets straight from the socket. False goes aiortc's way, to compare and to fall back.
    """

    def __init__(
        self,
        *,
        addresses: tuple[str, ...] = (),
        ports: tuple[int, int] | None = None,
        relays: Relays | None = None,
        silence_limit_s: float = SILENCE_LIMIT_S,
        dtx: bool = False,
        fast: bool = True,
    ) -> None:
        super().__init__()
        self.dtx = dtx
        self.on_ended: Callable[[str], None] | None = None
        path = MediaPath(addresses, ports, relays, silence_limit_s=silence_limit_s)
        self._peer = Peer(self, self._outgoing.ssrc, path, fast=fast)
        self._media = self._peer.media
        self._reports.cname = self._peer.cname
        self._negotiating = asyncio.Lock()
        self._settled = asyncio.Event()  # connected, or never will be
        self._terms: sdp_gate.AudioTerms | None = None
        self._places: list[Place] = []
        self._offers = 0  # of ours, in the running call
        self.video_track = str(uuid.uuid4())
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
            self._terms = sdp_gate.audio_terms(admitted)
            self._agree(self._terms)
            self._places = places(answer)
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
            admitted = sdp_gate.admit_offer(offer, in_force=self._terms_in_force())
            terms = sdp_gate.audio_terms(admitted)
            restarted = self._terms is not None and (terms.ufrag, terms.password) != self._peer.path.far_end
            answer = await self._peer.take_offer(admitted, terms if restarted else None)
            self._adopt(terms, offer)
            return sdp_gate.advertise_answer(answer, offer, self._tracks)

    def offer_again(self) -> str:
        """Return an offer to the peer of the running call: everything as it is, and our video.

        Nothing changes by it: what becomes of it is told by `take_answer_again`, or it is forgotten.

        Raises:
            LegFailed: there is nothing yet to be changed.
        """
        if not self.live:
            raise LegFailed("only a call with media can change it")
        self._offers += 1
        return write_offer(self._peer.localDescription.sdp, self._places, self._tracks, self._offers)

    async def take_answer_again(self, answer: str) -> None:
        """Apply the answer to our last offer of the running call.

        Raises:
            LegFailed: it was refused. The media goes on as agreed before.
        """
        async with self._step("the answer to our change was refused"):
            terms = sdp_gate.audio_terms(sdp_gate.admit_answer(answer))
            self._adopt(terms, answer)

    def _adopt(self, terms: sdp_gate.AudioTerms, description: str) -> None:
        """Go by a description of a running call."""
        video = video_terms(description)
        self._terms = terms
        self._agree(replace(terms, opus=terms.opus - video.numbers))
        self.video.agree(video)
        self._places = places(description)

    @property
    def audio_track(self) -> str:
        """What our voice is called in our descriptions (`a=msid`)."""
        return self._peer.track

    @property
    def _tracks(self) -> OurTracks:
        return OurTracks(
            self.audio_track, self._outgoing.ssrc, self.video_track, self.video.outgoing.ssrc, self._peer.cname
        )

    def _terms_in_force(self) -> sdp_gate.AudioTerms | None:
        """Return what was agreed last, with the credentials that carry the media: a restart may have failed since."""
        if self._terms is None:
            return None
        ufrag, password = self._peer.path.far_end
        return replace(self._terms, ufrag=ufrag, password=password)

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

    # --- life ---

    def _on_state(self) -> None:
        state = self._peer.connectionState
        if state == "connected" and self._connected_s is None and not self._left:
            self._begin()
            self._settled.set()
        elif state in {"failed", "closed"} or self._peer.failure is not None:
            self._end()

    def _end(self) -> None:
        """The peer went away, or never came."""
        was_live = self.live
        self._cease()
        self._settled.set()
        if was_live and self.on_ended is not None:
            pulse = self._peer.path.pulse
            silent = pulse.silent_s() >= pulse.limit_s
            self.on_ended(f"nothing was heard of the peer for {pulse.limit_s:g} s" if silent else PEER_CLOSED)

    def mute_forever(self) -> None:
        """Stop sending at once, without goodbye: close the sockets. For a worker that lost the right to speak."""
        self._left = True
        self._cease()
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
        self._cease()
        self._settled.set()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._peer.close()
        except Exception as error:  # noqa: BLE001  # whatever aiortc left behind, the sockets must go
            log.warning("leg.closed_hard", error=type(error).__name__)
            self._peer.path.mute()
