"""The keys a peer presses, told as they are let go: `dtmf.DigitReader` with the clock it needs while a key is down."""

import asyncio
import time
from collections.abc import Callable

from workers.media.dtmf import GIVEN_UP_S, Digit, DigitReader

_LOOK_EVERY_S = GIVEN_UP_S / 5


class Keys:
    """Tells the digits of one leg; there is no timer while no key is down. Its loop's thread only."""

    def __init__(self, tell: Callable[[Digit], None]) -> None:
        self._tell = tell
        self._reader = DigitReader()
        self._next_look: asyncio.TimerHandle | None = None

    def take(self, payload: bytes, ssrc: int, timestamp: int, rate: int, at_s: float, *, marker: bool) -> None:
        """Take an event packet; see `DigitReader.take`."""
        for digit in self._reader.take(payload, ssrc, timestamp, rate, at_s, marker=marker):
            self._tell(digit)
        if self._next_look is None:
            self._look_later(GIVEN_UP_S)

    def _look(self) -> None:
        """See whether a key was let go without a word."""
        for digit in self._reader.poll(time.monotonic()):
            self._tell(digit)
        self._look_later(_LOOK_EVERY_S)

    def _look_later(self, pause_s: float) -> None:
        held = self._reader.held
        self._next_look = asyncio.get_running_loop().call_later(pause_s, self._look) if held else None
