"""How late an echo is: the chirps of what was sent are looked for in what came back.

Both are packets with a time each. A sample's time is its packet's, and so much later as it lies within the packet; so
what is found is what the stack under measurement adds, its encoder's look-ahead included and the consumer's left out.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from pageline.bench.media import speech

LOOKED_FOR_S: Final = 0.9
"""The next chirp is a second later."""
LIKE_ENOUGH: Final = 0.5
"""Of 1; two encodings at 16 to 24 kbit/s leave 0.94 and more, speech and breath stay below 0.2."""
LOUD_ENOUGH: Final = 0.01

Sound = speech.Sound


class Timed(NamedTuple):
    """A packet's sound, at `speech.RATE`, with its time in ns."""

    at_ns: int
    sound: Sound


def echo_delays_ms(sent: Sequence[Timed], heard: Sequence[Timed]) -> list[float]:
    """Return the delay of each chirp that came back."""
    chirps_ns = chirp_times_ns(sent)
    echoes_ns = chirp_times_ns(heard)
    delays_ms = []
    for chirp_ns in chirps_ns:
        later = [echo_ns for echo_ns in echoes_ns if chirp_ns < echo_ns <= chirp_ns + LOOKED_FOR_S * 1e9]
        if later:
            delays_ms.append((later[0] - chirp_ns) / 1e6)
    return delays_ms


def chirp_times_ns(packets: Sequence[Timed]) -> list[int]:
    """Return when each chirp began."""
    if not packets:
        return []
    sound = np.concatenate([packet.sound for packet in packets])
    starts = np.cumsum([0, *(len(packet.sound) for packet in packets)])
    times_ns = []
    for start in chirp_starts(sound):
        number = int(np.searchsorted(starts, start, "right")) - 1
        times_ns.append(packets[number].at_ns + int((start - starts[number]) / speech.RATE * 1e9))
    return times_ns


def chirp_starts(sound: Sound) -> list[int]:
    """Return the samples at which chirps begin."""
    sought = speech.chirp()
    if len(sound) < len(sought):
        return []
    size = 1 << int(np.ceil(np.log2(len(sound) + len(sought))))
    product = np.fft.rfft(sound, size) * np.conj(np.fft.rfft(sought, size))
    likeness = np.fft.irfft(product, size)[: len(sound) - len(sought) + 1]
    energy = np.concatenate([[0.0], np.cumsum(sound**2)])
    energy = energy[len(sought) :] - energy[: len(energy) - len(sought)]
    likeness = likeness / np.sqrt(np.maximum(energy, LOUD_ENOUGH) * np.sum(sought**2))
    starts = []
    while (best := int(np.argmax(likeness))) >= 0 and likeness[best] > LIKE_ENOUGH:
        starts.append(best)
        likeness[max(0, best - speech.RATE // 4) : best + speech.RATE // 4] = 0
    return sorted(starts)


def first_sound_ns(heard: Sequence[Timed]) -> int | None:
    """Return when the first packet came that can be heard; none if there was none."""
    return next((packet.at_ns for packet in heard if float(np.sqrt(np.mean(packet.sound**2))) > LOUD_ENOUGH), None)
