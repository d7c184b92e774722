"""The jitter buffer: packets in as they arrive, 20 ms of sound out per tick (after WebRTC's NetEq, much smaller).

How it thinks. `_next` is the timestamp that is due. A packet that is due is decoded. If it is missing while later
ones are here, it is lost: it is recovered from the FEC of the packet after it, or concealed, and `_next` moves on. If
nothing is here at all (a *drought*), sound is made up and `_next` stays: late packets are then still played, which
lengthens the delay, and a sender that paused (DTX, mute) is met again at its new timestamp. What a drought was is only
known when it ends, so it is counted as concealed or as silence only then. A delay that turns out longer than jitter
demands is shortened by leaving out one pitch period at a time.

Pure: the time comes in as an argument, in seconds of any steady clock. Media time counts samples at 48 kHz.
"""

from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from workers.media.account import PER_MS, Account
from workers.media.delay import DelayTarget
from workers.media.opus import DTX_BYTES, OpusDecoder, OpusError, carries_previous, packet_samples
from workers.media.rtp import Unwrapper
from workers.media.shorten import leave_out_a_period

TICK = 960  # 20 ms

MAX_DEPTH_MS = 400.0  # deeper than this is cut at once
HOLE_LIMIT = 48_000  # a jump of more than 1 s is not bridged
PLC_LIMIT = 48_000  # made-up sound has faded out long before 1 s
KEPT_PACKETS = 50  # while nobody pulls
KEPT_PASSED = 1000  # a key may be held for 20 s
LATE_LIMIT = 5  # so many late packets in a row: the sender restarted its timestamps

_PATIENT_TICKS, _URGENT_TICKS, _URGENT_MS = 25, 5, 80.0
_PERIOD_MS = 15.0  # what one shortening takes away, on average
_PLC_STEP = 120  # libopus conceals in steps of 2.5 ms


@dataclass(frozen=True, slots=True)
class _Packet:
    sequence: int
    timestamp: int
    payload: bytes
    arrived_s: float

    @property
    def end(self) -> int:
        return self.timestamp + packet_samples(self.payload)


class Playout(Account):
    """Plays one stream at a time; `restart` when another takes its place."""

    def __init__(self, rate: int = 48_000) -> None:
        super().__init__()
        self._target = DelayTarget()
        self._decoder = OpusDecoder(rate)
        self._pcm = bytearray()  # decoded, not yet handed out
        self._started = False
        self._forget()

    def _forget(self) -> None:
        self._packets: dict[int, _Packet] = {}
        self._sequences, self._timestamps = Unwrapper(16), Unwrapper(32)
        self._target.forget()
        self._next: int | None = None
        self._end = 0  # of the newest packet
        self._last_sequence: int | None = None
        self._passed: set[int] = set()  # sequence numbers that carried no sound
        self._event: tuple[int | None, int] = None, 0  # timestamp and sequence number of the last one of them
        self._step = TICK  # how long the last packet played
        self._drought = 0  # samples made up since the buffer ran dry
        self._made_up = 0  # samples concealed since the last packet
        self._last = b""  # what was decoded last
        self._hushed = False  # the last packet said that the sender is silent
        self._late_run = 0
        self._missed: deque[int] = deque(maxlen=16)  # timestamps of what was made up
        self._short = False  # waiting longer would have helped
        self._low_ms, self._ticks = MAX_DEPTH_MS, 0

    # --- packets in ---

    def push(self, sequence: int, timestamp: int, payload: bytes, at_s: float) -> None:
        """Take a packet that arrived at `at_s`."""
        if packet_samples(payload) == 0:
            return
        packet = self._placed(sequence, timestamp, payload, at_s)
        if self._next is not None and packet.timestamp <= self._next - _PLC_STEP:
            self._late += 1
            self._late_run += 1
            if packet.timestamp in self._missed:  # it was waited for in vain, and is no double of what was heard
                self._missed.remove(packet.timestamp)
                self._target.arrived(at_s - packet.timestamp / (PER_MS * 1000))
                self._short = True
            if self._late_run < LATE_LIMIT:
                return
            self._forget()
            packet = self._placed(sequence, timestamp, payload, at_s)
        self._late_run = 0
        self._packets[packet.timestamp] = packet
        self._end = max(self._end, packet.end)
        if len(self._packets) > KEPT_PACKETS:
            del self._packets[min(self._packets)]
        self._target.arrived(at_s - packet.timestamp / (PER_MS * 1000))

    def pass_over(self, sequence: int, timestamp: int) -> None:
        """Note that a packet was of an event (DTMF) and no sound; those lost between two of one event were neither."""
        number = self._sequences.extend(sequence)
        timestamp_before, number_before = self._event
        lost = number - number_before if timestamp == timestamp_before else 0
        self._event = timestamp, number
        if len(self._passed) < KEPT_PASSED:
            self._passed.update(range(number - lost if 0 < lost < KEPT_PACKETS else number, number + 1))

    def _placed(self, sequence: int, timestamp: int, payload: bytes, at_s: float) -> _Packet:
        return _Packet(self._sequences.extend(sequence), self._timestamps.extend(timestamp), payload, at_s)

    def restart(self) -> None:
        """Forget the stream played so far: another SSRC speaks now. The figures go on."""
        self._settle(None)
        self._forget()
        self._decoder = OpusDecoder(self._decoder.rate)

    # --- sound out ---

    def pull(self, at_s: float, rate: int = 48_000) -> bytes | None:
        """Return the next 20 ms (mono, s16, at `rate`), or None before the first packet is due."""
        if rate != self._decoder.rate:
            self._decoder, self._pcm = OpusDecoder(rate), bytearray()
        size = rate // 50 * 2
        if self._next is None and self._packets and self._due(min(self._packets), at_s):
            self._next = min(self._packets)
            self._started = True
        if not self._started:
            return None
        self._steer(at_s)
        while len(self._pcm) < size:
            self._pcm += self._make(at_s)
        self._played += TICK
        tick = bytes(self._pcm[:size])
        del self._pcm[:size]
        return tick

    def _due(self, first: int, at_s: float) -> bool:
        """Tell whether enough is here, or was waited for long enough, to start playing at `first`."""
        waited_ms = (at_s - self._packets[first].arrived_s) * 1000
        return waited_ms >= self.target_ms or (self._end - first) / PER_MS >= self.target_ms

    def _make(self, at_s: float) -> bytes:
        """Return the next piece of sound, of any length."""
        if self._next is None or not self._packets:
            return self._endure()
        if self._short and not self._drought:
            return self._stretch()
        first = self._packets[min(self._packets)]
        gap = max(0, first.timestamp - self._next)  # who takes timestamps from a clock may be some samples early
        rest = gap - self._drought
        if self._drought and 0 < rest <= self._lost_before(first):
            self._settle(first)  # it was the beginning of a hole, and FEC may fill the end of it
            self._next, gap = first.timestamp - rest, rest
        elif self._drought and rest > 0 and not self._due(first.timestamp, at_s):
            return self._endure()
        elif self._drought and rest <= 0 < gap and self._fec_came_late(first, gap):
            self._settle(first)  # play what was lost all the same: the delay this adds is wanted for the next loss
            return self._bridge(first, gap, min(gap, self._step))
        if not self._drought and gap <= HOLE_LIMIT and (step := min(gap, self._step) // _PLC_STEP * _PLC_STEP):
            return self._bridge(first, gap, step)
        self._settle(first)
        del self._packets[first.timestamp]
        return self._decode(first, at_s)

    def _fec_came_late(self, packet: _Packet, gap: int) -> bool:
        """Tell whether a frame was made up because the delay is too short for the packet after it to be here."""
        shallow = self._depth_ms() - gap / PER_MS < self.target_ms
        return shallow and gap == self._step == self._lost_before(packet) and carries_previous(packet.payload)

    def _lost_before(self, packet: _Packet) -> int:
        """Return how many samples were in the packets missing between the last one played and this one."""
        if self._last_sequence is None:
            return 0
        passed = sum(self._last_sequence < number < packet.sequence for number in self._passed)
        return max(0, packet.sequence - self._last_sequence - 1 - passed) * self._step

    def _decode(self, packet: _Packet, at_s: float) -> bytes:
        self._step = packet_samples(packet.payload)
        self._next = packet.end
        self._last_sequence = packet.sequence
        if self._passed:
            self._passed = {number for number in self._passed if number > packet.sequence}
        self._waited_s += at_s - packet.arrived_s
        self._decoded += 1
        try:
            sound = self._decoder.decode(packet.payload)
        except OpusError:
            self._conceal(self._step)
            return self._decoder.conceal(self._at_rate(self._step))
        if self._made_up:
            self._end_hole(packet.payload, sound)
        self._last, self._hushed = sound, len(packet.payload) <= DTX_BYTES
        return sound

    def _bridge(self, following: _Packet, gap: int, step: int) -> bytes:
        """Fill `step` samples of the hole before `following`."""
        self._missed.append(following.timestamp - gap)
        self._next = following.timestamp - gap + step
        if gap > self._lost_before(following):
            self._silent += step  # this much was not lost: the sender said nothing here
            return self._decoder.conceal(self._at_rate(step))
        self._target.lost()
        if step == gap and carries_previous(following.payload):
            with suppress(OpusError):  # it is damaged
                recovered = self._decoder.recover(following.payload, self._at_rate(step))
                self._recovered += step
                return recovered
        self._conceal(step)
        return self._decoder.conceal(self._at_rate(step))

    def _stretch(self) -> bytes:
        """Make up a tick and stay where we are, if that brings the delay nearer to what it should be."""
        self._short = False
        if self._depth_ms() >= self.target_ms:
            return b""
        self._conceal(TICK)
        return self._decoder.conceal()

    def _endure(self) -> bytes:
        """Fill one tick of a drought; comfort noise or concealment at first, silence later."""
        self._drought += TICK
        if self._drought > PLC_LIMIT:
            return bytes(self._at_rate(TICK) * 2)
        return self._decoder.conceal()

    def _settle(self, packet: _Packet | None) -> None:
        """Account for the drought that `packet` ends: a pause of the sender is silence, anything else was concealed."""
        if not self._drought:
            return
        paused = self._drought
        if packet is not None and self._next is not None and self._last_sequence is not None:
            paused = min(self._drought, max(0, packet.timestamp - self._next - self._lost_before(packet)))
        self._silent += paused
        if packet is not None and self._next is not None and (lost := self._lost_before(packet)):
            self._target.lost()
            self._missed.extend(range(self._next, self._next + lost, self._step))
        self._conceal(self._drought - paused)
        self._drought = 0

    def _at_rate(self, samples: int) -> int:
        return samples * self._decoder.rate // (PER_MS * 1000)

    # --- keeping the delay short ---

    @property
    def depth_ms(self) -> float:
        """Sound that waits here now."""
        return self._depth_ms()

    @property
    def target_ms(self) -> float:
        """How much sound should wait here."""
        return self._target.ms

    def _depth_ms(self) -> float:
        pending_ms = len(self._pcm) / 2 / self._decoder.rate * 1000
        return pending_ms + (
            max(0, self._end - self._next) / PER_MS if self._next is not None and self._packets else 0.0
        )

    def _steer(self, at_s: float) -> None:
        """Shorten the delay when even its lowest point of late was above the target."""
        depth_ms = self._depth_ms()
        if depth_ms > MAX_DEPTH_MS and not self._drought:
            self._cut()
            return
        self._low_ms = min(self._low_ms, depth_ms)
        self._ticks += 1
        excess_ms = self._low_ms - self.target_ms
        if self._ticks >= (_URGENT_TICKS if excess_ms >= _URGENT_MS else _PATIENT_TICKS):
            if excess_ms >= _PERIOD_MS:
                self._shorten(at_s)
            self._low_ms, self._ticks = MAX_DEPTH_MS, 0

    def _cut(self) -> None:
        """Throw the oldest packets away until the target is met; after a stall nobody wants to hear them."""
        assert self._next is not None  # noqa: S101  # a depth is measured from it
        while len(self._packets) > 1 and self._depth_ms() > self.target_ms:
            oldest = self._packets.pop(min(self._packets))
            self._trimmed += oldest.end - self._next
            self._next = oldest.end
            self._last_sequence = oldest.sequence
        self._low_ms, self._ticks = MAX_DEPTH_MS, 0

    def _shorten(self, at_s: float) -> None:
        """Decode two packets and leave out some 15 ms where the sound repeats itself, unless one of them is missing."""
        if self._next is None or self._drought or len(self._packets) < 2:
            return
        first, second = (self._packets[timestamp] for timestamp in sorted(self._packets)[:2])
        if max(abs(first.timestamp - self._next), abs(second.timestamp - first.end)) >= _PLC_STEP:
            return
        sound = bytearray()
        for packet in (first, second):
            del self._packets[packet.timestamp]
            sound += self._decode(packet, at_s)
        shorter = leave_out_a_period(bytes(sound), self._decoder.rate)
        self._trimmed += (len(sound) - len(shorter)) // 2 * PER_MS * 1000 // self._decoder.rate
        self._pcm += shorter
