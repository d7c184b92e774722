"""Makes of a call's packets, as they came, a row without gaps that runs in real time, undecoded.

A packet's place follows its RTP timestamp for as long as that runs with the clock. Where another stream goes on, or
timestamps jump, the time of arrival gives the place anew: no hole is longer than the time that passed, whatever a peer
writes into its packets. What is missing is filled with silence; a decoder's concealment would sound better for 20 ms,
but decoders differ in what they make of an absent frame, and all of them know this one.

Pure: times come in as arguments, in seconds of any steady clock. Places count samples at 48 kHz from the beginning.
"""

import heapq
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from workers.media.opus import packet_samples
from workers.media.rtp import CLOCK_RATE, SAMPLES_20_MS, Unwrapper

WINDOW_PACKETS: Final = 5
"""So many packets may overtake one that is late."""
LATE_LIMIT: Final = 25
"""After so many late packets on end it is the sender's timestamps that were set back."""
MOST_AHEAD: Final = 2 * CLOCK_RATE
"""No stall of the network explains a packet farther before the clock than this: its timestamp has jumped."""
MOST_BEHIND: Final = 8 * CLOCK_RATE
"""A leg is given up after a stall this long: farther behind the clock, the sender's timestamps have stood still."""

SILENCE: Final = {960: b"\xf8\xff\xfe", 480: b"\xf0\xff\xfe", 240: b"\xe8\xff\xfe", 120: b"\xe0\xff\xfe"}
"""By its samples, a frame of CELT that begins with the bit for silence (RFC 6716 section 4.3): no noise, either."""
_SHORTEST: Final = min(SILENCE)  # 2.5 ms (RFC 6716 section 2.1.4)


class Arrived(NamedTuple):
    """A packet of sound as it came, at `at_s`."""

    ssrc: int
    timestamp: int
    payload: bytes
    at_s: float


class _Waiting(NamedTuple):
    timestamp: int  # extended; they are sorted by it
    at_s: float
    samples: int
    payload: bytes


class Unbroken:
    """One row, which begins at `start_s`."""

    def __init__(self, start_s: float) -> None:
        self._start_s = start_s
        self._end = 0  # of what was handed out
        self._waiting: list[_Waiting] = []
        self._late_run = 0
        self._go_on_with(None)

    def _go_on_with(self, ssrc: int | None) -> None:
        self._ssrc = ssrc
        self._timestamps = Unwrapper(32)
        self._shift: int | None = None  # from the stream's timestamps to places; known with its first packet

    def add(self, arrived: Arrived) -> list[bytes]:
        """Take a packet and return those that can follow now, silence among them."""
        samples = packet_samples(arrived.payload)
        if samples == 0:
            return []
        rest = []
        if arrived.ssrc != self._ssrc:
            rest = list(self._let_go(0))
            self._go_on_with(arrived.ssrc)
        timestamp = self._timestamps.extend(arrived.timestamp)
        heapq.heappush(self._waiting, _Waiting(timestamp, arrived.at_s, samples, arrived.payload))
        return [*rest, *self._let_go(WINDOW_PACKETS)]

    def finish(self, at_s: float) -> list[bytes]:
        """Return the rest, and silence up to the end."""
        return [*self._let_go(0), *self._fill(self._place_at(at_s))]

    def _let_go(self, kept: int) -> Iterator[bytes]:
        """Hand out what follows at once, and of what has to wait for others all but `kept`."""
        while self._waiting and (len(self._waiting) > kept or self._follows(self._waiting[0])):
            place = self._place_of_first()
            packet = heapq.heappop(self._waiting)
            if self._end - place >= packet.samples // 2:  # it came twice, or after its place was filled
                self._late_run += 1
                continue
            self._late_run = 0
            yield from self._fill(place)
            yield packet.payload
            self._end += packet.samples

    def _follows(self, packet: _Waiting) -> bool:
        return self._shift is not None and packet.timestamp + self._shift < self._end + _SHORTEST

    def _place_of_first(self) -> int:
        packet = self._waiting[0]
        if self._shift is None:
            self._shift = self._new_shift(packet, self._waiting)
        ahead = packet.timestamp + self._shift - self._place_at(packet.at_s)
        if not -MOST_BEHIND < ahead < MOST_AHEAD or self._late_run >= LATE_LIMIT:
            self._shift = self._new_shift(packet, [packet])
        return packet.timestamp + self._shift

    def _new_shift(self, first: _Waiting, known: Iterable[_Waiting]) -> int:
        """Begin anew with `first`, behind what was handed out, where the least delayed of the known packets puts it."""
        least_s = min(packet.at_s - packet.timestamp / CLOCK_RATE for packet in known)
        return max(self._place_at(least_s + first.timestamp / CLOCK_RATE), self._end) - first.timestamp

    def _place_at(self, at_s: float) -> int:
        """Return the place of the tick of 20 ms in which `at_s` lies."""
        return int((at_s - self._start_s) * CLOCK_RATE) // SAMPLES_20_MS * SAMPLES_20_MS

    def _fill(self, until: int) -> Iterator[bytes]:
        for samples, silence in SILENCE.items():
            while until - self._end >= samples:
                yield silence
                self._end += samples
