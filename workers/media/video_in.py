"""Video as it comes: packets put in order, what is missing noted, whole encoded pictures made of them.

VP8 as in RFC 7741, H264 as in RFC 6184 (single units, STAP-A, FU-A). Pure: times come in as arguments, in seconds of
any steady clock.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from workers.media.rtp import Unwrapper

MOST_PACKETS: Final = 1024
"""What waits to become a picture; some 1.2 MB."""
MOST_MISSING: Final = 200
HELD_S: Final = 0.4
"""A picture with a hole is waited for so long, and with it those behind it."""
ASKED_AFTER_S: Final = 0.01
"""A packet that comes late by less was overtaken and not lost."""
ASKED_AGAIN_S: Final = 0.06
ASKED_AT_MOST: Final = 6
_START: Final = b"\0\0\0\1"


class Encoded(NamedTuple):
    """One picture as it was encoded: a VP8 frame, or an H264 access unit with start codes (Annex B)."""

    codec: str
    key: bool
    """Whether it can be decoded without those before it."""
    timestamp: int
    """RTP timestamp, 90 kHz."""
    data: bytes


class _Part(NamedTuple):
    timestamp: int
    marker: bool
    payload: bytes


class Assembler:
    """Makes pictures of one stream's packets; after a loss that was not repaired it goes on with a key picture."""

    def __init__(self, codec: str) -> None:
        self.codec = codec
        self._unwrap = Unwrapper(16)
        self._parts: dict[int, _Part] = {}
        self._missing: dict[int, tuple[float, float, int]] = {}  # since when, asked for when, how often
        self._highest = -MOST_PACKETS - 1  # far from any number: the first packet starts it all
        self._next: int | None = None  # where the next picture begins; None while a key picture is awaited
        self._reach = 0

    @property
    def wants_key(self) -> bool:
        """Whether nothing can be made of what comes before a key picture does."""
        return self._next is None

    def take(self, sequence: int, timestamp: int, payload: bytes, at_s: float, *, marker: bool) -> list[Encoded]:
        """Take a packet, and return the pictures that it completes."""
        number = self._unwrap.extend(sequence)
        if abs(number - self._highest) > MOST_PACKETS:
            self._start_over()
            self._highest = number - 1
        if number > self._highest:
            if self._next is not None:
                self._missing |= dict.fromkeys(range(self._highest + 1, number), (at_s, 0.0, 0))
            self._highest = number
        self._missing.pop(number, None)
        if self._next is not None and number < self._next:
            return []
        if len(self._parts) >= MOST_PACKETS or len(self._missing) > MOST_MISSING:
            self._start_over()
        self._parts[number] = _Part(timestamp, marker, payload)
        if self._next is None:
            self._begin(number, at_s)
        return list(self._whole())

    def missing(self, at_s: float, round_trip_s: float = 0.0) -> list[int]:
        """Return the sequence numbers to ask for now, and give up what was waited for in vain."""
        due = []
        for number, (since_s, asked_s, times) in tuple(self._missing.items()):
            if at_s - since_s > HELD_S:
                self._give_up(number, at_s)
                return []
            pause_s = ASKED_AFTER_S if not times else max(ASKED_AGAIN_S, round_trip_s * 1.2)
            if times < ASKED_AT_MOST and at_s - (asked_s or since_s) >= pause_s:
                self._missing[number] = since_s, at_s, times + 1
                due.append(number & 0xFFFF)
        return due

    def _start_over(self) -> None:
        self._parts.clear()
        self._missing.clear()
        self._next = None

    def _give_up(self, number: int, at_s: float) -> None:
        """Go on with a key picture behind the hole, where one has come already."""
        self._next = None
        self._missing.clear()
        for later in sorted(self._parts):
            if later < number:
                del self._parts[later]
            elif self._begin(later, at_s):
                return

    def _begin(self, number: int, at_s: float) -> bool:
        if not _begins_key(self.codec, self._parts[number].payload):
            return False
        self._next = self._reach = number
        for before in [one for one in self._parts if one < number]:
            del self._parts[before]
        absent = set(range(number, self._highest)) - self._parts.keys()
        self._missing = dict.fromkeys(sorted(absent), (at_s, 0.0, 0))
        return True

    def _whole(self) -> Iterator[Encoded]:
        while self._next is not None and (part := self._parts.get(self._reach)) is not None:
            first = self._parts[self._next]
            if self._reach > self._next and part.timestamp != first.timestamp:  # its sender sets no markers
                yield from self._finish(self._next, first.timestamp)
                continue
            self._reach += 1
            if part.marker or (not part.payload and self._reach == self._next + 1):  # padding probes the path
                yield from self._finish(self._next, first.timestamp)

    def _finish(self, start: int, timestamp: int) -> Iterator[Encoded]:
        parts = [self._parts.pop(number) for number in range(start, self._reach)]
        self._next = self._reach
        payloads = [part.payload for part in parts if part.payload]
        if not payloads:
            return
        data = b"".join(_unpacked(self.codec, payloads))
        if data:
            yield Encoded(self.codec, is_key(self.codec, data), timestamp, data)
        else:
            self._start_over()


def is_key(codec: str, data: bytes) -> bool:
    """Tell whether an encoded picture can be decoded alone."""
    return not data[0] & 1 if codec == "vp8" else any(unit[0] & 0x1F == 5 for unit in units(data) if unit)


def units(data: bytes) -> list[bytes]:
    """Return the NAL units between start codes (H.264 annex B)."""
    return [unit.rstrip(b"\0") for unit in data.split(b"\0\0\1")[1:]]


def _begins_key(codec: str, payload: bytes) -> bool:
    """Tell whether a key picture begins with this packet; for H264 that is where parameters are (SPS)."""
    if not payload:
        return False
    if codec == "vp8":
        start = _vp8_header(payload)
        return 0 < start < len(payload) and payload[0] & 0x1F == 0x10 and not payload[start] & 1
    kind = payload[0] & 0x1F
    return kind == 7 or (kind == 24 and any(unit[0] & 0x1F == 7 for unit in _aggregated(payload)))


def _unpacked(codec: str, payloads: list[bytes]) -> Iterator[bytes]:
    """Yield the picture piece by piece; a malformed packet is as one that says nothing."""
    for payload in payloads:
        if codec == "vp8":
            start = _vp8_header(payload)
            if start:
                yield payload[start:]
            continue
        kind = payload[0] & 0x1F
        if 0 < kind < 24:
            yield _START + payload
        elif kind == 24:
            yield from (_START + unit for unit in _aggregated(payload))
        elif kind == 28 and len(payload) > 2:
            if payload[1] & 0x80:
                yield _START + bytes([payload[0] & 0xE0 | payload[1] & 0x1F])
            yield payload[2:]


def _vp8_header(payload: bytes) -> int:
    """Return the length of the payload descriptor (RFC 7741 section 4.2); 0 if it is cut."""
    length = 1
    if payload[0] & 0x80:
        flags = payload[1] if len(payload) > 1 else 0
        length = 2
        if flags & 0x80:
            length += 2 if len(payload) > length and payload[length] & 0x80 else 1
        length += bool(flags & 0x40) + bool(flags & 0x30)
    return length if length < len(payload) else 0


def _aggregated(payload: bytes) -> Iterator[bytes]:
    at = 1
    while at + 2 < len(payload):
        length = payload[at] << 8 | payload[at + 1]
        at += 2
        if not 0 < length <= len(payload) - at:
            return
        yield payload[at : at + length]
        at += length
