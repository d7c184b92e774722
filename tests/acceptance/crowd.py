"""A crowd of consumers on light telephones, which only keep packets and when they came; listening is done afterwards.

A stock telephone decodes and encodes, which for twenty of them costs more than the worker under test. These send a hum
that was encoded once, and the kernel stamps what they get, so that a test that is late itself sees nobody else late.
"""

import asyncio
import socket
import struct
import time
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any, Final, NamedTuple, Self

import numpy as np
from aioice import Candidate, Connection
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import StunProtocol
from aiortc import MediaStreamTrack, RTCPeerConnection
from av import AudioFrame, CodecContext, Packet
from av.audio.codeccontext import AudioCodecContext
from pylibsrtp import Error as SrtpError

from tests.acceptance.standin import (
    FRAME_S,
    FRAME_SAMPLES,
    RATE_HZ,
    Consumer,
    Meta,
    Samples,
    dominant_hz,
    envelope,
)

SO_TIMESTAMPNS: Final = 35
"""Linux, asm-generic/socket.h: when the kernel took a datagram; Python has no name for it."""

BUFFER_S: Final = 0.06
"""What a telephone's jitter buffer bears without a sound: libwebrtc's keeps 40 to 80 ms where the network is good."""

BATCH: Final = 100
PER_CLOCK: Final = Fraction(1, RATE_HZ)
"""A tick of the RTP clock, seconds."""


class Heard(NamedTuple):
    """What a listener made of a call."""

    seconds: float
    dominant_hz: float
    missing_s: float
    """Sound that never came, or that the business left out."""
    waited_s: float
    """For how long the jitter buffer was empty, because packets were late."""

    @property
    def gaps(self) -> float:
        """The share of the time without sound, or with a telephone's invention in its place."""
        return (self.missing_s + self.waited_s) / self.seconds


class Stamped(NamedTuple):
    """An RTP packet, by its own clock and by the kernel's."""

    timestamp: int
    at_s: float
    payload: bytes


class StampingSocket(socket.socket):
    """A UDP socket that knows when the kernel took the datagram that was read last."""

    taken_at_s = 0.0

    @classmethod
    def on_loopback(cls) -> Self:
        """Return one on a free port."""
        made = cls(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("127.0.0.1", 0))
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        return made

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Any]:
        data, notes, _, address = self.recvmsg(size, 64, flags)
        (_, _, stamp) = notes[0]
        seconds, nanoseconds = struct.unpack("qq", stamp)
        self.taken_at_s = seconds + nanoseconds / 1e9
        return data, address


class Endpoint(StunProtocol):
    """A telephone's socket: sound is kept as it came, all else goes on to ICE and DTLS."""

    def __init__(self, ice: Connection, udp: StampingSocket, kept: list[tuple[float, bytes]]) -> None:
        super().__init__(ice)
        self._udp = udp
        self._kept = kept

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        assert isinstance(data, bytes)
        if 127 < data[0] < 192 and not 192 <= data[1] < 224:  # RFC 7983, RFC 5761: RTP
            self._kept.append((self._udp.taken_at_s, data))
        else:
            super().datagram_received(data, addr)


class Hum(MediaStreamTrack):
    """One second of a tone, encoded once for everybody, over and over."""

    kind = "audio"

    def __init__(self, hz: int) -> None:
        super().__init__()
        self._payloads = hummed(hz)
        self._began_s = time.monotonic()
        self._frames = 0

    async def recv(self) -> "Packet[Any]":
        await asyncio.sleep(max(0.0, self._began_s + self._frames * FRAME_S - time.monotonic()))
        packet = Packet(self._payloads[self._frames % len(self._payloads)])
        packet.pts, packet.time_base = self._frames * FRAME_SAMPLES, PER_CLOCK
        self._frames += 1
        return packet


@cache
def hummed(hz: int) -> tuple[bytes, ...]:
    """Return a second of a tone as Opus packets of 20 ms."""
    encoder = CodecContext.create("libopus", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.format, encoder.layout, encoder.sample_rate = "s16", "mono", RATE_HZ
    tone = (8000 * np.sin(2 * np.pi * hz * np.arange(RATE_HZ) / RATE_HZ)).astype(np.int16)
    packets: list[bytes] = []
    for at in range(0, RATE_HZ, FRAME_SAMPLES):
        frame = AudioFrame.from_ndarray(tone[at : at + FRAME_SAMPLES].reshape(1, -1), "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, at, PER_CLOCK
        packets += (bytes(packet) for packet in encoder.encode(frame))
    return tuple(packets)


class Listener(Consumer):
    """Somebody on a light telephone."""

    def __init__(self, meta: Meta, page: str, hz: int = 620) -> None:
        super().__init__(meta, page, hz)
        self._kept: list[tuple[float, bytes]] = []

    # -- the telephone (on the stand-in's loop)

    def pick_up(self, peer: RTCPeerConnection) -> None:
        peer.addTrack(Hum(self.hz))

    async def gather(self, ice: Connection) -> list[Candidate]:
        udp = StampingSocket.on_loopback()
        loop = asyncio.get_running_loop()
        _, endpoint = await loop.create_datagram_endpoint(lambda: Endpoint(ice, udp, self._kept), sock=udp)
        host, port = udp.getsockname()
        endpoint.local_candidate = Candidate(
            candidate_foundation("host", "udp", host), 1, "udp", candidate_priority(1, "host"), host, port, "host"
        )
        ice._protocols.append(endpoint)
        return [endpoint.local_candidate]

    # -- listening, afterwards

    @property
    def packets(self) -> int:
        """How many packets of sound came so far."""
        return len(self._kept)

    def rtp(self) -> list[Stamped]:
        """Return what came, decrypted, in the order of the speaker's clock, which starts at 0."""
        assert self._peer is not None
        srtp = self._peer.getTransceivers()[0].sender.transport._rx_srtp
        found = []
        for at_s, data in self._kept:
            try:
                packet = srtp.unprotect(data)
            except SrtpError:  # of a call that somebody else had on this port before
                continue
            (timestamp,) = struct.unpack_from("!L", packet, 4)
            found.append(Stamped(timestamp, at_s, packet[12:]))
        origin = found[0].timestamp
        around = 1 << 31
        return sorted(
            Stamped((each.timestamp - origin + around) % (1 << 32) - around, each.at_s, each.payload) for each in found
        )

    def listen(self) -> Heard:
        """Play what came through a simple jitter buffer, from where the business began to sound without a pause."""
        came = self.rtp()
        began = next(
            at for at, (one, two) in enumerate(pairwise(came)) if two.timestamp - one.timestamp == FRAME_SAMPLES
        )
        came = came[began:]
        frames = (came[-1].timestamp - came[0].timestamp) // FRAME_SAMPLES + 1
        return Heard(
            seconds=frames * FRAME_S,
            dominant_hz=dominant_hz(played(came, frames)),
            missing_s=(frames - len(came)) * FRAME_S,
            waited_s=waited_for(came),
        )


def waited_for(packets: Sequence[Stamped]) -> float:
    """Return for how long a jitter buffer had nothing to play because a packet was late.

    It starts with `BUFFER_S`; a packet that comes late is played late, which lengthens the delay, and what is longer
    than that is worked off by playing 1 % faster.
    """
    waited_s, due_s = 0.0, packets[0].at_s + BUFFER_S
    for before, packet in pairwise(packets):
        step_s = (packet.timestamp - before.timestamp) / RATE_HZ
        due_s += step_s * (0.99 if due_s - before.at_s > BUFFER_S else 1.0)
        late_s = packet.at_s - due_s
        if late_s > 0:
            waited_s += late_s
            due_s = packet.at_s
    return waited_s


def played(packets: Sequence[Stamped], frames: int) -> Samples:
    """Decode packets, each to its place; where there is none, there is silence."""
    decoder = CodecContext.create("libopus", "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.format, decoder.layout, decoder.sample_rate = "s16", "mono", RATE_HZ
    sound = np.zeros(frames * FRAME_SAMPLES, np.int16)
    origin = packets[0].timestamp
    for packet in packets:
        at = packet.timestamp - origin
        for frame in decoder.decode(Packet(packet.payload)):
            piece = frame.to_ndarray().reshape(-1)[:FRAME_SAMPLES].astype(np.int16)
            sound[at : at + len(piece)] = piece[: len(sound) - at]
    return sound


def gather_crowd(meta: Meta, page: str, count: int) -> list[Listener]:
    """Return so many who may ring."""
    return [meta.know(Listener(meta, page)) for _ in range(count)]


def ring_all(meta: Meta, crowd: Sequence[Listener]) -> None:
    """Let everybody ring at once, some in one webhook."""
    for at in range(0, len(crowd), BATCH):
        assert meta.post(envelope(*(listener.connect for listener in crowd[at : at + BATCH]))) == 200
