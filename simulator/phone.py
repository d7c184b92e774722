"""The consumer's phone: a real WebRTC peer with a voice, ears, keys and a camera, built on stock aiortc."""

import asyncio
import fractions
import re
from collections.abc import Sequence

import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.exceptions import OperationError
from aiortc.jitterbuffer import JitterBuffer
from aiortc.mediastreams import MediaStreamError
from aiortc.stats import RTCInboundRtpStreamStats
from av import AudioFrame, Packet
from av.stream import Stream

from simulator import sound
from simulator.calls import EndedBy, Heard, now_ms
from simulator.keypad import KeyEar, Keypad
from simulator.picture import Camera, Eye, Seen
from simulator.sdp import InvalidSdp

TIME_BASE = fractions.Fraction(1, sound.RATE_HZ)
FRAME_S = sound.FRAME_SAMPLES / sound.RATE_HZ

# What aiortc was seen to raise for mutated descriptions: its parser asserts and indexes freely.
UNREADABLE = (ValueError, AssertionError, RuntimeError, AttributeError, LookupError, OperationError)


class Voice(MediaStreamTrack):
    """Speaks a playlist in real time, encoded beforehand: nothing is computed while the call goes on."""

    kind = "audio"

    def __init__(self, playlist: sound.Playlist, picked_up: asyncio.Event) -> None:
        super().__init__()
        self._picked_up = picked_up
        self._number = 0
        self._frames = iter(playlist)
        self._began_s: float | None = None

    def say(self, playlist: sound.Playlist) -> None:
        """Says something else from the next frame on."""
        self._frames = iter(playlist)

    async def recv(self) -> "Packet[Stream]":
        """Returns the next Opus frame when it is due, 20 ms after the one before."""
        await self._picked_up.wait()
        if self.readyState != "live":
            raise MediaStreamError
        now_s = asyncio.get_running_loop().time()
        if self._began_s is None:
            self._began_s = now_s
        number, frame = self._number, next(self._frames)
        self._number += 1
        await asyncio.sleep(self._began_s + number * FRAME_S - now_s)
        packet = Packet(frame)
        packet.pts = number * sound.FRAME_SAMPLES
        packet.time_base = TIME_BASE
        return packet


class Ear:
    """Keeps what was heard: the sound itself up to a limit, its length, and when it began."""

    def __init__(self, limit_s: float) -> None:
        self.first_audio_ms: float | None = None
        self.heard_samples = 0
        self._kept: list[sound.Samples] = []
        self._kept_samples = 0
        self._limit_samples = round(limit_s * sound.RATE_HZ)
        self._next_pts: int | None = None

    def listen(self, frame: AudioFrame) -> None:
        """Takes one decoded frame; a hole before it is kept as silence, so that the recording runs in real time."""
        samples = sound.mono(frame)
        self.heard_samples += len(samples)
        if self.first_audio_ms is None and not sound.is_silent(samples):
            self.first_audio_ms = now_ms()
        pts = frame.pts or 0
        hole = pts - self._next_pts if self._next_pts is not None else 0
        self._next_pts = pts + len(samples)
        if 0 < hole < sound.RATE_HZ * 60:
            self._keep(np.zeros(hole, np.int16))
        self._keep(samples)

    def samples(self) -> sound.Samples:
        """Returns everything kept, in one piece."""
        if len(self._kept) > 1:
            self._kept = [np.concatenate(self._kept)]
        return self._kept[0] if self._kept else np.zeros(0, np.int16)

    def _keep(self, samples: sound.Samples) -> None:
        if self._kept_samples + len(samples) <= self._limit_samples:
            self._kept.append(samples)
            self._kept_samples += len(samples)


class Phone:
    """A consumer's device that speaks its playlist, records what it hears, presses keys and shows a picture."""

    def __init__(
        self,
        playlist: sound.Playlist,
        *,
        media_addresses: Sequence[str] = ("127.0.0.1",),
        media_timeout_s: float = 20.0,
        recording_limit_s: float = 600.0,
    ) -> None:
        self.connected = asyncio.Event()
        self.gone = asyncio.Event()
        self._addresses = tuple(media_addresses)
        self._media_timeout_s = media_timeout_s
        self._ear = Ear(recording_limit_s)
        self._picked_up = asyncio.Event()
        self._voice = Voice(playlist, self._picked_up)
        self._peer: RTCPeerConnection | None = None
        self._keypad = Keypad()
        self._key_ear = KeyEar()
        self._camera: Camera | None = None
        self._eye = Eye()
        self._senses: list[asyncio.Task[None]] = []
        self._packets = 0
        self._lost_packets = 0
        self._heard_in_all: Heard | None = None

    async def answer(self, offer: str) -> str:
        """Answers the business's first offer, whereupon the media path opens by itself, or a later one."""
        peer = self._peer
        first = peer is None
        if peer is None:
            peer = self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            peer.addTrack(self._voice)
            peer.on("track", self._attend_to)
            peer.on("connectionstatechange", self._note_connection)
            await gather_on(peer, self._addresses)
            self._tap(peer, offer)
        try:
            await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            await peer.setLocalDescription(await peer.createAnswer())
        except UNREADABLE as error:
            if first:
                await peer.close()
                self._peer = None
            raise InvalidSdp(f"{type(error).__name__}: {error}") from error
        return peer.localDescription.sdp

    def say(self, playlist: sound.Playlist) -> None:
        """Says something else from now on."""
        self._voice.say(playlist)

    def show_camera(self, *, on: bool) -> None:
        """Switches the camera; the first time, the next offer must have a section for it."""
        if on and self._camera is None and self._peer is not None:
            self._camera = Camera()
            self._peer.addTransceiver(self._camera, direction="sendonly")
        if self._camera is not None:
            self._camera.switch(on=on)

    def mute(self, *, muted: bool) -> None:
        """Stops speaking, or goes on; there are no packets of silence."""
        self._keypad.muted = muted

    async def press(self, digits: str) -> bool:
        """Presses keys and waits until they are let go; False where the business knows none."""
        return await self._keypad.press(digits)

    @property
    def pressed(self) -> str:
        """Returns the keys pressed so far."""
        return self._keypad.pressed

    @property
    def seen(self) -> Seen:
        """Tells what was seen so far."""
        return self._eye.seen

    def picture(self) -> bytes | None:
        """Returns the latest picture as a PNG file, None before there was any."""
        return self._eye.png()

    def pick_up(self) -> None:
        """Begins to speak and to listen."""
        self._picked_up.set()

    async def heard(self) -> Heard:
        """Tells what was heard so far."""
        if self._heard_in_all is not None:
            return self._heard_in_all
        await self._count_packets()
        # the pilot is told from speech by its steadiness: the last minute is plenty
        latest = self._ear.samples()[-60 * sound.RATE_HZ :]
        return Heard(
            seconds=self._ear.heard_samples / sound.RATE_HZ,
            dominant_hz=await asyncio.to_thread(sound.dominant_hz, latest),
            packets=self._packets,
            lost_packets=self._lost_packets,
            first_audio_ms=self._ear.first_audio_ms,
            recorded=self._ear.heard_samples > 0,
            digits=self._key_ear.heard,
        )

    def recording(self) -> bytes | None:
        """Returns what was heard as a WAV file, None before anything was."""
        samples = self._ear.samples()
        return sound.wav(samples) if len(samples) else None

    async def close(self, ended_by: EndedBy) -> None:
        """Hangs up: the business sees RTCP BYE and the end of DTLS, whoever ended the call."""
        self._keypad.let_go()
        if self._peer is not None:
            await self._peer.close()
        for sense in self._senses:
            sense.cancel()
        await asyncio.gather(*self._senses, return_exceptions=True)
        self._voice.stop()
        self._heard_in_all = await self.heard()

    def _note_connection(self) -> None:
        if self._peer is not None and self._peer.connectionState == "connected":
            self.connected.set()

    def _tap(self, peer: RTCPeerConnection, offer: str) -> None:
        """Lets all packets pass by the keypad on their way out, and by the ear for keys on their way in."""
        events = {int(number): int(rate) for number, rate in re.findall(r"a=rtpmap:(\d+) telephone-event/(\d+)", offer)}
        sender = peer.getSenders()[0]
        transport = sender.transport
        send, take = transport._send_rtp, transport._handle_rtp_data

        async def send_rewritten(data: bytes) -> None:
            if (rewritten := self._keypad.rewrite(data)) is not None:
                await send(rewritten)

        async def listen_and_take(data: bytes, arrival_time_ms: int) -> None:
            self._key_ear.listen(data)
            await take(data, arrival_time_ms=arrival_time_ms)

        self._keypad.begin(sender._ssrc, next(iter(events.items()), None))
        self._key_ear.begin(events)
        transport._send_rtp = send_rewritten  # type: ignore[method-assign]
        transport._handle_rtp_data = listen_and_take  # type: ignore[method-assign]

    def _attend_to(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio" and self._peer is not None:
            drain_at_once(self._peer.getReceivers()[0])
        sense = self._listen(track) if track.kind == "audio" else self._eye.watch(track)
        self._senses.append(asyncio.create_task(sense))

    async def _listen(self, track: MediaStreamTrack) -> None:
        """Hears until nothing came for too long; an ended track is only silence, for Meta waits for packets."""
        await self.connected.wait()
        try:
            while not await self._misses_sound(track):
                pass
        except MediaStreamError:
            await self._picked_up.wait()
            await asyncio.sleep(self._media_timeout_s)
        self.gone.set()

    async def _misses_sound(self, track: MediaStreamTrack) -> bool:
        """Hears one frame; tells whether none came for too long. Nobody misses any while it rings."""
        at_the_ear = self._picked_up.is_set()
        try:
            async with asyncio.timeout(self._media_timeout_s):
                frame = await track.recv()
        except TimeoutError:
            return at_the_ear
        if isinstance(frame, AudioFrame) and at_the_ear:
            self._ear.listen(frame)
        return False

    async def _count_packets(self) -> None:
        """Reads the RTP counters of the one audio stream."""
        for receiver in self._peer.getReceivers() if self._peer is not None else ():
            for stats in (await receiver.getStats()).values():
                if isinstance(stats, RTCInboundRtpStreamStats) and stats.kind == "audio":
                    self._packets, self._lost_packets = stats.packetsReceived, stats.packetsLost


async def gather_on(peer: RTCPeerConnection, addresses: Sequence[str]) -> None:
    """Gathers candidates on these addresses, loopback included, which aioice leaves out of its own list.

    Afterwards aioice takes gathering for done, so `setLocalDescription` adds nothing.
    """
    connection = peer.getTransceivers()[0].receiver.transport.transport.iceGatherer._connection
    connection._local_candidates_start = True
    connection._local_candidates += await connection.get_component_candidates(component=1, addresses=list(addresses))
    connection._local_candidates_end = True


def drain_at_once(receiver: RTCRtpReceiver) -> None:
    """Makes the ear take each frame with the next packet, not four later: one machine reorders nothing."""
    receiver._RTCRtpReceiver__jitter_buffer = JitterBuffer(capacity=16, prefetch=1)  # type: ignore[attr-defined]
