"""Sound made shorter without being heard to be: by one period of the voice, where it repeats itself."""

import numpy as np


def leave_out_a_period(pcm: bytes, rate: int) -> bytes:
    """Return `pcm` (mono s16) without a stretch of 10 to 20 ms, cut where it resembles itself most and cross-faded."""
    sound = np.frombuffer(pcm, np.int16).astype(np.float32)
    shortest, longest = rate // 100, rate // 50
    window = min(shortest, len(sound) - longest)
    if window <= 0:
        return pcm
    coarse = max(1, rate // 8000)
    head, rest = sound[:window:coarse], sound[shortest : longest + window : coarse]
    likeness = np.correlate(rest, head, "valid")
    energy = np.convolve(rest * rest, np.ones(len(head), np.float32), "valid") + 1.0
    lag = shortest + int(np.argmax(likeness / np.sqrt(energy))) * coarse
    fade = np.linspace(0.0, 1.0, window, dtype=np.float32)
    sound[lag : lag + window] = sound[:window] * (1 - fade) + sound[lag : lag + window] * fade
    return sound[lag:].astype(np.int16).tobytes()
