"""Tells what sounds in a recording: a tone that is expected, or the keys of a telephone."""

from itertools import groupby
from typing import Final

import numpy as np

from simulator.sound import RATE_HZ, Samples, dominant_hz

WINDOW_S: Final = 0.5
"""A tone is measured over so long."""

KEYS: Final = ("123A", "456B", "789C", "*0#D")  # ITU-T Q.23: a tone for the row, a tone for the column
ROWS_HZ: Final = (697, 770, 852, 941)
COLUMNS_HZ: Final = (1209, 1336, 1477, 1633)
BLOCK_SAMPLES: Final = 480  # 10 ms
SHORTEST_KEY_BLOCKS: Final = 4
LOUD: Final = 300  # of 32,767


def is_tone(sound: Samples, hz: float | None) -> bool:
    """Tell whether this tone is the loudest in it; None means silence."""
    heard = dominant_hz(sound)
    return heard == hz if heard is None or hz is None else abs(heard - hz) < 3


def keys_in(sound: Samples) -> str:
    """Return the keys that sound in it, between silence and silence."""
    blocks = sound[: len(sound) // BLOCK_SAMPLES * BLOCK_SAMPLES].reshape(-1, BLOCK_SAMPLES)
    runs = groupby(blocks, key=lambda block: int(np.abs(block).max()) > LOUD)
    sounding = [list(run) for loud, run in runs if loud]
    return "".join(_key(np.concatenate(run)) for run in sounding if len(run) >= SHORTEST_KEY_BLOCKS)


def _key(sound: Samples) -> str:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    row, column = (
        int(np.argmax([spectrum[round(hz * len(sound) / RATE_HZ)] for hz in tones])) for tones in (ROWS_HZ, COLUMNS_HZ)
    )
    return KEYS[row][column]
