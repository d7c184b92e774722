"""Writes what a consumer says to a WAV file, a second at a time and never on the media loop."""

import asyncio
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

CHUNK_BYTES: Final = 96_000

_writer = ThreadPoolExecutor(1, thread_name_prefix="recordings")
"""One thread for all recordings: the chunks of each stay in order."""


class Recorder:
    """One recording: mono, signed 16 bit."""

    def __init__(self, path: Path, rate: int) -> None:
        self.path = path
        self._rate = rate
        self._chunk = bytearray()
        self._file: wave.Wave_write | None = None
        self._trouble: OSError | None = None

    async def open(self) -> None:
        """Make the file.

        Raises:
            OSError: it cannot be made.
        """
        await asyncio.get_running_loop().run_in_executor(_writer, self._open)

    def write(self, pcm: bytes) -> None:
        """Take a frame."""
        self._chunk += pcm
        if len(self._chunk) >= CHUNK_BYTES:
            _writer.submit(self._append, bytes(self._chunk))
            self._chunk.clear()

    async def close(self) -> None:
        """Write the rest and finish the file.

        Raises:
            OSError: something could not be written.
        """
        await asyncio.get_running_loop().run_in_executor(_writer, self._finish, bytes(self._chunk))

    def _open(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.touch(mode=0o600)  # what somebody says is nobody else's
        self._file = wave.open(str(self.path), "wb")  # noqa: SIM115 it stays open for the call
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        self._file.setframerate(self._rate)

    def _append(self, pcm: bytes) -> None:
        if self._file is not None and self._trouble is None:
            try:
                self._file.writeframes(pcm)
            except OSError as error:
                self._trouble = error

    def _finish(self, pcm: bytes) -> None:
        self._append(pcm)
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._trouble is not None:
            raise self._trouble
