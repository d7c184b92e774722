"""What a handler does to record a call."""

import os
from collections.abc import Awaitable, Mapping
from types import TracebackType
from typing import Final, Protocol, Self

RECORD_CONSENT: Final = "record_consent"
"""The option that says what consumers hear before they are recorded."""


class RecordingHolder(Protocol):
    """What this verb of a `Call` needs of the worker that holds it; called on the handler's event loop."""

    def play(self, sound: str) -> Awaitable[None]: ...
    def start_recording(self, path: str | None, *, stereo: bool) -> Awaitable[str]: ...
    def stop_recording(self) -> Awaitable[None]: ...


class Recorded:
    """The verb of a `Call` that records."""

    holder: RecordingHolder
    options: Mapping[str, str]
    _announced = False

    async def announce_recording(self) -> None:
        """Play the Page's `record_consent`, if it has one and this handler has not played it yet.

        Who does not want to be recorded can hang up then. `record` begins with it.
        """
        consent = self.options.get(RECORD_CONSENT)
        if consent and not self._announced:
            await self.holder.play(consent)
            self._announced = True

    def record(self, path: str | os.PathLike[str] | None = None, *, stereo: bool = False) -> "Recording":
        """Record what the consumer says to a file, while the returned context is open.

        A path ends in `.opus` or `.ogg`, to keep the packets as they come, or in `.wav`, to have them decoded. Without
        one an `.opus` file named after the call is made in the recordings folder. Where the Page has a
        `record_consent`, that is heard first.

        Args:
            path: where to.
            stereo: record what we say as well: the consumer is on the left, we are on the right.
        """
        return Recording(self, None if path is None else os.fspath(path), stereo=stereo)


class Recording:
    """A recording; an asynchronous context manager. `path` is known once it runs."""

    def __init__(self, call: Recorded, path: str | None, *, stereo: bool) -> None:
        self._call = call
        self._wanted = path
        self._stereo = stereo
        self.path = path or ""

    async def __aenter__(self) -> Self:
        """Start to record."""
        await self._call.announce_recording()
        self.path = await self._call.holder.start_recording(self._wanted, stereo=self._stereo)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file."""
        await self._call.holder.stop_recording()
