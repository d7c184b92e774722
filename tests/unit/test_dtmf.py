"""Keys as packets and back: each digit once, whatever the network does to its packets."""

import random
import struct
from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workers.media.dtmf import GIVEN_UP_S, NAMES, Digit, DigitReader, EventPacket, keyed, rescale
from workers.media.rtp import OutgoingAudio

RATES = st.sampled_from([8_000, 48_000])
DIGITS = st.text(NAMES, min_size=1, max_size=8)
TICK_S = 0.02


class Packet(NamedTuple):
    """What a packet says on the wire."""

    payload_type: int
    sequence: int
    timestamp: int
    marker: bool
    payload: bytes
    ssrc: int = 7


Sent = tuple[float, Packet]


class Sender:
    """Our stream, its packets read as bytes."""

    def __init__(self) -> None:
        self.outgoing = OutgoingAudio()
        self.outgoing.payload_type, self.outgoing.events = 111, (110, 48_000)
        self._buffer = memoryview(bytearray(200))

    def send(self, packet: EventPacket | None, at_s: float) -> Packet:
        if packet is None:
            return self._read(self.outgoing.write(self._buffer, b"sound", 960, at_s))
        return self._read(
            self.outgoing.write_event(self._buffer, packet.payload, at_s, marker=packet.marker, age=packet.age)
        )

    def _read(self, length: int) -> Packet:
        kind, sequence, timestamp, ssrc = struct.unpack("!xBHLL", self._buffer[:12])
        return Packet(kind & 0x7F, sequence, timestamp, kind >= 0x80, bytes(self._buffer[12:length]), ssrc)


def sent(digits: str, rate: int, **times: int) -> list[Sent]:
    """Return the event packets of our sender with the times they leave at."""
    sender = Sender()
    moments = [(100 + tick * TICK_S, packet) for tick, packet in enumerate(keyed(digits, rate, **times))]
    packets = [(at_s, sender.send(packet, at_s)) for at_s, packet in moments]
    return [(at_s, packet) for at_s, packet in packets if packet.payload_type == 110]


def read(packets: Iterable[Sent], rate: int, reader: DigitReader | None = None) -> list[Digit]:
    """Return what a reader finds that is asked every 20 ms, as the leg does while a key is down."""
    reader = reader or DigitReader()
    found: list[Digit] = []
    now_s = 100.0
    for at_s, packet in sorted(packets, key=lambda sent: sent[0]):
        while now_s < at_s:
            found += reader.poll(now_s)
            now_s += TICK_S
        found += take(reader, packet, rate, at_s)
    found += reader.poll(now_s + 2 * GIVEN_UP_S)
    assert not reader.held
    return found


def take(reader: DigitReader, packet: Packet, rate: int, at_s: float) -> list[Digit]:
    return reader.take(packet.payload, packet.ssrc, packet.timestamp, rate, at_s, marker=packet.marker)


def names(digits: Iterable[Digit]) -> str:
    return "".join(digit.name for digit in digits)


def event(code: int, timestamp: int, duration: int, *, end: bool = False, marker: bool = False) -> Packet:
    payload = struct.pack("!BBH", code, 0x80 * end | 10, duration)
    return Packet(110, 0, timestamp & 0xFFFFFFFF, marker, payload)


@settings(deadline=None, max_examples=50)
@given(DIGITS, RATES, st.integers(40, 300), st.integers(40, 300))
@example("5", 48_000, 3_000, 40)
@example("5", 8_000, 9_000, 40)
def test_what_is_sent_is_read_with_its_duration(digits: str, rate: int, duration_ms: int, gap_ms: int) -> None:
    found = read(sent(digits, rate, duration_ms=duration_ms, gap_ms=gap_ms), rate)
    assert names(found) == digits
    assert all(0 <= digit.duration_ms - duration_ms < 20 for digit in found)


@settings(deadline=None, max_examples=50)
@given(DIGITS, RATES, st.randoms(use_true_random=False))
def test_any_packet_of_a_digit_is_enough_and_repeated_ones_add_nothing(
    digits: str, rate: int, chance: random.Random
) -> None:
    kept: list[Sent] = []
    expected = ""
    for _, group in groupby(sent(digits, rate), key=lambda sent: sent[1].timestamp):
        packets = [packet for packet in group if chance.random() < 0.4]
        kept += sorted(packets + chance.choices(packets, k=3) if packets else [], key=lambda sent: sent[0])
        expected += NAMES[packets[0][1].payload[0]] if packets else ""
    assert names(read(kept, rate)) == expected


@settings(deadline=None, max_examples=50)
@given(DIGITS, RATES, st.randoms(use_true_random=False), st.floats(0, 1.5))
def test_no_order_makes_two_digits_of_one(digits: str, rate: int, chance: random.Random, late_s: float) -> None:
    whole = sent(digits, rate)
    moved = [(at_s + chance.uniform(0, late_s), packet) for at_s, packet in whole * 2 if chance.random() < 0.8]
    found = names(read(moved, rate))
    missing = iter(digits)
    assert all(digit in missing for digit in found), f"{found} is no part of {digits} in its order"


@settings(deadline=None, max_examples=20)
@given(RATES, st.integers(1_400, 10_000), st.randoms(use_true_random=False))
def test_a_key_held_for_seconds_is_one_digit_though_its_duration_overflows(
    rate: int, duration_ms: int, chance: random.Random
) -> None:
    packets = [packet for packet in sent("5", rate, duration_ms=duration_ms) if chance.random() < 0.7]
    moved = [(at_s + chance.uniform(0, 0.08), packet) for at_s, packet in packets]
    (digit,) = read(moved, rate)
    assert digit.name == "5"
    assert digit.duration_ms == pytest.approx(duration_ms, abs=200)


def test_segments_that_begin_a_little_after_the_full_duration_are_one_digit() -> None:
    """Chromium ends a segment at 0xFFFF and begins the next one where its clock is by then."""
    packets = [(100.0, event(5, 0, 960, marker=True))]
    packets += [(100 + tick * TICK_S, event(5, 0, min(0xFFFF, tick * 960))) for tick in range(1, 70)]
    packets += [(100 + tick * TICK_S, event(5, 69 * 960, (tick - 69) * 960)) for tick in range(70, 80)]
    packets += [(101.6, event(5, 69 * 960, 11 * 960, end=True))] * 3
    (digit,) = read(packets, 48_000)
    assert digit.duration_ms == pytest.approx(1600, abs=25)


def test_the_same_key_twice_is_two_digits_though_end_and_beginning_are_lost() -> None:
    packets = [(100.0, event(5, 0, 4000)), (100.2, event(5, 9600, 960))]
    assert names(read(packets, 48_000)) == "55"


def test_the_same_key_pressed_again_after_a_long_hold_is_known_by_its_marker() -> None:
    packets = [(100.0, event(5, 0, 65_000)), (100.1, event(5, 68_000, 960, marker=True))]
    assert names(read(packets, 48_000)) == "55"


def test_a_digit_is_told_at_its_first_end_packet() -> None:
    reader = DigitReader()
    assert take(reader, event(1, 0, 160, marker=True), 8_000, 0.0) == []
    assert reader.held
    assert take(reader, event(1, 0, 800, end=True), 8_000, 0.1) == [Digit("1", 100)]
    assert not reader.held


def test_a_digit_whose_end_is_lost_is_told_when_nothing_came_for_a_quarter_of_a_second() -> None:
    reader = DigitReader()
    take(reader, event(1, 0, 800), 8_000, 0.98)
    take(reader, event(1, 0, 640), 8_000, 1.0)
    assert reader.poll(1.24) == []
    assert reader.poll(1.26) == [Digit("1", 100)]
    assert reader.poll(1.28) == []
    assert take(reader, event(1, 0, 960, end=True), 8_000, 1.3) == []


def test_several_events_in_one_packet_are_several_digits_once() -> None:
    reader = DigitReader()
    both = Packet(110, 0, 1000, False, struct.pack("!BBHBBHBBH", 1, 0x80, 200, 1, 0x80, 200, 2, 0x80, 800))
    assert take(reader, both, 8_000, 0.0) == [Digit("1", 25), Digit("1", 25), Digit("2", 100)]
    assert take(reader, both, 8_000, 0.02) == []
    assert take(reader, event(2, 1400, 800, end=True), 8_000, 0.04) == []


def test_a_hook_flash_is_no_digit() -> None:
    assert read([(100.0, event(16, 0, 800, end=True, marker=True))], 8_000) == []


def test_a_sender_that_starts_its_timestamps_anew_is_heard_again() -> None:
    packets = [(100.0, event(1, 1 << 30, 800, end=True)), (103.0, event(2, 5, 800, end=True))]
    assert names(read(packets, 8_000)) == "12"


def test_timestamps_may_wrap() -> None:
    packets = [(100.0, event(1, -400, 800, end=True)), (100.2, event(2, 1200, 800, end=True))]
    assert names(read(packets, 8_000)) == "12"


def test_two_streams_are_kept_apart_and_many_fill_no_memory() -> None:
    reader = DigitReader()
    held = [event(1, 0, 80 * step)._replace(ssrc=ssrc) for step in range(1, 4) for ssrc in (7, 8)]
    assert [digit for packet in held for digit in take(reader, packet, 8_000, 0.0)] == []
    found = [d for ssrc in range(100, 1100) for d in take(reader, event(1, 0, 80)._replace(ssrc=ssrc), 8_000, 0.1)]
    assert len(found) + len(reader.poll(1.0)) == 1002


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 2**32 - 1), st.booleans(), st.floats(0, 1))), RATES)
def test_no_bytes_make_the_reader_raise(packets: list[tuple[bytes, int, bool, float]], rate: int) -> None:
    reader = DigitReader()
    now_s = 0.0
    for payload, timestamp, marker, pause_s in packets:
        now_s += pause_s
        for digit in take(reader, Packet(110, 0, timestamp, marker, payload), rate, now_s):
            assert digit.name in NAMES
        rescale(memoryview(bytearray(payload)), 0, len(payload), rate, 56_000 - rate)
    reader.poll(now_s + 2 * GIVEN_UP_S)
    assert not reader.held


# --- sending ---


def test_a_key_begins_with_the_marker_and_ends_three_times() -> None:
    packets = [packet for _, packet in sent("1", 48_000)]
    assert [packet.marker for packet in packets] == [True] + [False] * 6
    assert {packet.timestamp for packet in packets} == {packets[0].timestamp}
    fields = [struct.unpack("!BBH", packet.payload) for packet in packets]
    assert fields == [(1, 10, tick * 960) for tick in (1, 2, 3, 4)] + [(1, 0x80 | 10, 4800)] * 3


def test_sound_goes_on_after_a_key_as_if_it_had_been_there_all_the_time() -> None:
    sender = Sender()
    packets = [sender.send(packet, tick * TICK_S) for tick, packet in enumerate([None, *keyed("7", 48_000), None])]
    first, last = packets[0], packets[-1]
    assert [packet.sequence - first.sequence & 0xFFFF for packet in packets] == list(range(12))
    assert last.timestamp - first.timestamp & 0xFFFFFFFF == 11 * 960
    assert not last.marker
    stamps = {packet.timestamp - first.timestamp & 0xFFFFFFFF for packet in packets if packet.payload_type == 110}
    assert stamps == {960}


def test_a_key_after_a_pause_bears_the_time_it_was_pressed_at() -> None:
    sender = Sender()
    first = sender.send(None, 0.0)
    moments = zip((1, 1.02, 1.2), keyed("7", 48_000), strict=False)  # the third after a stall
    key = [sender.send(packet, at_s) for at_s, packet in moments]
    assert {packet.timestamp - first.timestamp & 0xFFFFFFFF for packet in key} == {48_000}


def test_who_takes_no_events_is_sent_none() -> None:
    outgoing = OutgoingAudio()
    outgoing.payload_type = 111
    assert outgoing.write_event(memoryview(bytearray(50)), b"\x01\x0a\x00\x50", 0.0, marker=True, age=0) == 0
    assert outgoing.packets == 0


def test_a_comma_and_a_w_wait_for_half_a_second() -> None:
    assert keyed(",w", 8_000) == [None] * 50


def test_other_characters_are_refused_by_name_without_the_digits_around_them() -> None:
    with pytest.raises(ValueError, match="':X'") as refused:
        keyed("4711x:", 8_000)
    assert "4711" not in str(refused.value)


@pytest.mark.parametrize("times", [{"duration_ms": 10}, {"gap_ms": 39}, {"duration_ms": 10_001}])
def test_times_that_no_telephone_takes_are_refused(times: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(times))} is "):
        keyed("1", 8_000, **times)


def test_durations_are_told_at_another_rate() -> None:
    buffer = memoryview(bytearray(struct.pack("!BBBHBBHB", 99, 5, 0x8A, 800, 6, 10, 0xFFFF, 3)))
    rescale(buffer, 1, len(buffer), 8_000, 48_000)
    assert bytes(buffer) == struct.pack("!BBBHBBHB", 99, 5, 0x8A, 4800, 6, 10, 0xFFFF, 3)
