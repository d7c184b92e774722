"""Sounds to play: any file PyAV reads, made into Opus packets once and kept for every call that plays it."""

import io
import os
from functools import lru_cache
from pathlib import Path

import av

from shared.handling import Sound
from workers.media.opus import encode_clip

RATE = 48_000
CLIPS_KEPT = 64


def load(sound: Sound) -> tuple[bytes, ...]:
    """Return the sound as 20 ms Opus packets; it blocks while reading and encoding for the first time.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no sound.
    """
    if isinstance(sound, bytes):
        return _encoded_bytes(sound)
    path = Path(os.fspath(sound))
    changed_ns = path.stat().st_mtime_ns
    return _encoded_file(str(path), changed_ns)


@lru_cache(CLIPS_KEPT)
def _encoded_file(path: str, _changed_ns: int) -> tuple[bytes, ...]:
    return encode_clip(_pcm(path, path))


@lru_cache(CLIPS_KEPT)
def _encoded_bytes(sound: bytes) -> tuple[bytes, ...]:
    return encode_clip(_pcm(io.BytesIO(sound), f"{len(sound)} bytes"))


def _pcm(source: str | io.BytesIO, name: str) -> bytes:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    try:
        with av.open(source, "r") as container:
            frames = [
                resampled for frame in container.decode(audio=0) for resampled in resampler.resample(frame)
            ] + resampler.resample(None)
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"{name} is no sound that can be played: {error}") from error
    return b"".join(frame.to_ndarray().tobytes() for frame in frames)
