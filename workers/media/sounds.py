"""Sounds to play: any file PyAV reads, made into Opus packets once and kept for every call that plays it.

An Ogg Opus file of 20 ms packets, which is what `opusenc` writes, is played as it is.
"""

import io
import os
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import av

from workers.media.opus import encode_clip, holds_one_frame_of_20_ms

RATE = 48_000
CLIPS_KEPT = 64

_one_at_a_time = threading.Lock()
"""Who wants a sound that is being encoded waits for it: a hundred calls that play it at once encode it once."""


File = str | os.PathLike[str] | bytes


def load(sound: File) -> tuple[bytes, ...]:
    """Return the sound as 20 ms Opus packets; it blocks while reading and encoding for the first time.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no sound.
    """
    with _one_at_a_time:
        if isinstance(sound, bytes):
            return _encoded_bytes(sound)
        path = Path(os.fspath(sound))
        changed_ns = path.stat().st_mtime_ns
        return _encoded_file(str(path), changed_ns)


def encoded(sound: bytes) -> tuple[bytes, ...]:
    """Return a sound as `load` does, and keep nothing."""
    return _packets(lambda: io.BytesIO(sound), f"{len(sound)} bytes")


@lru_cache(CLIPS_KEPT)
def _encoded_file(path: str, _changed_ns: int) -> tuple[bytes, ...]:
    return _packets(lambda: path, path)


@lru_cache(CLIPS_KEPT)
def _encoded_bytes(sound: bytes) -> tuple[bytes, ...]:
    return encoded(sound)


def _packets(source: Callable[[], str | io.BytesIO], name: str) -> tuple[bytes, ...]:
    try:
        return _as_they_are(source()) or encode_clip(_decoded(source()))
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"{name} is no sound that can be played: {error}") from error


def _as_they_are(source: str | io.BytesIO) -> tuple[bytes, ...]:
    """Return the file's own packets where each is 20 ms of Opus, else nothing."""
    with av.open(source, "r") as container:
        stream = container.streams.audio[0]
        if stream.codec_context.name not in ("opus", "libopus"):
            return ()
        packets = tuple(bytes(packet) for packet in container.demux(stream) if packet.size)
    return packets if all(map(holds_one_frame_of_20_ms, packets)) else ()


def _decoded(source: str | io.BytesIO) -> bytes:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    with av.open(source, "r") as container:
        frames = [resampled for frame in container.decode(audio=0) for resampled in resampler.resample(frame)]
    return b"".join(frame.to_ndarray().tobytes() for frame in [*frames, *resampler.resample(None)])
