"""RTP as bytes and numbers (RFC 3550): headers, wrapping counters, what is received and what is sent.

No I/O and no clock: times come in as arguments, in seconds of any steady clock.
"""

import random
import struct
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import NamedTuple

CLOCK_RATE = 48_000  # Opus in RTP, whatever it encodes (RFC 7587 section 4.1)
SAMPLES_20_MS = 960

HEADER_BYTES = 12
_HEADER = struct.Struct("!BBHLL")
_PLAIN = 0x80  # version 2; no padding, no extension, no contributing sources
_MAX_DROPOUT, _MAX_MISORDER = 3000, 100  # RFC 3550 appendix A.1
_MAX_STREAMS = 16


_new = tuple.__new__  # what a named tuple's own constructor comes to, in a fifth of the time


class RtpPacket(NamedTuple):
    """One packet's header, its extensions left out, and where in the buffer its payload lies."""

    ssrc: int
    payload_type: int
    sequence: int
    timestamp: int
    marker: bool
    start: int
    end: int


def parse(data: bytes | memoryview, length: int) -> RtpPacket | None:
    """Return the packet in the first `length` bytes of `data`, or None if it is malformed.

    Header extensions are stepped over and never read: a malformed one must not end a call.
    """
    if length < HEADER_BYTES:
        return None
    flags, kind, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    start, end = HEADER_BYTES, length
    if flags != _PLAIN:
        start += 4 * (flags & 0x0F)
        if flags & 0x10:
            if end < start + 4:
                return None
            start += 4 + 4 * (data[start + 2] << 8 | data[start + 3])
        if flags & 0x20:
            end -= data[length - 1]
        if flags >> 6 != 2 or end < start:
            return None
    return _new(RtpPacket, (ssrc, kind & 0x7F, sequence, timestamp, kind >= 0x80, start, end))


def _signed(difference: int) -> int:
    """Return the difference of two 32-bit counters that is nearest to 0."""
    return ((difference + 0x80000000) & 0xFFFFFFFF) - 0x80000000


class Unwrapper:
    """Extends a counter that wraps (16-bit sequence numbers, 32-bit timestamps) to one that does not."""

    def __init__(self, bits: int) -> None:
        self._modulus = 1 << bits
        self._last: int | None = None

    def extend(self, value: int) -> int:
        """Return the number nearest to the last one that is `value` modulo the counter's size."""
        if self._last is None:
            self._last = value
        else:
            ahead = (value - self._last) % self._modulus
            self._last += ahead if ahead < self._modulus // 2 else ahead - self._modulus
        return self._last


class ReceivedStream:
    """What came from one SSRC: counts as in RFC 3550 appendix A.3, jitter as in A.8."""

    def __init__(self) -> None:
        self.received = 0
        self.jitter_ms: float | None = None
        self.last_at_s = 0.0
        self.highest = 0  # extended sequence number
        self._base: int | None = None
        self._lost_before = 0  # up to the last restart of the sequence
        self._counted = 0  # since then
        self._transit_s: float | None = None
        self._reported = (0, 0)

    def take(self, packet: RtpPacket, at_s: float, *, timed: bool) -> None:
        """Count a packet; only a `timed` one (audio, no DTMF) says something about jitter."""
        _, _, sequence, timestamp, _, _, _ = packet
        self.received += 1
        self.last_at_s = at_s
        ahead = (sequence - self.highest) & 0xFFFF
        if self._base is None or _MAX_DROPOUT < ahead < 0x10000 - _MAX_MISORDER:
            self._lost_before = self.lost
            self._base = self.highest = sequence
            self._counted, self._transit_s, self._reported = 0, None, (0, 0)
        elif ahead <= _MAX_DROPOUT:
            self.highest += ahead
        self._counted += 1
        if timed:
            transit_s = at_s - timestamp / CLOCK_RATE
            if self._transit_s is not None:
                change_ms = abs(transit_s - self._transit_s) * 1000
                if change_ms < 60_000:  # beyond that the timestamp wrapped or restarted
                    known_ms = self.jitter_ms or 0.0
                    self.jitter_ms = known_ms + (change_ms - known_ms) / 16
            self._transit_s = transit_s

    @property
    def expected(self) -> int:
        """How many packets there should have been since the sequence began."""
        return 0 if self._base is None else self.highest - self._base + 1

    @property
    def lost(self) -> int:
        """Packets that never came; late ones are taken back."""
        return self._lost_before + max(0, self.expected - self._counted)

    def fraction_lost(self) -> int:
        """Return the share lost since the last call, in 1/256, as a receiver report wants it."""
        before_expected, before_received = self._reported
        self._reported = (self.expected, self._counted)
        expected, received = self.expected - before_expected, self._counted - before_received
        return 0 if expected <= 0 or received >= expected else ((expected - received) << 8) // expected


class Heard(Enum):
    """What a packet is to the listener."""

    NOTHING = auto()
    SOUND = auto()
    EVENT = auto()  # DTMF (RFC 4733), which takes sequence numbers of the sound it replaces


class IncomingAudio:
    """Decides which of the peer's streams is the consumer's voice, and keeps the figures of all.

    All sections share one transport, and Meta moves the consumer from mid 0 to mid 1 while the call runs, with a new
    SSRC that may or may not be announced. So the stream is chosen by what arrives, not by section: one announced by a
    newer section goes before others, of equals the newest, and any goes before one that has fallen silent.
    """

    SILENT_AFTER_S = 0.5

    def __init__(self) -> None:
        self.streams: dict[int, ReceivedStream] = {}
        self._gone = (0, 0)  # received and lost of streams that are no longer kept
        self.heard: int | None = None
        self._opus: frozenset[int] = frozenset()
        self.events: Mapping[int, int] = {}
        """Clock rates of the event payload types, Hz."""
        self._rank: dict[int, int] = {}

    def expect(self, opus: Iterable[int], events: Mapping[int, int], announced: Iterable[int]) -> None:
        """Set the payload types to come and the announced SSRCs, those of the newest section last."""
        self._opus, self.events = frozenset(opus), events
        self._rank = {ssrc: place for place, ssrc in enumerate(announced, start=1)}

    def take(self, packet: RtpPacket, at_s: float) -> Heard:
        """Count a packet and return what it is: NOTHING if it is sound of a stream that is not heard.

        Events count on every stream: who is muted, or was just moved to another section, has none that is heard yet.
        """
        ssrc, payload_type, _, _, _, _, _ = packet
        timed = payload_type in self._opus
        if not timed and payload_type not in self.events:
            return Heard.NOTHING
        stream = self.streams.get(ssrc)
        if stream is not None and ssrc == self.heard:  # nearly always
            stream.take(packet, at_s, timed=timed)
            return Heard.SOUND if timed else Heard.EVENT
        new = stream is None
        if stream is None:
            while len(self.streams) >= _MAX_STREAMS:  # a peer that keeps changing its SSRC
                gone = self.streams.pop(next(known for known in self.streams if known != self.heard))
                self._gone = (self._gone[0] + gone.received, self._gone[1] + gone.lost)
            stream = self.streams[ssrc] = ReceivedStream()
        stream.take(packet, at_s, timed=timed)
        if ssrc != self.heard and timed and self._goes_first(ssrc, at_s, new=new):
            self.heard = ssrc
        if not timed:
            return Heard.EVENT
        return Heard.SOUND if ssrc == self.heard else Heard.NOTHING

    def _goes_first(self, ssrc: int, at_s: float, *, new: bool) -> bool:
        if self.heard is None:
            return True
        theirs, ours = self._rank.get(ssrc, 0), self._rank.get(self.heard, 0)
        return (
            theirs > ours or (theirs == ours and new) or at_s - self.streams[self.heard].last_at_s > self.SILENT_AFTER_S
        )

    @property
    def received(self) -> int:
        """Packets of all streams."""
        return self._gone[0] + sum(stream.received for stream in self.streams.values())

    @property
    def lost(self) -> int:
        """Packets missing from all streams."""
        return self._gone[1] + sum(stream.lost for stream in self.streams.values())

    @property
    def jitter_ms(self) -> float | None:
        """Interarrival jitter of the stream that is heard; None before its second packet."""
        return None if self.heard is None else self.streams[self.heard].jitter_ms


class OutgoingAudio:
    """Numbers and stamps the packets of our one stream; its SSRC stays for the whole call.

    Packets made here and packets passed on from another leg share the stream. Those passed on keep their distances:
    what was lost, late or left out before us is so for the far side, too, whose playout knows what to do about it.
    """

    PAUSE_S = 0.06  # a packet later than this starts a new talkspurt

    def __init__(self) -> None:
        self.ssrc = random.getrandbits(32)
        self.payload_type: int | None = None
        self.events: tuple[int, int] | None = None
        """Payload type and clock rate of the events the peer takes."""
        self.packets = 0
        self.octets = 0
        self._sequence = random.getrandbits(15)  # of the next packet
        self._origin = random.getrandbits(32)
        self._started_s = 0.0
        self._next = 0  # samples since the first packet
        self._left_out = False  # what would have come before the next packet
        self._source: int | None = None  # SSRC of the stream that is passed on
        self._shift = self._delay = 0  # from its numbers and timestamps to ours
        self._passed = 0  # numbers of it that are used up

    def write(self, buffer: memoryview, payload: bytes, samples: int, at_s: float) -> int:
        """Write the next packet, and return its length; 0 while the peer wants no audio.

        The timestamp counts the samples sent; after a pause it catches up with the clock and the marker is set
        (RFC 3551 section 4.1), so that the far side's playout does not take silence for lateness.
        """
        if self.payload_type is None:
            return 0
        talkspurt = self._catch_up(at_s, samples)
        return self._append(buffer, self.payload_type, payload, samples, marker=talkspurt)

    def leave_out(self, samples: int) -> None:
        """Let samples pass in which nothing is said: the next packet is stamped as if they had been sent."""
        if self.packets:
            self._next += samples
            self._left_out = True

    def write_event(self, buffer: memoryview, payload: bytes, at_s: float, *, marker: bool, age: int) -> int:
        """Write an event packet in place of 20 ms of sound, and return its length; 0 while the peer wants none.

        It is stamped with the beginning of its event, `age` samples ago. `marker` says that it begins now.
        """
        if self.payload_type is None or self.events is None:
            return 0
        if marker:
            self._catch_up(at_s, SAMPLES_20_MS)
        return self._append(buffer, self.events[0], payload, SAMPLES_20_MS, marker=marker, age=age)

    def _append(
        self, buffer: memoryview, payload_type: int, payload: bytes, samples: int, *, marker: bool, age: int = 0
    ) -> int:
        self._source = None
        end = HEADER_BYTES + len(payload)
        self._put(buffer, payload_type, self._sequence, self._origin + self._next - age, end, marker=marker)
        buffer[HEADER_BYTES:end] = payload
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._next += samples
        return end

    def pass_on(self, buffer: memoryview, packet: RtpPacket, payload_type: int, at_s: float) -> int:
        """Rewrite another leg's packet, in `buffer`, as one of our stream; return its length, 0 if it is too late."""
        ssrc, _, sequence, timestamp, marker, start, end = packet
        ahead = (sequence + self._shift - self._sequence) & 0xFFFF
        if ssrc != self._source or _MAX_DROPOUT < ahead < 0x10000 - _MAX_MISORDER:
            marker = self._catch_up(at_s, SAMPLES_20_MS) or marker
            self._source = ssrc
            self._shift = self._sequence - sequence
            self._delay = self._next - timestamp
            self._passed = ahead = 0
        sequence = (sequence + self._shift) & 0xFFFF
        if ahead <= _MAX_DROPOUT:
            self._passed += ahead + 1
            self._sequence = (sequence + 1) & 0xFFFF
            self._next += _signed(timestamp + self._delay + SAMPLES_20_MS - self._next)
        elif 0x10000 - ahead > self._passed:  # from before we began to pass on: its number is taken
            return 0
        if start != HEADER_BYTES:
            moved_to = HEADER_BYTES + end - start
            buffer[HEADER_BYTES:moved_to] = bytes(buffer[start:end])
            end = moved_to
        self._put(buffer, payload_type, sequence, self._origin + timestamp + self._delay, end, marker=marker)
        return end

    def _catch_up(self, at_s: float, samples: int) -> bool:
        """Bring the timestamp up to the clock after a pause, and tell whether there was one."""
        left_out, self._left_out = self._left_out, False
        if self.packets == 0:
            self._started_s = at_s
            return True
        behind_s = at_s - self._started_s - self._next / CLOCK_RATE
        if behind_s <= self.PAUSE_S:
            return left_out
        self._next += int(behind_s * CLOCK_RATE) // samples * samples
        return True

    def _put(
        self, buffer: memoryview, payload_type: int, sequence: int, timestamp: int, end: int, *, marker: bool
    ) -> None:
        second = 0x80 | payload_type if marker else payload_type
        _HEADER.pack_into(buffer, 0, _PLAIN, second, sequence, timestamp & 0xFFFFFFFF, self.ssrc)
        self.packets += 1
        self.octets += end - HEADER_BYTES

    def timestamp_at(self, at_s: float) -> int:
        """Return the RTP timestamp of the moment `at_s`, for a sender report."""
        return (self._origin + int((at_s - self._started_s) * CLOCK_RATE)) & 0xFFFFFFFF
