"""What a handler sends, on its way: frames in order, and the marks between them.

It is filled and cleared on the handlers' loop, and emptied on the media loop, which clears it when the call is closed.
Each thing in it is taken by one of them.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from shared.handling import Frame

QUEUED_FRAMES: Final = 3_000
"""A minute of sound."""

Told = Callable[[bool], None]
"""Called once: with True on the media loop, where all before the mark has left; with False where it was cleared."""


class Outgoing:
    """The frames that wait to be sent."""

    def __init__(self) -> None:
        self._waiting: deque[Frame | Told] = deque()
        self._put = 0
        """Frames, less those cleared: changed on the handlers' loop, until the call is closed."""
        self.cut = False
        """Whether it was cleared since this was looked at: set on the handlers' loop, taken back on the media loop."""
        self._taken = 0
        """Frames: changed on the media loop only."""

    def __len__(self) -> int:
        """Return how many frames wait."""
        return max(0, self._put - self._taken)

    # -- on the handlers' loop ---------------------------------------------------------------------------------------

    def put(self, frame: Frame) -> None:
        """Add a frame.

        Raises:
            BufferError: a minute of sound waits.
        """
        if len(self) >= QUEUED_FRAMES:
            raise BufferError("a minute of sound waits; send no faster than it plays")
        self._put += 1
        self._waiting.append(frame)

    def mark(self, told: Told) -> None:
        """Have `told` called when all that was put before has left."""
        self._waiting.append(told)

    def clear(self) -> int:
        """Drop what waits, and return how many frames that was. The marks among them are told so, in order."""
        dropped, marks = 0, []
        while (item := self._next()) is not None:
            if isinstance(item, Frame):
                dropped += 1
            else:
                marks.append(item)
        self._put -= dropped
        self.cut = True
        for told in marks:
            told(False)
        return dropped

    # -- on the media loop -------------------------------------------------------------------------------------------

    def take(self) -> Frame | None:
        """Return the next frame, or none; the marks before it are told."""
        while True:
            item = self._next()
            if item is None or isinstance(item, Frame):
                self._taken += item is not None
                return item
            item(True)

    def reach(self) -> None:
        """Tell the marks before the next frame: at the beginning of a tick, when what left before has been played.

        A frame is looked at and not taken: in that moment `clear` would not find it.
        """
        while self._waiting:
            try:
                if isinstance(self._waiting[0], Frame):
                    return
            except IndexError:  # somebody cleared in between
                return
            item = self._next()
            if isinstance(item, Frame):  # or cleared, and put it there
                self._waiting.appendleft(item)
            elif item is not None:
                item(True)

    def _next(self) -> Frame | Told | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None
