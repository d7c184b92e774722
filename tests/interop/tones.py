"""Tells what sounds in a recording: a tone that is expected, or the keys of a telephone."""

from itertools import pairwise
from typing import Final

import numpy as np

from simulator.sound import RATE_HZ, Samples, dominant_hz

WINDOW_S: Final = 0.5
"""A tone is measured over so long."""

KEYS: Final = ("123A", "456B", "789C", "*0#D")  # ITU-T Q.23: a tone for the row, a tone for the column
ROWS_HZ: Final = (697, 770, 852, 941)
COLUMNS_HZ: Final = (1209, 1336, 1477, 1633)
LOOK_SAMPLES, STEP_SAMPLES = 2_400, 480  # 50 ms, every 10 ms
LOUD: Final = 200  # amplitude of one of a key's tones, of 32,767


def is_tone(sound: Samples, hz: float | None) -> bool:
    """Tell whether this tone is the loudest in it; None means silence."""
    heard = dominant_hz(sound)
    return heard == hz if heard is None or hz is None else abs(heard - hz) < 3


def keys_in(sound: Samples) -> str:
    """Return the keys that sound, one after the other; a key is one that two looks in a row agree on."""
    looks = [_key(sound[at : at + LOOK_SAMPLES]) for at in range(0, len(sound) - LOOK_SAMPLES, STEP_SAMPLES)]
    sure = [one for one, two in pairwise(looks) if one == two]
    return "".join(after for before, after in pairwise(["", *sure]) if after != before)


def _key(sound: Samples) -> str:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) * 4 / len(sound)
    row, column = (
        [float(spectrum[round(hz * len(sound) / RATE_HZ)]) for hz in tones] for tones in (ROWS_HZ, COLUMNS_HZ)
    )
    return KEYS[int(np.argmax(row))][int(np.argmax(column))] if min(max(row), max(column)) > LOUD else ""
