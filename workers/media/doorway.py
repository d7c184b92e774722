"""Lets calls in one after the other, so that a rush at the door does not make the ticks of those inside late."""

import asyncio
from typing import Final

from shared.clock import monotonic_s

BETWEEN_S: Final = 0.005
"""To take a call up costs about a millisecond at once, and to send it away another: a tick of 20 ms bears four."""


class Doorway:
    """Who comes alone goes straight in; of a rush, one every few milliseconds, in the order they came."""

    def __init__(self) -> None:
        self._free_s = 0.0

    async def enter(self) -> None:
        """Wait for one's turn."""
        now_s = monotonic_s()
        turn_s = max(self._free_s, now_s)
        self._free_s = turn_s + BETWEEN_S
        if turn_s > now_s:
            await asyncio.sleep(turn_s - now_s)
