"""Writes what a consumer says to a file, a second at a time and never on the media loop.

An Ogg file holds the packets as they came: nothing is decoded for it, and it takes a small part of a WAV file's room.
What was written of either is played, should the process die.
"""

import asyncio
import contextlib
import hashlib
import random
import re
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from operator import attrgetter
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO, Final, Generic, TypeVar

import av
import numpy as np

from shared import log
from shared.handling import Frame
from workers.media.ogg import OggOpus
from workers.media.unbroken import Arrived, Unbroken

CHUNK_S: Final = 1.0
MOST_WAITING: Final = 30
"""A disk that so many chunks of one recording wait for takes no more of it."""
PATIENCE_S: Final = 5.0
"""So long a call waits for its file to be made, and for it to be finished; that is done even later."""

_WAV_HEADER: Final = struct.Struct("<4sL4s4sLHHLLHH4sL")
_WAV_MOST_BYTES: Final = 0xFFFFFFFF - _WAV_HEADER.size

_writer = ThreadPoolExecutor(1, thread_name_prefix="recordings")
"""One thread for all recordings: the chunks of each stay in order."""

T = TypeVar("T")

_UNFIT_FOR_A_NAME: Final = re.compile(r"[^\w-]", re.ASCII)


def recording_name(call_id: str, epoch: int, count: int) -> str:
    """Name a file after a call, whose id is anybody's bytes; `count` numbers its recordings from 1."""
    plain = _UNFIT_FOR_A_NAME.sub("_", call_id)[:80]
    exact = "" if plain == call_id else f"-{hashlib.blake2b(call_id.encode(), digest_size=6).hexdigest()}"
    number = "" if count == 1 else f"-{count}"
    return f"{plain}{exact}-{epoch}{number}.opus"


def wav_header(size: int, rate: int, *, channels: int = 1) -> bytes:
    """Return the header of a WAV file of so many bytes of 16-bit sound."""
    size = min(size, _WAV_MOST_BYTES)
    return _WAV_HEADER.pack(
        *(b"RIFF", _WAV_HEADER.size - 8 + size, b"WAVE"),
        *(b"fmt ", 16, 1, channels, rate, rate * 2 * channels, 2 * channels, 16),
        *(b"data", size),
    )


class Recorder(Generic[T]):
    """One recording, of pieces of sound. A disk that fails ends it, with one line in the log, and not the call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.patience_s = PATIENCE_S
        self._waiting = 0  # chunks handed over and not yet written
        self._given_up = False
        self._chunk: list[T] = []
        self._chunk_from_s = 0.0
        self._file: BinaryIO | None = None

    async def open(self) -> None:
        """Make the file.

        Raises:
            OSError: it cannot be made, or not in time.
        """
        try:
            async with asyncio.timeout(self.patience_s):
                await asyncio.get_running_loop().run_in_executor(_writer, self._open)
        except TimeoutError:
            raise TimeoutError(f"{self.path} was not made within {self.patience_s:g} s; does the disk hang?") from None

    def take(self, piece: T, at_s: float) -> None:
        """Take what was heard at `at_s`."""
        if self._given_up:
            return
        if not self._chunk:
            self._chunk_from_s = at_s
        self._chunk.append(piece)
        if at_s - self._chunk_from_s < CHUNK_S:
            return
        if self._waiting < MOST_WAITING:
            self._hand_over()
        else:
            self._given_up = True
            because = f"the disk hangs: {MOST_WAITING * CHUNK_S:g} s wait to be written"
            log.get().error("recording.failed", path=str(self.path), because=because)
            self._hand_over(at_s)

    async def close(self) -> None:
        """Write the rest and finish the file; that is done even if nobody waits for it any more."""
        if self._given_up:
            return
        _, late = await asyncio.wait([self._hand_over(time.monotonic())], timeout=self.patience_s)
        if late:
            log.get().error("recording.not_finished", path=str(self.path), waited_s=self.patience_s)

    def _hand_over(self, ended_s: float | None = None) -> asyncio.Future[None]:
        chunk, self._chunk = self._chunk, []
        written = asyncio.get_running_loop().run_in_executor(_writer, self._write, chunk, ended_s)
        self._waiting += 1
        written.add_done_callback(self._look_at)
        return written

    def _look_at(self, written: asyncio.Future[None]) -> None:
        self._waiting -= 1
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


class WavRecorder(Recorder[Frame]):
    """Writes frames of decoded sound: mono, signed 16 bit, `rate` Hz, at whichever rate they come."""

    def __init__(self, path: Path, rate: int) -> None:
        super().__init__(path)
        self._rate = rate
        self._heard_at = rate
        self._resampler = av.AudioResampler("s16", "mono", rate)
        self._bytes = 0

    def _append(self, file: BinaryIO, chunk: list[Frame], _ended_s: float | None) -> None:
        pcm = b"".join(
            self._fitted(b"".join(frame.pcm for frame in frames), rate)
            for rate, frames in groupby(chunk, key=attrgetter("rate"))
        )
        self._bytes += len(pcm)
        file.seek(0)
        file.write(wav_header(self._bytes, self._rate))
        file.seek(0, SEEK_END)
        file.write(pcm)

    def _fitted(self, pcm: bytes, rate: int) -> bytes:
        """Return the sound at the file's rate."""
        if rate != self._heard_at:
            self._heard_at, self._resampler = rate, av.AudioResampler("s16", "mono", self._rate)
        if rate == self._rate:
            return pcm
        sound = av.AudioFrame.from_ndarray(np.frombuffer(pcm, np.int16).reshape(1, -1), "s16", "mono")
        sound.sample_rate = rate
        return b"".join(piece.to_ndarray().tobytes() for piece in self._resampler.resample(sound))


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
