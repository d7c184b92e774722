"""What is on its way to the consumer for longer than a tick: clips and digits."""

import asyncio
from collections import deque
from collections.abc import Sequence

from workers.media.dtmf import EventPacket


class Playing:
    """A clip on its way, packet by packet."""

    def __init__(self, packets: Sequence[bytes], done: asyncio.Future[None]) -> None:
        self.packets = packets
        self.done = done
        self.next = 0


class Keying:
    """Digits on their way, packet by packet; None is a packet of silence."""

    def __init__(self, packets: Sequence[EventPacket | None], done: asyncio.Future[None]) -> None:
        self.packets = deque(packets)
        self.done = done
        self.last: EventPacket | None = None
        """What was sent last: a key is down, or was let go just now."""
