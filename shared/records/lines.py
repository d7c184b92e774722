"""Records as lines of JSON in a file that any number of processes append to.

A line is written whole under a lock, and is on the disk when the sink has taken it. A line that a dying process left
half written ends where the next one begins. To remove records the file is written anew beside it and put in its place,
under the same lock: who waited for that lock looks whether the file is still the one it opened.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from shared.calls.record import Record
from shared.records.sink import Removed, SinkFailed
from shared.records.threads import Threads

_encode = msgspec.json.Encoder().encode


class _Known(msgspec.Struct, frozen=True):
    """What a line tells of whom it is about; other versions' lines, too."""

    consumer: str = ""
    call_id: str = ""
    recordings: tuple[str, ...] = ()


_decode = msgspec.json.Decoder(_Known).decode


class Lines:
    """A file of JSON lines."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path
        self._threads = Threads()

    async def take(self, record: Record) -> None:
        """Append a record."""
        with self._explained():
            await self._threads.run(self._append, _encode(record) + b"\n")

    async def remove(self, consumers: frozenset[str]) -> Removed:
        """Write the file anew without the records of these consumers."""
        with self._explained():
            return await self._threads.run(self._rewrite, consumers)

    async def close(self) -> None:
        """Let go of the threads; no file is held open."""
        self._threads.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SinkFailed(f"{self._path}: {error.strerror or error}") from error

    # --- in threads ---

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked() as file:
            end = file.seek(0, os.SEEK_END)
            torn = end > 0 and os.pread(file.fileno(), 1, end - 1) != b"\n"
            file.write(b"\n" + line if torn else line)
            file.flush()
            os.fsync(file.fileno())

    def _rewrite(self, consumers: frozenset[str]) -> Removed:
        if not self._path.exists():
            return Removed(0, ())
        with self._locked() as file:
            file.seek(0)
            gone: list[_Known] = []
            beside = self._path.with_name(f".{self._path.name}.new")
            with beside.open("wb") as new:  # nobody else's: the lock is ours
                os.fchmod(new.fileno(), os.fstat(file.fileno()).st_mode & 0o777)
                for line in file:
                    known = _known(line)
                    if known.consumer in consumers:
                        gone.append(known)
                    else:
                        new.write(line)
                new.flush()
                os.fsync(new.fileno())
            if gone:
                beside.replace(self._path)
            else:
                beside.unlink()
        recordings = dict.fromkeys(recording for known in gone for recording in known.recordings)
        return Removed(len(gone), tuple(recordings), tuple(dict.fromkeys(known.call_id for known in gone)))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        """Open the file that is in place once the lock is ours; whose records it holds is nobody else's business."""
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            with open(descriptor, "r+b", buffering=0) as raw:  # noqa: PTH123 it is open already
                fcntl.flock(raw, fcntl.LOCK_EX)
                try:
                    in_place = os.path.samestat(os.fstat(descriptor), self._path.stat())
                except FileNotFoundError:
                    in_place = False
                if in_place:
                    with open(os.dup(descriptor), "r+b") as file:  # noqa: PTH123
                        yield file
                    return


def _known(line: bytes) -> _Known:
    try:
        return _decode(line)
    except msgspec.DecodeError:  # torn
        return _Known()
