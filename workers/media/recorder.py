"""Writes what a consumer says to a file, a second at a time and never on the media loop.

An Ogg file holds the packets as they came: nothing is decoded for it, and it takes a small part of a WAV file's room.
What was written of either is played, should the process die.
"""

import asyncio
import contextlib
import random
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO, Final, Generic, TypeVar

from shared import log
from workers.media.ogg import OggOpus
from workers.media.unbroken import Arrived, Unbroken

CHUNK_S: Final = 1.0

_WAV_HEADER: Final = struct.Struct("<4sL4s4sLHHLLHH4sL")
_WAV_MOST_BYTES: Final = 0xFFFFFFFF - _WAV_HEADER.size

_writer = ThreadPoolExecutor(1, thread_name_prefix="recordings")
"""One thread for all recordings: the chunks of each stay in order."""

T = TypeVar("T")


class Recorder(Generic[T]):
    """One recording, of pieces of sound. A disk that fails ends it, with one line in the log, and not the call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._chunk: list[T] = []
        self._chunk_from_s = 0.0
        self._file: BinaryIO | None = None

    async def open(self) -> None:
        """Make the file.

        Raises:
            OSError: it cannot be made.
        """
        await asyncio.get_running_loop().run_in_executor(_writer, self._open)

    def take(self, piece: T, at_s: float) -> None:
        """Take what was heard at `at_s`."""
        if not self._chunk:
            self._chunk_from_s = at_s
        self._chunk.append(piece)
        if at_s - self._chunk_from_s >= CHUNK_S:
            self._hand_over()

    async def close(self) -> None:
        """Write the rest and finish the file; that is done even if nobody waits for it any more."""
        await asyncio.wait([self._hand_over(time.monotonic())])

    def _hand_over(self, ended_s: float | None = None) -> asyncio.Future[None]:
        chunk, self._chunk = self._chunk, []
        written = asyncio.get_running_loop().run_in_executor(_writer, self._write, chunk, ended_s)
        written.add_done_callback(self._look_at)
        return written

    def _look_at(self, written: asyncio.Future[None]) -> None:
        if not written.cancelled() and (error := written.exception()) is not None:
            log.get().error("recording.failed", path=str(self.path), because=str(error))

    # --- in the writer's thread ---

    def _open(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.touch(mode=0o600)  # what somebody says is nobody else's
        self._file = self.path.open("wb")

    def _write(self, chunk: list[T], ended_s: float | None) -> None:
        if self._file is None:  # it failed before
            return
        try:
            self._append(self._file, chunk, ended_s)
            self._file.flush()
            if ended_s is not None:
                self._file.close()
        except OSError:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
            raise

    def _append(self, file: BinaryIO, chunk: list[T], ended_s: float | None) -> None:
        """Write a chunk; it is the last one if the recording has ended."""
        raise NotImplementedError


class WavRecorder(Recorder[bytes]):
    """Writes 20 ms frames of decoded sound: mono, signed 16 bit, `rate` Hz."""

    def __init__(self, path: Path, rate: int) -> None:
        super().__init__(path)
        self._rate = rate
        self._bytes = 0

    def _append(self, file: BinaryIO, chunk: list[bytes], _ended_s: float | None) -> None:
        pcm = b"".join(chunk)
        self._bytes += len(pcm)
        size = min(self._bytes, _WAV_MOST_BYTES)
        file.seek(0)
        file.write(
            _WAV_HEADER.pack(
                *(b"RIFF", _WAV_HEADER.size - 8 + size, b"WAVE"),
                *(b"fmt ", 16, 1, 1, self._rate, self._rate * 2, 2, 16),
                *(b"data", size),
            )
        )
        file.seek(0, SEEK_END)
        file.write(pcm)


class OggRecorder(Recorder[Arrived]):
    """Writes packets of sound, as they came."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._row = Unbroken(time.monotonic())
        self._ogg = OggOpus(random.getrandbits(32))

    def hear(self, ssrc: int, timestamp: int, payload: bytes, at_s: float) -> None:
        """Take a packet that arrived at `at_s`."""
        self.take(Arrived(ssrc, timestamp, payload, at_s), at_s)

    def _append(self, file: BinaryIO, chunk: list[Arrived], ended_s: float | None) -> None:
        pages = [b"" if file.tell() else self._ogg.begin()]
        pages += [self._ogg.add(self._row.add(arrived)) for arrived in chunk]
        if ended_s is not None:
            pages += [self._ogg.add(self._row.finish(ended_s)), self._ogg.end()]
        file.write(b"".join(pages))


def recorder(path: Path, rate: int) -> OggRecorder | WavRecorder:
    """Return what writes such a file; `rate` is that of decoded sound, Hz.

    Raises:
        ValueError: there is no such kind of recording.
    """
    match path.suffix.lower():
        case ".opus" | ".ogg":
            return OggRecorder(path)
        case ".wav":
            return WavRecorder(path, rate)
    raise ValueError(f"{path.name}: a recording ends in .opus or .ogg (packets as they come) or in .wav (decoded)")
