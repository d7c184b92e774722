"""What a handler does to record a call."""

import os
from collections.abc import Awaitable
from types import TracebackType
from typing import Protocol, Self


class RecordingHolder(Protocol):
    """What this verb of a `Call` needs of the worker that holds it; called on the handler's event loop."""

    def start_recording(self, path: str | None, *, stereo: bool) -> Awaitable[str]: ...
    def stop_recording(self) -> Awaitable[None]: ...


class Recorded:
    """The verb of a `Call` that records."""

    holder: RecordingHolder

    def record(self, path: str | os.PathLike[str] | None = None, *, stereo: bool = False) -> "Recording":
        """Record what the consumer says to a file, while the returned context is open.

        A path ends in `.opus` or `.ogg`, to keep the packets as they come, or in `.wav`, to have them decoded. Without
        one an `.opus` file named after the call is made in the recordings folder.

        Args:
            path: where to.
            stereo: record what we say as well: the consumer is on the left, we are on the right.
        """
        return Recording(self.holder, None if path is None else os.fspath(path), stereo=stereo)


class Recording:
    """A recording; an asynchronous context manager. `path` is known once it runs."""

    def __init__(self, holder: RecordingHolder, path: str | None, *, stereo: bool) -> None:
        self._holder = holder
        self._wanted = path
        self._stereo = stereo
        self.path = path or ""

    async def __aenter__(self) -> Self:
        """Start to record."""
        self.path = await self._holder.start_recording(self._wanted, stereo=self._stereo)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file."""
        await self._holder.stop_recording()
