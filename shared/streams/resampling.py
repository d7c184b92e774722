"""Changes the rate of a stream of sound, piece by piece, without a click between the pieces.

A windowed-sinc filter (Kaiser, beta 7) in polyphase form, 40 samples of the lower rate long: 2.5 ms late at 8 kHz.
"""

from functools import lru_cache
from math import gcd
from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

TAPS: Final = 40
"""Of the lower rate; the filter's length in its samples."""
_BETA: Final = 7.0
_PASSED: Final = 0.92
"""Of the lower rate's band: the rest is for the filter to fall."""


class Resampler:
    """A stream of 16-bit samples on its way from one rate to another."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        common = gcd(from_hz, to_hz)
        self._up, self._down = to_hz // common, from_hz // common
        self._phases = _phases(self._up, self._down)
        self._kept = np.zeros(self._phases.shape[1] - 1, np.float32)
        self._next = 0
        """Where the next sample lies, in steps of the common rate from the first that is not used up."""

    def __call__(self, samples: Samples) -> Samples:
        """Return what has become of a piece: as much of it as is known by now."""
        if self._up == self._down or not len(samples):
            return samples
        length = self._phases.shape[1]
        known = np.concatenate((self._kept, samples.astype(np.float32)))
        count = max(0, -(-(len(samples) * self._up - self._next) // self._down))
        resampled = np.zeros(count, np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(known, length)
        for turn in range(min(self._up, count)):  # phases come round in turns, so no window is copied
            first, phase = divmod(self._next + turn * self._down, self._up)
            ours = windows[first :: self._down][: -(-(count - turn) // self._up)]
            resampled[turn :: self._up] = np.einsum("ij,j->i", ours, self._phases[phase])
        self._next += count * self._down - len(samples) * self._up
        self._kept = known[len(known) - (length - 1) :]
        whole: Samples = np.clip(np.rint(resampled), -32768, 32767).astype(np.int16)
        return whole


@lru_cache
def _phases(up: int, down: int) -> NDArray[np.float32]:
    """Return the filter of each phase, the oldest sample's tap first."""
    widest = max(up, down)
    length = TAPS * widest // up * up
    time = (np.arange(length) - (length - 1) / 2) / widest
    filter_ = np.sinc(time * _PASSED) * _PASSED / widest * np.kaiser(length, _BETA) * up
    phases = filter_.reshape(-1, up).T[:, ::-1]
    return np.ascontiguousarray(phases / phases.sum(axis=1, keepdims=True), np.float32)
