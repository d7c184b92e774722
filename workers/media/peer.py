"""aiortc as we need it: its SDP, ICE, DTLS and SRTP, with our own way for the packets.

aiortc's receivers and senders own a thread, a jitter buffer and an encoder each; one lost packet costs them 320 ms of
sound. Here a transceiver only holds its place in the descriptions. All sections share one transport (max-bundle), and
that transport passes every authenticated packet to the leg, whichever section it belongs to.

Private names of aiortc 1.16.0 are overridden, written out in full; the version is pinned, and
tests/contract/test_aiortc.py names every one of them.
"""

import asyncio
import random
import time
import uuid
from dataclasses import replace
from typing import Any, Protocol, cast

from aioice import Connection
from aiortc import RTCConfiguration, RTCIceGatherer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcconfiguration import RTCBundlePolicy
from aiortc.rtcdtlstransport import RTCCertificate, RTCDtlsParameters, RTCDtlsTransport, State, certificate_digest
from aiortc.rtcicetransport import RTCIceTransport
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtcrtptransceiver import RTCRtpTransceiver

from workers.media import srtp
from workers.media.path import MediaPath
from workers.media.sdp_gate import AudioTerms
from workers.media.sockets import MAX_DATAGRAM_BYTES


class Ear(Protocol):
    """Who takes what the transport has authenticated, in the loop thread and without waiting."""

    def take_rtp(self, length: int, at_s: float) -> None:
        """Take the RTP packet of so many bytes that lies in `srtp.packet`."""

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
        self._pulse = path.pulse
        self._ear = ear
        self._fast = fast
        self._inward: srtp.Seal | None = None
        self._outward: srtp.Seal | None = None

    def send(self, length: int) -> bool:
        """Seal the RTP packet of so many bytes that lies in `srtp.packet` and send it; tell whether it could leave."""
        sealed = self._outward.close(length) if self._outward is not None else b""
        return bool(sealed) and self._path.send_now(sealed)

    def send_rtcp(self, data: bytes) -> bool:
        """Seal a compound RTCP packet and send it now; tell whether it left."""
        return self._outward is not None and self._path.send_now(self._tx_srtp.protect_rtcp(data))

    def _set_state(self, state: State) -> None:
        connected = state is State.CONNECTED
        self._inward = srtp.Seal(self._rx_srtp) if connected else None
        self._outward = srtp.Seal(self._tx_srtp) if connected else None
        self._path.tap = self._tap if self._fast and connected else None
        super()._set_state(state)

    def _tap(self, data: bytes) -> bool:
        """Take an SRTP packet straight from its socket; leave STUN, DTLS and RTCP to the long way (RFC 7983)."""
        length = len(data)
        if not (12 <= length <= MAX_DATAGRAM_BYTES and 127 < data[0] < 192) or 192 <= data[1] < 224:
            return False
        opened = self._inward.open(data) if self._inward is not None else 0
        if opened:
            self._pulse.heard_at_s = now_s = time.monotonic()
            self._ear.take_rtp(opened, now_s)
        return True

    async def _handle_rtp_data(self, data: bytes, arrival_time_ms: int) -> None:
        srtp.packet[: len(data)] = data
        self._pulse.heard_at_s = now_s = time.monotonic()
        self._ear.take_rtp(len(data), now_s)

    async def _handle_rtcp_data(self, data: bytes) -> None:
        now_s = time.monotonic()
        self._pulse.heard_at_s = now_s
        self._ear.take_rtcp(data, now_s)

    def _validate_peer_identity(self, remoteParameters: RTCDtlsParameters) -> None:  # noqa: N803  # aiortc's name
        """Accept a certificate that matches any of the fingerprints (RFC 8122 section 5); aiortc wants them all to."""
        certificate = self._ssl and self._ssl.get_peer_certificate(as_cryptography=True)
        given = remoteParameters.fingerprints
        matching = [
            one for one in given if certificate and one.value.upper() == certificate_digest(certificate, one.algorithm)
        ]
        super()._validate_peer_identity(replace(remoteParameters, fingerprints=matching or given))


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
        self._stream_id = self._track_id = self.track_id = str(uuid.uuid4())
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
        await asyncio.sleep(0)  # aiortc connects in a task: with these credentials, not with those of the next offer

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

    @property
    def track(self) -> str:
        """The track id of the first section, which carries our voice."""
        return cast("_Place", self.getSenders()[0]).track_id

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
        transceiver._bundled = True  # with the first section, whichever that is: or else aiortc stops the one transport
        transceivers.append(transceiver)
        return transceiver

    def _RTCPeerConnection__remoteRtp(self, transceiver: RTCRtpTransceiver) -> None:  # noqa: N802
        """Nobody here receives by it, and aiortc stumbles over a section that a later offer has left out."""

    async def _RTCPeerConnection__connect(self) -> None:  # noqa: N802  # runs in a task nobody awaits
        try:
            await getattr(super(), "_RTCPeerConnection__connect")()  # noqa: B009  # Python would not mangle it so
        except Exception as error:  # noqa: BLE001  # aiortc would leave it to the garbage collector to report
            self.failure = error
            self.emit("connectionstatechange")
