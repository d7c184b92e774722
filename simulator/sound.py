"""Sound as the phone needs it: read, encode, record, and tell which tone was heard."""

import io
import math
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, cycle
from pathlib import Path

import numpy as np
from av import AudioFrame, AudioResampler, CodecContext
from av import open as av_open
from numpy.typing import NDArray

RATE_HZ = 48_000
FRAME_SAMPLES = 960  # 20 ms
BIT_RATE = 24_000  # what a phone call over Messenger is about worth; Meta asks for 20000 (reference, section 9)
SILENCE_LEVEL = 200  # of 32767: below this a frame counts as silent
CALLER_WAV = Path(__file__).parent / "sounds" / "caller.wav"

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Playlist:
    """Holds Opus frames of 20 ms: `once` are played first, then `forever` again and again."""

    once: tuple[bytes, ...]
    forever: tuple[bytes, ...]

    def __iter__(self) -> Iterator[bytes]:
        return chain(self.once, cycle(self.forever))


@lru_cache(maxsize=32)
def playlist(source: Path | float, *, loop: bool = True) -> Playlist:
    """Encodes a WAV file, or a tone of so many Hz; without `loop` silence follows the first time through."""
    samples = read_wav(source) if isinstance(source, Path) else tone(source)
    if loop:  # encoded twice, so that the repeated part begins where the encoder stood at its end
        frames = encode(np.concatenate((samples, samples)))
        half = len(frames) // 2
        return Playlist(once=frames[:half], forever=frames[half:])
    silence = encode(np.zeros(RATE_HZ, np.int16))
    return Playlist(once=encode(samples), forever=silence[len(silence) // 2 :])


def tone(hz: float, *, seconds: float = 2.0, level: float = 0.25) -> Samples:
    """Makes a sine; two seconds close on themselves for every multiple of half a hertz."""
    at = np.arange(round(RATE_HZ * seconds)) / RATE_HZ
    return (np.sin(2 * np.pi * hz * at) * level * 32767).astype(np.int16)


def read_wav(path: Path) -> Samples:
    """Reads any file PyAV understands as 48 kHz mono, padded with silence to whole frames."""
    resampler = AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
    chunks: list[Samples] = []
    with av_open(str(path)) as container:
        for frame in container.decode(audio=0):
            chunks += [mono(piece) for piece in resampler.resample(frame)]
        chunks += [mono(piece) for piece in resampler.resample(None)]
    samples = np.concatenate(chunks)
    return np.pad(samples, (0, -len(samples) % FRAME_SAMPLES))


def encode(samples: Samples) -> tuple[bytes, ...]:
    """Encodes mono samples to Opus frames of 20 ms, one for every 960 samples."""
    codec = CodecContext.create("libopus", "w")
    codec.bit_rate = BIT_RATE
    codec.format = "s16"
    codec.layout = "mono"
    codec.sample_rate = RATE_HZ
    codec.options = {"application": "voip", "vbr": "constrained"}
    packets = []
    for start in range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
        frame = AudioFrame.from_ndarray(samples[None, start : start + FRAME_SAMPLES], format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        frame.pts = start
        packets += codec.encode(frame)
    return tuple(bytes(packet) for packet in packets)


def mono(frame: AudioFrame) -> Samples:
    """Returns the left channel of a packed 16-bit frame."""
    return frame.to_ndarray().reshape(-1, frame.layout.nb_channels)[:, 0].astype(np.int16, copy=False)


def wav(samples: Samples) -> bytes:
    """Wraps mono samples at 48 kHz as a WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


def is_silent(samples: Samples) -> bool:
    """Tells whether nothing in these samples would be noticed."""
    return not len(samples) or int(np.abs(samples.astype(np.int32)).max()) < SILENCE_LEVEL


def dominant_hz(samples: Samples) -> float | None:
    """Returns the strongest frequency, to a fraction of a hertz; None in silence or under 100 ms of sound.

    Hann window, then a parabola through the logarithms of the strongest bin and its neighbours.
    """
    if len(samples) < RATE_HZ // 10 or is_silent(samples):
        return None
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    lowest = math.ceil(50 * len(samples) / RATE_HZ)  # rumble and DC are no tone
    peak = int(np.argmax(spectrum[lowest:-1])) + lowest
    left, top, right = (float(np.log(spectrum[peak + step] + 1e-12)) for step in (-1, 0, 1))
    bend = left - 2 * top + right
    offset = 0.5 * (left - right) / bend if bend else 0.0
    return (peak + offset) * RATE_HZ / len(samples)
