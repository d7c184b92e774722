"""What is on its way to the consumer for longer than a tick: clips and digits."""

import asyncio
from collections import deque
from collections.abc import Sequence

from workers.media.dtmf import EventPacket


class Playing:
    """A clip on its way, packet by packet, and again from its beginning if it is asked for more."""

    def __init__(self, packets: Sequence[bytes]) -> None:
        self._packets = packets
        self._next = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when its last packet was taken."""

    def take(self) -> bytes:
        """Return its next packet."""
        packet = self._packets[self._next]
        self._next = (self._next + 1) % len(self._packets)
        if self._next == 0 and not self.done.done():
            self.done.set_result(None)
        return packet


class Keying:
    """Digits on their way, packet by packet; None is a packet of silence."""

    def __init__(self, packets: Sequence[EventPacket | None], done: asyncio.Future[None]) -> None:
        self.packets = deque(packets)
        self.done = done
        self.last: EventPacket | None = None
        """What was sent last: a key is down, or was let go just now."""
