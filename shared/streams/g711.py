"""G.711: 16-bit samples as 8 bits on a logarithmic scale, by table (ITU-T G.711, tables 1 and 2)."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

_MU_BIAS: Final = 33
"""Added to a 14-bit magnitude, so that each segment begins at a power of two."""
_INVERTED: Final = 0xFF
_EVEN_BITS: Final = 0x55


def _mu_decoded(code: int) -> int:
    code ^= _INVERTED
    magnitude = (((code & 0x0F) << 1) + _MU_BIAS << (code >> 4 & 7)) - _MU_BIAS
    return (-magnitude if code & 0x80 else magnitude) * 4


def _a_decoded(code: int) -> int:
    code ^= _EVEN_BITS
    segment, step = code >> 4 & 7, code & 0x0F
    magnitude = (step << 1) + 1 if segment == 0 else ((step << 1) + 33) << (segment - 1)
    return (magnitude if code & 0x80 else -magnitude) * 8


class G711:
    """One of the two laws."""

    def __init__(self, decoded: Callable[[int], int]) -> None:
        self._decoded = np.array([decoded(code) for code in range(256)], np.int16)
        order = np.argsort(self._decoded, kind="stable")
        levels = self._decoded[order].astype(np.int32)
        thresholds = (levels[1:] + levels[:-1]) / 2
        every = np.arange(-32768, 32768)
        self._encoded = order[np.searchsorted(thresholds, every)].astype(np.uint8)
        """The code that comes nearest, by sample + 32768."""

    def encode(self, samples: Samples) -> bytes:
        """Return a byte for each sample."""
        return self._encoded[samples.astype(np.int32) + 32768].tobytes()

    def decode(self, codes: bytes) -> Samples:
        """Return a sample for each byte."""
        return self._decoded[np.frombuffer(codes, np.uint8)]


MU_LAW: Final = G711(_mu_decoded)
A_LAW: Final = G711(_a_decoded)
