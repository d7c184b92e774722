"""Sounds become packets once, however many calls want them."""

import threading
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from workers.media import sounds

CALLS = 8


def test_a_new_sound_that_many_calls_want_at_once_is_encoded_once(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", ""))
        tone = 8000 * np.sin(2 * np.pi * 440 * np.arange(96_000) / 48_000)
        file.writeframes(tone.astype("<i2").tobytes())
    together = threading.Barrier(CALLS)

    def play(_call: int) -> tuple[bytes, ...]:
        together.wait()
        return sounds.load(path)

    with ThreadPoolExecutor(CALLS) as pool:
        loaded = list(pool.map(play, range(CALLS)))
    assert len(loaded[0]) == 100
    assert len({id(packets) for packets in loaded}) == 1
