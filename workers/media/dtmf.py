"""Keys of a telephone as RTP events (RFC 4733): packets in, digits out, and the other way round.

A key held is many packets: all bear the timestamp of its beginning and tell how long it has been held. The last one
comes three times with the E bit. All but one of them may be lost, repeated, or late, and it is still one digit.

Pure: the time comes in as an argument, in seconds of any steady clock. Digits are personal data; nothing here logs.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from workers.media.rtp import CLOCK_RATE

NAMES: Final = "0123456789*#ABCD"
"""The digits by their event codes (RFC 4733 table 3); what follows them, such as a hook flash, is no digit."""
PAUSES: Final = ",W"
PAUSE_TICKS: Final = 25
SHORTEST_MS, LONGEST_MS = 40, 10_000
"""How long a digit and the gap after it last: receivers may take shorter ones for speech (ITU-T Q.24)."""
GIVEN_UP_S: Final = 0.25
"""A key whose packets stopped coming for so long was let go, and all of its end packets were lost."""

_EVENT: Final = struct.Struct("!BBH")
_END, _VOLUME = 0x80, 10
_FULL: Final = 0xFFFF
_REORDERED_S: Final = 2.0  # an older timestamp later than this is no late packet: the sender has started anew
_MAX_STREAMS: Final = 16
_TICK_MS, _TICK = 20, CLOCK_RATE // 50


@dataclass(frozen=True, slots=True)
class Digit:
    """A key that was pressed and let go."""

    name: str
    """One of `NAMES`."""
    duration_ms: int


@dataclass(slots=True)
class _Press:
    """The last key of one stream."""

    event: int
    rate: int  # Hz
    start: int  # timestamp of its newest segment
    seen_s: float
    held: int = 0  # in that segment, as far as packets told
    held_before: int = 0  # in the segments before
    ended: bool = False  # the E bit was seen
    told: bool = False

    def continues_at(self, timestamp: int) -> bool:
        """Tell whether this key, its duration field being full, may go on in a segment of its own there (2.5.1.3)."""
        full = self.held + self.rate * GIVEN_UP_S >= _FULL
        return not self.ended and (full or (timestamp - self.start) & 0xFFFFFFFF == self.held)


class DigitReader:
    """Finds the digits among the event packets of a leg. After a packet, `poll` it until no key is `held`."""

    def __init__(self) -> None:
        self._presses: dict[int, _Press] = {}

    @property
    def held(self) -> bool:
        """Whether a key is down, as far as is known."""
        return any(not press.told for press in self._presses.values())

    def take(self, payload: bytes, ssrc: int, timestamp: int, rate: int, at_s: float, *, marker: bool) -> list[Digit]:
        """Return the digits that a packet, whose durations count at `rate` Hz, completes."""
        found: list[Digit] = []
        start = timestamp
        for event, flags, duration in _EVENT.iter_unpack(_whole(payload)):
            if event < len(NAMES):
                press = self._press(_Press(event, rate, start, at_s), ssrc, found, marker=marker)
                if press is not None:
                    press.held = max(press.held, duration)
                    press.ended |= flags >= _END
                    if press.ended:
                        _tell(press, found)
            # another event in the same packet follows without a pause (2.5.1.5)
            start = (start + duration) & 0xFFFFFFFF
        return found

    def poll(self, at_s: float) -> list[Digit]:
        """Return the digits whose packets stopped coming."""
        found: list[Digit] = []
        for press in self._presses.values():
            if at_s - press.seen_s >= GIVEN_UP_S:
                _tell(press, found)
        return found

    def _press(self, new: _Press, ssrc: int, found: list[Digit], *, marker: bool) -> _Press | None:
        """Return the key an event belongs to, the one before it being let go if it is new; None if it is late."""
        last = self._presses.get(ssrc)
        if last is not None:
            ahead = (new.start - last.start) & 0xFFFFFFFF
            recent = new.seen_s - last.seen_s < _REORDERED_S
            if new.event == last.event and ahead == 0:
                last.seen_s = new.seen_s
                return last
            if recent and ahead >= 1 << 31:
                return None
            if recent and new.event == last.event and not marker and last.continues_at(new.start):
                last.held_before += last.held if ahead == last.held else _FULL
                last.start, last.held, last.seen_s = new.start, 0, new.seen_s
                return last
            _tell(self._presses.pop(ssrc), found)
        elif len(self._presses) == _MAX_STREAMS:
            _tell(self._presses.pop(next(iter(self._presses))), found)
        self._presses[ssrc] = new
        return new


def _whole(payload: bytes) -> bytes:
    """Return the whole events of a payload."""
    return payload[: len(payload) // _EVENT.size * _EVENT.size]


def _tell(press: _Press, found: list[Digit]) -> None:
    if not press.told:
        press.told = True
        found.append(Digit(NAMES[press.event], round((press.held_before + press.held) * 1000 / press.rate)))


class EventPacket(NamedTuple):
    """An event packet as it leaves in place of 20 ms of sound."""

    payload: bytes
    marker: bool
    age: int
    """Samples at 48 kHz since its event, or the segment of it, began: so much its timestamp lies behind."""


def keyed(digits: str, rate: int, *, duration_ms: int = 100, gap_ms: int = 100) -> list[EventPacket | None]:
    """Return what to send, one after the other every 20 ms, to press these keys; None stands for silence.

    Raises:
        ValueError: there is another character than `NAMES` and `PAUSES` among them, or a time is out of bounds.
    """
    strange = sorted(set(digits.upper()) - set(NAMES) - set(PAUSES))
    if strange:
        raise ValueError(f"{''.join(strange)!r}: no telephone has such keys; there are {NAMES}, and {PAUSES} to pause")
    for name, value_ms in (("duration_ms", duration_ms), ("gap_ms", gap_ms)):
        if not SHORTEST_MS <= value_ms <= LONGEST_MS:
            raise ValueError(f"{name} is {value_ms}; {SHORTEST_MS} to {LONGEST_MS} would do")
    packets: list[EventPacket | None] = []
    for digit in digits.upper():
        if digit in PAUSES:
            packets += [None] * PAUSE_TICKS
        else:
            packets += _pressed(NAMES.index(digit), rate, -(-duration_ms // _TICK_MS))
            packets += [None] * (-(-gap_ms // _TICK_MS) - 2)  # two end packets were sent after its end
    return packets


def _pressed(event: int, rate: int, held: int) -> Iterator[EventPacket]:
    """Return the packets of one key: one each 20 ms while it is held, and the last one twice more (2.5.1.4)."""
    unit = rate * _TICK_MS // 1000
    segment = _FULL // unit
    for tick in range(held + 2):
        began = min(tick, held - 1) // segment * segment
        duration = (min(tick + 1, held) - began) * unit
        flags = (_END if tick >= held - 1 else 0) | _VOLUME
        yield EventPacket(_EVENT.pack(event, flags, duration), tick == 0, (tick - began) * _TICK)


def let_go(last: EventPacket | None) -> list[EventPacket]:
    """Return what ends a key at once, `last` being what was sent of it; nothing where no key is down."""
    if last is None:
        return []
    event, flags, duration = _EVENT.unpack(last.payload)
    payload = _EVENT.pack(event, flags | _END, duration)
    return [EventPacket(payload, False, last.age + later * _TICK) for later in (1, 2, 3)]


def rescale(buffer: memoryview, start: int, end: int, rate: int, wanted: int) -> None:
    """Count the durations of the events that lie there at another rate, as far as they can be expressed."""
    if rate != wanted:
        for at in range(start, end - _EVENT.size + 1, _EVENT.size):
            event, flags, duration = _EVENT.unpack_from(buffer, at)
            _EVENT.pack_into(buffer, at, event, flags, min(_FULL, duration * wanted // rate))
