"""Records both sides of a call: on the left what the consumer says, on the right what we say.

In an Ogg file both are Opus streams of their own, side by side and as they came (RFC 7845 section 5.1.1: mapping family
1, two streams, none coupled). Only a packet that does not hold 20 ms is encoded anew, for the two have to keep step.
"""

import random
import struct
import time
from collections import deque
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np

from workers.media.ogg import OggOpus
from workers.media.opus import (
    OpusDecoder,
    OpusEncoder,
    OpusError,
    clip_encoder,
    holds_one_frame_of_20_ms,
    packet_samples,
)
from workers.media.recorder import Recorder, wav_header
from workers.media.rtp import CLOCK_RATE, SAMPLES_20_MS
from workers.media.unbroken import Arrived, Unbroken

CONSUMER: Final = 0
US: Final = 1
STEREO_HEAD: Final = b"OpusHead" + struct.pack("<BBHLhB", 1, 2, 0, CLOCK_RATE, 0, 1) + bytes((2, 0, 0, 1))
"""Two channels; two streams, none of them of two channels; the first is the left channel, the second the right."""
_TWO_BYTES_FROM: Final = 252  # RFC 6716 section 3.2.1


class Uttered(NamedTuple):
    """A packet of one side."""

    side: int
    packet: Arrived


class StereoRecorder(Recorder[Uttered]):
    """Brings two rows of packets into step, 20 ms by 20 ms."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        began_s = time.monotonic()
        self._rows = (Unbroken(began_s), Unbroken(began_s))

    def hear(self, ssrc: int, timestamp: int, payload: bytes, at_s: float) -> None:
        """Take a packet of the consumer's that arrived at `at_s`."""
        self.take(Uttered(CONSUMER, Arrived(ssrc, timestamp, payload, at_s)), at_s)

    def say(self, ssrc: int, timestamp: int, payload: bytes, at_s: float) -> None:
        """Take a packet of ours that left at `at_s`."""
        self.take(Uttered(US, Arrived(ssrc, timestamp, payload, at_s)), at_s)

    def _sort(self, chunk: list[Uttered], ended_s: float | None) -> None:
        """Hand out the packets of each side in order, without gaps."""
        for side, packet in chunk:
            self._keep(side, self._rows[side].add(packet))
        if ended_s is not None:
            for side, row in enumerate(self._rows):
                self._keep(side, row.finish(ended_s))

    def _keep(self, side: int, packets: list[bytes]) -> None:
        raise NotImplementedError


class OggStereoRecorder(StereoRecorder):
    """Writes packets side by side, as they came where that is possible."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._ogg = OggOpus(random.getrandbits(32), STEREO_HEAD)
        self._steps = (Steps(), Steps())

    def _keep(self, side: int, packets: list[bytes]) -> None:
        for packet in packets:
            self._steps[side].add(packet)

    def _append(self, file: BinaryIO, chunk: list[Uttered], ended_s: float | None) -> None:
        pages = [b"" if file.tell() else self._ogg.begin()]
        self._sort(chunk, ended_s)
        left, right = (steps.ready for steps in self._steps)
        pairs = [side_by_side(left.popleft(), right.popleft()) for _ in range(min(len(left), len(right)))]
        pages.append(self._ogg.add(pairs))
        if ended_s is not None:
            pages.append(self._ogg.end())
        file.write(b"".join(pages))


class WavStereoRecorder(StereoRecorder):
    """Writes decoded sound: two channels, signed 16 bit, 48 kHz."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._decoders = (OpusDecoder(), OpusDecoder())
        self._pcm = (bytearray(), bytearray())
        self._bytes = 0

    def _keep(self, side: int, packets: list[bytes]) -> None:
        for packet in packets:
            self._pcm[side].extend(decoded(self._decoders[side], packet))

    def _append(self, file: BinaryIO, chunk: list[Uttered], ended_s: float | None) -> None:
        self._sort(chunk, ended_s)
        size = min(len(pcm) for pcm in self._pcm)
        both = np.stack([np.frombuffer(bytes(pcm[:size]), np.int16) for pcm in self._pcm], axis=1)
        for pcm in self._pcm:
            del pcm[:size]
        self._bytes += both.nbytes
        file.seek(0)
        file.write(wav_header(self._bytes, CLOCK_RATE, channels=2))
        file.seek(0, 2)
        file.write(both.tobytes())


class Steps:
    """Makes 20 ms packets of any, and leaves alone those that are."""

    def __init__(self) -> None:
        self.ready: deque[bytes] = deque()
        self._pcm = bytearray()
        self._codec: tuple[OpusDecoder, OpusEncoder] | None = None

    def add(self, packet: bytes) -> None:
        """Take the packet that follows."""
        if not self._pcm and holds_one_frame_of_20_ms(packet):
            self.ready.append(packet)
            return
        if self._codec is None:
            self._codec = OpusDecoder(), clip_encoder()
        decoder, encoder = self._codec
        self._pcm += decoded(decoder, packet)
        size = SAMPLES_20_MS * 2
        while len(self._pcm) >= size:
            self.ready.append(encoder.encode(bytes(self._pcm[:size])))
            del self._pcm[:size]


def decoded(decoder: OpusDecoder, packet: bytes) -> bytes:
    """Return what a packet holds, or silence of its length where it is damaged."""
    try:
        return decoder.decode(packet)
    except OpusError:
        return bytes(packet_samples(packet) * 2)


def side_by_side(left: bytes, right: bytes) -> bytes:
    """Return two packets of one frame each as one; the first tells its own length (RFC 6716 appendix B)."""
    size = len(left) - 1
    first = size if size < _TWO_BYTES_FROM else _TWO_BYTES_FROM + (size & 3)
    length = bytes((first,)) if size < _TWO_BYTES_FROM else bytes((first, (size - first) >> 2))
    return left[:1] + length + left[1:] + right
