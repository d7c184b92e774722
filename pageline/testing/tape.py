"""Recordings of a test: real files, of what the consumer said on virtual time."""

from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from shared.handling import RATES


class PlayedTape(NamedTuple):
    """A recording that runs since a tick of 20 ms."""

    path: Path
    since_tick: int
    stereo: bool

    def write(self, pcm48k: bytes) -> None:
        """Write the file; in stereo the right side, ours, is silent."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        wav = self.path.suffix.lower() == ".wav"
        layout = "stereo" if self.stereo else "mono"
        said = np.frombuffer(pcm48k, "<i2")
        sides = np.stack([said, np.zeros_like(said)], axis=1).reshape(1, -1) if self.stereo else said.reshape(1, -1)
        with av.open(str(self.path), "w", format="wav" if wav else "ogg") as file:
            stream = file.add_stream("pcm_s16le" if wav else "libopus", rate=RATES[-1], layout=layout)
            frame = av.AudioFrame.from_ndarray(sides, "s16", layout)
            frame.sample_rate = RATES[-1]
            for encoded in (*stream.encode(frame), *stream.encode(None)):
                file.mux(encoded)
