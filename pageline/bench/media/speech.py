"""What the consumers of the bench say: voiced syllables, a pause, and once a second a chirp in the pause.

The chirp is what the delay is measured by; the rest costs an encoder what speech costs it.
"""

from functools import cache
from typing import Any, Final

import numpy as np

from workers.media.account import is_quiet
from workers.media.opus import OpusDecoder, OpusEncoder

RATE: Final = 16_000
FRAME: Final = RATE // 50
LOOP_S: Final = 4
CHIRP_AT_S: Final = 0.8
"""In every second."""
CHIRP_S: Final = 0.04
SPOKEN_S: Final = 0.7

Sound = np.ndarray[Any, np.dtype[np.float64]]


def sound(seconds: int = LOOP_S) -> Sound:
    """Return it as samples of -1 to 1."""
    at_s = np.arange(seconds * RATE) / RATE
    pitch_hz = 130 + 25 * np.sin(2 * np.pi * 0.7 * at_s)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE
    voice = sum(np.sin(number * phase) / number for number in range(1, 13))
    syllables = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * at_s)
    spoken = 0.12 * voice * syllables * (at_s % 1 < SPOKEN_S)
    breath = np.random.default_rng(4).normal(0, 0.0005, len(at_s))
    said = spoken + breath
    for second in range(seconds):
        start = int((second + CHIRP_AT_S) * RATE)
        said[start : start + int(CHIRP_S * RATE)] += chirp()
    return said


def chirp() -> Sound:
    """Return the sound that is looked for: 300 to 1,500 Hz in 40 ms, which low bit rates carry well."""
    at_s = np.arange(int(CHIRP_S * RATE)) / RATE
    rising = np.sin(2 * np.pi * (300 * at_s + (1500 - 300) / CHIRP_S * at_s**2 / 2))
    return 0.4 * rising * np.hanning(len(at_s))


@cache
def words(expected_loss_percent: int) -> tuple[bytes, ...]:
    """Return the loop as 20 ms packets of some 60 bytes."""
    encoder = OpusEncoder(RATE, bitrate=24_000, fec=True, expected_loss_percent=expected_loss_percent)
    pcm = (sound() * 32767).astype(np.int16).tobytes()
    return tuple(encoder.encode(pcm[at : at + FRAME * 2]) for at in range(0, len(pcm), FRAME * 2))


@cache
def spoken_share(expected_loss_percent: int) -> float:
    """Return which share of those packets holds more than silence."""
    decoder, packets = OpusDecoder(RATE), words(expected_loss_percent)
    return sum(not is_quiet(decoder.decode(packet)) for packet in packets) / len(packets)
