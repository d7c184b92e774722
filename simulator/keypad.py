"""The keys of the consumer's phone: RFC 4733 events on the audio stream, pressed here and heard from the business.

aiortc knows no such events. So whatever it sends and receives passes by here: the packets of a key take the place of
the packets of speech, one every 20 ms and with their sequence numbers, and a muted phone sends nothing at all.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Mapping

from aiortc.rtp import RtpPacket, is_rtcp

from simulator import sound

KEYS = "0123456789*#"  # by event code (RFC 4733, table 3)
TONE_FRAMES, GAP_FRAMES = 25, 5  # a tone of 500 ms and a gap of 100 ms, always (reference, section 2)
ENDS = 3  # how often the end of a tone is sent (RFC 4733, section 2.5.1.4)
VOLUME = 10  # in -dBm0
END_BIT = 0x80


class Keypad:
    """Presses keys in the stream of one SSRC, and mutes it."""

    def __init__(self) -> None:
        self.muted = False
        self.pressed = ""
        self._ssrc: int | None = None
        self._event: int | None = None
        self._rate_hz = sound.RATE_HZ
        self._queue: deque[str] = deque()
        self._idle = asyncio.Event()
        self._frame = 0
        self._started_at = 0
        self._dropped = 0

    def begin(self, ssrc: int, event: tuple[int, int] | None) -> None:
        """Takes up the stream; `event` is the payload type and clock rate of telephone events."""
        self._ssrc = ssrc
        if event is not None:
            self._event, self._rate_hz = event

    async def press(self, digits: str) -> bool:
        """Presses keys and waits for the last gap, or the call's end; False where the business knows no events."""
        if self._event is None:
            return False
        self._queue.extend(digits)
        self._idle.clear()
        await self._idle.wait()
        return True

    def let_go(self) -> None:
        """Takes the fingers off the keys: the call is over, and nobody waits for the rest."""
        self._queue.clear()
        self._idle.set()

    def rewrite(self, data: bytes) -> bytes | None:
        """Returns what is sent instead of a packet of aiortc's; None: nothing."""
        if is_rtcp(data) or int.from_bytes(data[8:12], "big") != self._ssrc:
            return data
        packet = RtpPacket.parse(data)
        if self._queue:
            self._press_on(packet)
        elif self.muted:
            self._dropped += 1
            return None
        packet.sequence_number = (packet.sequence_number - self._dropped) & 0xFFFF
        return packet.serialize()

    def _press_on(self, packet: RtpPacket) -> None:
        """Makes the packet one of the key's, or leaves speech in it where the gap allows it."""
        self._frame += 1
        if self._frame == 1:
            self._started_at = packet.timestamp
        last = TONE_FRAMES + ENDS - 1
        if self._frame <= last:
            held = min(self._frame, TONE_FRAMES) * self._rate_hz // 50
            end = END_BIT if self._frame >= TONE_FRAMES else 0
            assert self._event is not None  # noqa: S101 - nothing is queued without
            packet.payload_type = self._event
            packet.payload = struct.pack("!BBH", KEYS.index(self._queue[0]), end | VOLUME, held)
            packet.timestamp = self._started_at
            packet.marker = 1 if self._frame == 1 else 0
        elif self._frame >= TONE_FRAMES + GAP_FRAMES:
            self.pressed += self._queue.popleft()
            self._frame = 0
            if not self._queue:
                self._idle.set()


class KeyEar:
    """Hears the keys that the business presses: a key is told once, however many packets it has."""

    def __init__(self) -> None:
        self.heard = ""
        self._payload_types: Mapping[int, int] = {}
        self._last: tuple[int, int] | None = None

    def begin(self, payload_types: Mapping[int, int]) -> None:
        """Takes these payload types for events, with their clock rates."""
        self._payload_types = payload_types

    def listen(self, data: bytes) -> None:
        """Looks at one packet that has come."""
        if is_rtcp(data) or data[1] & 0x7F not in self._payload_types:
            return
        packet = RtpPacket.parse(data)
        if len(packet.payload) < 4 or packet.payload[0] >= len(KEYS):
            return
        key = packet.ssrc, packet.timestamp
        if key != self._last:
            self._last = key
            self.heard += KEYS[packet.payload[0]]
