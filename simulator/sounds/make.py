"""Makes `caller.wav` anew: speech from espeak-ng with a quiet pilot tone under it. Run: python -m simulator.sounds.make

The file is committed; nobody needs espeak-ng to use it. The pilot lets a test tell by FFT that it was this caller who
was heard: six seconds hold a whole number of its periods, so it goes on without a click when the file is looped.
"""

import io
import subprocess
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TEXT = "Hello, this is a test caller. Can you hear me? I will keep talking for a few seconds."
PILOT_HZ = 620
PILOT_LEVEL = 0.07
SPEECH_PEAK = 0.5
SECONDS = 6
RATE_HZ = 16_000


def speech() -> NDArray[np.float64]:
    """Returns the spoken text at 16 kHz, -1 to 1."""
    spoken = subprocess.run(
        ["espeak-ng", "-v", "en-gb", "-s", "175", "--stdout", TEXT], capture_output=True, check=True
    )
    with wave.open(io.BytesIO(spoken.stdout)) as file:
        rate_hz = file.getframerate()
        # espeak writes to a pipe and cannot know the length it puts into the header: read what there is
        samples = np.frombuffer(spoken.stdout[44:], "<i2").astype(np.float64)
    at = np.arange(0, len(samples) / rate_hz, 1 / RATE_HZ)
    resampled = np.interp(at, np.arange(len(samples)) / rate_hz, samples)
    return np.asarray(resampled / np.abs(resampled).max(), np.float64)


def main() -> None:
    """Writes caller.wav beside this file."""
    mix = np.sin(2 * np.pi * PILOT_HZ * np.arange(SECONDS * RATE_HZ) / RATE_HZ) * PILOT_LEVEL
    voice = speech()[: len(mix) - RATE_HZ // 5]
    mix[RATE_HZ // 5 :][: len(voice)] += voice * SPEECH_PEAK
    with wave.open(str(Path(__file__).with_name("caller.wav")), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((mix * 32767).astype("<i2").tobytes())


if __name__ == "__main__":
    main()
