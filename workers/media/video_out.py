"""Video as it goes: pictures cut into packets (RFC 7741, RFC 6184), numbered as one stream, kept a while to repeat."""

import random
import struct
from collections import OrderedDict, deque
from typing import Final, NamedTuple

from workers.media.rtp import HEADER_BYTES, RtpPacket
from workers.media.video_in import units

CLOCK_RATE: Final = 90_000
PAYLOAD_BYTES: Final = 1180
"""What fits beside headers and SRTP into what any path carries."""
MOST_WAITING: Final = 600
KEPT: Final = 512
"""Packets that may be asked for again: two seconds of them, and more."""
_HEADER: Final = struct.Struct("!BBHLL")
_FAR: Final = 3000


class Packet(NamedTuple):
    """What is left to number of a packet."""

    timestamp: int
    marker: bool
    payload: bytes


def packetize(codec: str, data: bytes, picture_id: int) -> list[bytes]:
    """Cut an encoded picture into payloads."""
    if codec == "vp8":
        mark = struct.pack("!H", 0x8000 | picture_id & 0x7FFF)
        size = PAYLOAD_BYTES - 4
        return [
            bytes([0x80 | (0x10 if at == 0 else 0), 0x80]) + mark + data[at : at + size]
            for at in range(0, len(data), size)
        ]
    return [payload for unit in units(data) if unit for payload in _fragments(unit)]


def _fragments(unit: bytes) -> list[bytes]:
    """Cut a NAL unit as FU-A where it is too long for one packet."""
    if len(unit) <= PAYLOAD_BYTES:
        return [unit]
    indicator, kind, size = unit[0] & 0xE0 | 28, unit[0] & 0x1F, PAYLOAD_BYTES - 2
    return [
        bytes([indicator, kind | (0x80 if at == 1 else 0) | (0x40 if at + size >= len(unit) else 0)])
        + unit[at : at + size]
        for at in range(1, len(unit), size)
    ]


class OutgoingVideo:
    """Numbers, stamps and keeps the packets of our one video stream; ours and those passed on share it."""

    def __init__(self) -> None:
        self.ssrc = random.getrandbits(32)
        self.packets = 0
        self.octets = 0
        self._sequence = random.getrandbits(15)
        self._origin = random.getrandbits(32)
        self._waiting: deque[tuple[int, Packet]] = deque()
        self._kept: OrderedDict[int, tuple[int, Packet]] = OrderedDict()
        self._picture = random.getrandbits(15)
        self._source: int | None = None
        self._shift = self._delay = self._first = 0

    @property
    def waiting(self) -> int:
        """Packets that wait for their round."""
        return len(self._waiting)

    def put(self, codec: str, payload_type: int, data: bytes, at_s: float) -> bool:
        """Queue a picture; False where so much waits that it would come too late: the next must be a key picture."""
        if len(self._waiting) > MOST_WAITING:
            return False
        self._picture += 1
        payloads = packetize(codec, data, self._picture)
        stamp = self.timestamp_at(at_s)
        for place, payload in enumerate(payloads, start=1):
            self._waiting.append((payload_type, Packet(stamp, place == len(payloads), payload)))
        return True

    def forget(self) -> None:
        """Drop what waits."""
        self._waiting.clear()

    def write(self, buffer: memoryview) -> int:
        """Write the next packet that waits, and return its length; 0 if none does."""
        if not self._waiting:
            return 0
        self._source = None
        payload_type, packet = self._waiting.popleft()
        sequence, self._sequence = self._sequence, (self._sequence + 1) & 0xFFFF
        return self._put(buffer, sequence, payload_type, packet)

    def again(self, buffer: memoryview, sequence: int) -> int:
        """Write a packet once more that was sent a while ago; 0 where it is no longer known."""
        known = self._kept.get(sequence)
        return 0 if known is None else self._write(buffer, sequence, *known)

    def pass_on(self, buffer: memoryview, packet: RtpPacket, payload_type: int, at_s: float) -> int:
        """Write another leg's packet, in `buffer`, as one of our stream; return its length, 0 if it is too late."""
        ahead = (packet.sequence + self._shift - self._sequence) & 0xFFFF
        if packet.ssrc != self._source or _FAR < ahead < 0x10000 - _FAR:
            self._source = packet.ssrc
            self._shift = self._sequence - packet.sequence
            self._delay = self.timestamp_at(at_s) - packet.timestamp
            self._first = self._sequence
            ahead = 0
        sequence = (packet.sequence + self._shift) & 0xFFFF
        if ahead <= _FAR:
            self._sequence = (sequence + 1) & 0xFFFF
        elif (sequence - self._first) & 0xFFFF > 0x8000:  # from before we began to pass on: its number is taken
            return 0
        payload = bytes(buffer[packet.start : packet.end])
        stamp = (packet.timestamp + self._delay) & 0xFFFFFFFF
        return self._put(buffer, sequence, payload_type, Packet(stamp, packet.marker, payload))

    def _put(self, buffer: memoryview, sequence: int, payload_type: int, packet: Packet) -> int:
        self._kept[sequence] = payload_type, packet
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        self.packets += 1
        self.octets += len(packet.payload)
        return self._write(buffer, sequence, payload_type, packet)

    def _write(self, buffer: memoryview, sequence: int, payload_type: int, packet: Packet) -> int:
        second = 0x80 | payload_type if packet.marker else payload_type
        _HEADER.pack_into(buffer, 0, 0x80, second, sequence, packet.timestamp, self.ssrc)
        end = HEADER_BYTES + len(packet.payload)
        buffer[HEADER_BYTES:end] = packet.payload
        return end

    def timestamp_at(self, at_s: float) -> int:
        """Return the RTP timestamp of a moment."""
        return (self._origin + int(at_s * CLOCK_RATE)) & 0xFFFFFFFF
