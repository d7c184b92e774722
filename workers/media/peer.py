"""aiortc as we need it: its SDP, ICE, DTLS and SRTP, with our own way for the packets.

aiortc's receivers and senders own a thread, a jitter buffer and an encoder each; one lost packet costs them 320 ms of
sound. Here a transceiver only holds its place in the descriptions. All sections share one transport (max-bundle), and
that transport passes every authenticated packet to the leg, whichever section it belongs to.

Private names of aiortc 1.16.0 are overridden, written out in full; the version is pinned, and
tests/integration/test_leg.py runs into every one of them.
"""

import random
import time
import uuid
from typing import Any, Protocol, cast

from aioice import Connection
from aiortc import RTCConfiguration, RTCIceGatherer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcconfiguration import RTCBundlePolicy
from aiortc.rtcdtlstransport import RTCCertificate, RTCDtlsTransport, State
from aiortc.rtcicetransport import RTCIceTransport
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtcrtptransceiver import RTCRtpTransceiver
from pylibsrtp import Error as SrtpError

from workers.media.path import MediaPath
from workers.media.sdp_gate import AudioTerms

MAX_RTP_BYTES = 1300  # the rest of an ordinary MTU is for SRTP and UDP


class Ear(Protocol):
    """Who takes what the transport has authenticated, in the loop thread and without waiting."""

    def take_rtp(self, data: bytes, at_s: float) -> None:
        """Take an RTP packet."""

    def take_rtcp(self, data: bytes, at_s: float) -> None:
        """Take a compound RTCP packet."""


class MediaTransport(RTCDtlsTransport):
    """A DTLS-SRTP transport that hands packets over as bytes; if `fast`, straight from the socket.

    aiortc parses header extensions and ends the call when one is too short (aiortc#778); here nobody reads them.
    """

    def __init__(
        self,
        ice: RTCIceTransport,
        path: MediaPath,
        certificates: list[RTCCertificate],
        ear: Ear,
        *,
        fast: bool,
    ) -> None:
        super().__init__(ice, certificates)
        self._path = path
        self._ear = ear
        self._fast = fast

    def send(self, packet: bytes, *, rtcp: bool = False) -> bool:
        """Encrypt and send now; tell whether the packet left."""
        if self._state is not State.CONNECTED or len(packet) > MAX_RTP_BYTES:
            return False
        protect = self._tx_srtp.protect_rtcp if rtcp else self._tx_srtp.protect
        return self._path.send_now(protect(packet))

    def _set_state(self, state: State) -> None:
        self._path.tap = self._tap if self._fast and state is State.CONNECTED else None
        super()._set_state(state)

    def _tap(self, data: bytes) -> bool:
        """Take an SRTP packet straight from its socket; leave STUN, DTLS and RTCP to the long way (RFC 7983)."""
        if not 127 < data[0] < 192 or len(data) < 12 or 192 <= data[1] < 224:
            return False
        try:
            packet = self._rx_srtp.unprotect(data)
        except SrtpError:
            return True
        self._deliver(packet)
        return True

    def _deliver(self, packet: bytes) -> None:
        now_s = time.monotonic()
        self._path.hear(now_s)
        self._ear.take_rtp(packet, now_s)

    async def _handle_rtp_data(self, data: bytes, arrival_time_ms: int) -> None:
        self._deliver(data)

    async def _handle_rtcp_data(self, data: bytes) -> None:
        now_s = time.monotonic()
        self._path.hear(now_s)
        self._ear.take_rtcp(data, now_s)


class _Gatherer(RTCIceGatherer):
    """aiortc's gatherer over our path."""

    def __init__(self, path: MediaPath) -> None:
        super().__init__(iceServers=[])
        self._connection = cast("Connection", path)

    def expect_candidates(self) -> None:
        """Take candidates of the peer again, after an end of them."""
        self._remote_candidates_end = False


class _Place:
    """Holds the place of a sender or receiver: what RTCPeerConnection touches, and nothing that runs."""

    def __init__(self, transport: MediaTransport, ssrc: int) -> None:
        self.transport: RTCDtlsTransport = transport
        self._track: MediaStreamTrack | None = None
        self._ssrc = self._rtx_ssrc = ssrc
        self._stream_id = self._track_id = str(uuid.uuid4())
        self._enabled = True

    @property
    def track(self) -> MediaStreamTrack | None:
        """What aiortc announces to its listeners; nobody reads it."""
        return self._track

    def setTransport(self, transport: RTCDtlsTransport) -> None:  # noqa: N802  # aiortc's name
        self.transport = transport

    def _set_rtcp_ssrc(self, ssrc: int) -> None:
        pass

    async def send(self, parameters: object) -> None:
        pass

    async def receive(self, parameters: object) -> None:
        pass

    async def stop(self) -> None:
        pass


class Peer(RTCPeerConnection):
    """A peer connection with one sendrecv audio section and whatever the far side adds."""

    def __init__(self, ear: Ear, ssrc: int, path: MediaPath, *, fast: bool = True) -> None:
        super().__init__(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._gatherer = _Gatherer(path)
        self.path = path
        self._ice_transport = RTCIceTransport(self._gatherer)
        self.media = MediaTransport(self._ice_transport, path, self._own("certificates"), ear, fast=fast)
        self._ssrc = ssrc
        self.failure: Exception | None = None
        self.cname: str = self._own("cname")
        self._adopt_transport()
        self.addTransceiver("audio", direction="sendrecv")

    # --- negotiation ---

    async def offer(self) -> str:
        """Gather, and return the complete offer in aiortc's words."""
        await self.setLocalDescription(await self.createOffer())
        return self.localDescription.sdp

    async def take_answer(self, text: str) -> None:
        """Apply the answer to our offer."""
        await self.setRemoteDescription(RTCSessionDescription(text, "answer"))

    async def take_offer(self, text: str, restart: AudioTerms | None = None) -> str:
        """Apply an offer and our answer to it, and return that in aiortc's words.

        With `restart` the offer brings new ICE credentials: a new connection is made with them while the old goes on.
        """
        if restart is not None:
            await self.path.prepare(restart.ufrag, restart.password, lite=restart.ice_lite)
            self._gatherer.expect_candidates()
        try:
            await self.setRemoteDescription(RTCSessionDescription(text, "offer"))
            await self.setLocalDescription(await self.createAnswer())
        except BaseException:
            if restart is not None:
                await self.path.give_up()
            raise
        self.path.change()
        return self.localDescription.sdp

    async def end_candidates(self) -> None:
        """Say that no candidate follows: without it aioice never gives up."""
        await self.addIceCandidate(None)

    # --- inside aiortc ---

    def _own(self, name: str) -> Any:
        """Return a private attribute of RTCPeerConnection."""
        return getattr(self, f"_RTCPeerConnection__{name}")

    def _adopt_transport(self) -> None:
        """Do what `__createDtlsTransport` does, with the one transport of ours."""
        self._gatherer.on("statechange", self._own("updateIceGatheringState"))
        self._ice_transport.on("statechange", self._own("updateIceConnectionState"))
        self._ice_transport.on("statechange", self._own("updateConnectionState"))
        self.media.on("statechange", self._own("updateConnectionState"))
        self._own("iceTransports").add(self._ice_transport)
        self._own("dtlsTransports").add(self.media)

    def _RTCPeerConnection__createTransceiver(  # noqa: N802  # the name Python makes of __createTransceiver
        self, direction: str, kind: str, sender_track: MediaStreamTrack | None = None
    ) -> RTCRtpTransceiver:
        """Return a transceiver that only holds its place; the first one speaks with our SSRC, the others never do."""
        transceivers: list[RTCRtpTransceiver] = self._own("transceivers")
        ssrc = random.getrandbits(32) if transceivers else self._ssrc
        transceiver = RTCRtpTransceiver(
            direction=direction,
            kind=kind,
            sender=cast("RTCRtpSender", _Place(self.media, ssrc)),
            receiver=cast("RTCRtpReceiver", _Place(self.media, ssrc)),
        )
        transceiver._bundled = bool(transceivers)
        transceivers.append(transceiver)
        return transceiver

    async def _RTCPeerConnection__connect(self) -> None:  # noqa: N802  # runs in a task nobody awaits
        try:
            await getattr(super(), "_RTCPeerConnection__connect")()  # noqa: B009  # Python would not mangle it so
        except Exception as error:  # noqa: BLE001  # aiortc would leave it to the garbage collector to report
            self.failure = error
            self.emit("connectionstatechange")
