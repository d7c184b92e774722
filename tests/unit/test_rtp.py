"""RTP bytes and counters: what wraps, what pauses, and which of several streams is the consumer's voice."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.media.rtcp import Reports
from workers.media.rtp import Heard, IncomingAudio, OutgoingAudio, ReceivedStream, RtpPacket, Unwrapper, parse


def opus(ssrc: int, sequence: int, *, payload_type: int = 111, timestamp: int | None = None) -> RtpPacket:
    stamp = sequence * 960 if timestamp is None else timestamp
    return RtpPacket(ssrc, payload_type, sequence & 0xFFFF, stamp & 0xFFFFFFFF, marker=False, start=12, end=13)


def ear(*announced: int) -> IncomingAudio:
    incoming = IncomingAudio()
    incoming.expect({111}, {110: 48_000}, announced)
    return incoming


def test_a_packet_is_read_around_its_sources_extension_and_padding() -> None:
    head = struct.pack("!BBHLL", 0x80 | 0x20 | 0x10 | 2, 0x80 | 111, 7, 960, 5)
    data = head + bytes(8) + struct.pack("!HH", 0xBEDE, 1) + b"\x12\xff\x00\x00" + b"opus" + b"\0\0\3"
    assert parse(data, len(data)) == RtpPacket(5, 111, 7, 960, marker=True, start=28, end=32)
    assert data[28:32] == b"opus"


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_no_bytes_make_the_parser_raise(data: bytes) -> None:
    packet = parse(data, len(data))
    assert packet is None or 12 <= packet.start <= packet.end <= len(data)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(-30_000, 30_000), max_size=50))
def test_a_wrapping_counter_is_followed_both_ways(start: int, steps: list[int]) -> None:
    unwrapper, value = Unwrapper(32), start
    assert unwrapper.extend(start) == start
    for step in steps:
        value += step
        assert unwrapper.extend(value % 2**32) == value


def test_loss_is_counted_across_a_wrap_and_late_packets_are_taken_back() -> None:
    stream = ReceivedStream()
    for number in (65_534, 65_535, 65_537, 65_540, 65_538):
        stream.take(opus(1, number), 0.0, timed=True)
    assert stream.lost == 2
    assert stream.fraction_lost() == (2 << 8) // 7
    assert stream.fraction_lost() == 0


def test_a_sequence_that_starts_anew_loses_nothing() -> None:
    stream = ReceivedStream()
    for number in (10, 11, 13, 40_000, 40_001):
        stream.take(opus(1, number), 0.0, timed=True)
    assert stream.lost == 1
    assert stream.received == 5


def test_jitter_is_the_mean_change_of_transit_time_in_ms() -> None:
    steady, shaky = ReceivedStream(), ReceivedStream()
    for number in range(400):
        steady.take(opus(1, number), number * 0.02, timed=True)
        shaky.take(opus(1, number), number * 0.02 + (0.01 if number % 2 else 0.0), timed=True)
    assert steady.jitter_ms == pytest.approx(0, abs=1e-6)
    assert shaky.jitter_ms == pytest.approx(10, abs=0.1)


def test_one_packet_says_nothing_about_jitter() -> None:
    stream = ReceivedStream()
    stream.take(opus(1, 1), 0.0, timed=True)
    assert stream.jitter_ms is None


def test_dtmf_shares_the_sequence_and_is_neither_loss_nor_sound() -> None:
    incoming = ear()
    assert incoming.take(opus(1, 1), 0.00) is Heard.SOUND
    assert incoming.take(opus(1, 2, payload_type=110, timestamp=0), 0.02) is Heard.EVENT
    assert incoming.take(opus(1, 3), 0.04) is Heard.SOUND
    assert incoming.lost == 0
    assert incoming.take(opus(1, 4, payload_type=109), 0.06) is Heard.NOTHING, "video is somebody else's"


def test_the_newest_of_unannounced_streams_is_heard() -> None:
    incoming = ear()
    assert incoming.take(opus(1, 1), 0.0) is Heard.SOUND
    assert incoming.take(opus(2, 1), 0.1) is Heard.SOUND
    assert incoming.take(opus(1, 2), 0.1) is Heard.NOTHING


def test_an_announced_stream_is_not_displaced_by_a_newer_unannounced_one() -> None:
    incoming = ear(7)
    assert incoming.take(opus(7, 1), 0.0) is Heard.SOUND
    assert incoming.take(opus(9, 1), 0.02) is Heard.NOTHING
    assert incoming.take(opus(7, 2), 0.02) is Heard.SOUND


def test_of_announced_streams_the_newer_section_is_heard() -> None:
    incoming = ear(7, 8)
    assert incoming.take(opus(8, 1), 0.0) is Heard.SOUND
    assert incoming.take(opus(7, 1), 0.02) is Heard.NOTHING


def test_when_the_heard_stream_falls_silent_any_other_takes_its_place_until_it_returns() -> None:
    incoming = ear(7)
    assert incoming.take(opus(7, 1), 0.0) is Heard.SOUND
    assert incoming.take(opus(9, 1), 0.4) is Heard.NOTHING
    assert incoming.take(opus(9, 2), 0.6) is Heard.SOUND
    assert incoming.take(opus(7, 2), 0.8) is Heard.SOUND


def test_a_peer_that_keeps_changing_its_ssrc_fills_no_memory() -> None:
    incoming = ear()
    for ssrc in range(1000):
        assert incoming.take(opus(ssrc, 1), ssrc * 0.02) is Heard.SOUND
    assert len(incoming.streams) == 16
    assert incoming.received == 1000, "what was counted stays so"


def sent(outgoing: OutgoingAudio, at_s: float) -> RtpPacket:
    buffer = memoryview(bytearray(100))
    length = outgoing.write(buffer, b"opus", 960, at_s)
    packet = parse(buffer, length)
    assert packet is not None
    assert buffer[packet.start : packet.end] == b"opus"
    return packet


def test_nothing_is_sent_to_a_peer_that_wants_nothing() -> None:
    assert OutgoingAudio().write(memoryview(bytearray(100)), b"opus", 960, 0.0) == 0


def test_packets_are_numbered_in_a_row_and_only_the_first_of_a_talkspurt_is_marked() -> None:
    outgoing = OutgoingAudio()
    outgoing.payload_type = 96
    packets = [sent(outgoing, 5 + n * 0.02 + 0.01 * (n % 3)) for n in range(10)]
    assert [packet.marker for packet in packets] == [True] + [False] * 9
    assert {(b.sequence - a.sequence) & 0xFFFF for a, b in pairwise(packets)} == {1}
    assert {(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in pairwise(packets)} == {960}
    assert {(packet.payload_type, packet.ssrc) for packet in packets} == {(96, outgoing.ssrc)}


def test_the_timestamp_keeps_up_with_the_clock_across_a_silence() -> None:
    outgoing = OutgoingAudio()
    outgoing.payload_type = 111
    before, after, then = sent(outgoing, 0.0), sent(outgoing, 10.0), sent(outgoing, 10.02)
    assert (after.timestamp - before.timestamp) & 0xFFFFFFFF == 480_000
    assert (after.sequence - before.sequence) & 0xFFFF == 1
    assert after.marker
    assert not then.marker


def passed(outgoing: OutgoingAudio, packet: RtpPacket, at_s: float, payload: bytes = b"opus") -> RtpPacket | None:
    """Pass a packet on that has an extension, and return what became of it."""
    buffer = memoryview(bytearray(100))
    buffer[20 : 20 + len(payload)] = payload
    given = packet._replace(start=20, end=20 + len(payload))
    became = parse(buffer, outgoing.pass_on(buffer, given, 96, at_s))
    assert became is None or buffer[became.start : became.end] == payload
    return became


def relay() -> OutgoingAudio:
    outgoing = OutgoingAudio()
    outgoing.payload_type = 96
    return outgoing


@settings(deadline=None)
@given(
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.lists(st.integers(1, 40), min_size=1, max_size=200),
    st.integers(0, 2**31),
)
def test_what_is_passed_on_keeps_its_distances(first: int, stamp: int, steps: list[int], seed: int) -> None:
    """Whatever is lost before us, wherever the counters wrap: the far side sees the same holes."""
    outgoing, number = relay(), 0
    sent(outgoing, 0.0)
    became = [passed(outgoing, opus(1, first, timestamp=stamp), 0.02)]
    for step in steps:
        number += step
        became.append(passed(outgoing, opus(1, first + number, timestamp=stamp + 960 * number), 0.02 + 0.02 * number))
    packets = [packet for packet in became if packet is not None]
    assert [(b.sequence - a.sequence) & 0xFFFF for a, b in pairwise(packets)] == steps
    assert [(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in pairwise(packets)] == [960 * step for step in steps]
    assert {(packet.payload_type, packet.ssrc) for packet in packets} == {(96, outgoing.ssrc)}


def test_a_late_packet_is_passed_on_in_its_place_but_never_under_a_number_that_is_used() -> None:
    outgoing = relay()
    own = sent(outgoing, 0.0)
    first = passed(outgoing, opus(1, 100), 0.02)
    third = passed(outgoing, opus(1, 102), 0.06)
    second = passed(outgoing, opus(1, 101), 0.07)
    assert first is not None
    assert second is not None
    assert third is not None
    numbers = [(packet.sequence - own.sequence) & 0xFFFF for packet in (first, second, third)]
    assert numbers == [1, 2, 3]
    assert (second.timestamp - first.timestamp) & 0xFFFFFFFF == 960
    assert passed(outgoing, opus(1, 99), 0.08) is None, "that number is our own packet's"


def test_our_own_packets_and_those_of_several_streams_follow_each_other_without_a_gap_or_a_repeat() -> None:
    outgoing = relay()
    packets = [sent(outgoing, 0.00), sent(outgoing, 0.02)]
    packets += [passed(outgoing, opus(1, 7 + n), 0.04 + 0.02 * n) or packets[0] for n in range(3)]
    packets += [sent(outgoing, 0.10)]
    packets += [passed(outgoing, opus(2, 60_000 + n, timestamp=5), 0.12) or packets[0] for n in range(2)]
    packets += [passed(outgoing, opus(2, 20_000 + n), 5.0 + 0.02 * n) or packets[0] for n in range(2)]
    assert [(packet.sequence - packets[0].sequence) & 0xFFFF for packet in packets] == list(range(len(packets)))
    stamps = [(packet.timestamp - packets[0].timestamp) & 0xFFFFFFFF for packet in packets]
    assert stamps[:7] == [960 * n for n in range(7)]
    assert stamps[8] == 5 * 48_000 // 960 * 960, "after a pause it is the clock that counts"
    assert packets[8].marker


def test_the_round_trip_is_what_remains_of_the_time_until_the_peers_report() -> None:
    ours, theirs = (OutgoingAudio(), IncomingAudio()), (OutgoingAudio(), IncomingAudio())
    for outgoing, incoming in (ours, theirs):
        outgoing.payload_type = 111
        incoming.expect({111}, {}, ())
    us, them = Reports(ours[1], ours[0], "us"), Reports(theirs[1], theirs[0], "them")
    theirs[1].take(sent(ours[0], 0.0), 0.05)
    them.read(us.write(1.0), 1.05)
    us.read(them.write(3.05), 3.10)
    assert us.round_trip_ms == pytest.approx(100, abs=0.1)
    assert them.round_trip_ms is None, "we never reported on a stream of theirs"


def test_the_peers_reports_tell_what_it_missed_and_how_the_round_trip_varied() -> None:
    ours, theirs = (OutgoingAudio(), IncomingAudio()), (OutgoingAudio(), IncomingAudio())
    ours[0].payload_type = 111
    theirs[1].expect({111}, (), ())
    us, them = Reports(ours[1], ours[0], "us"), Reports(theirs[1], theirs[0], "them")
    them.read(us.write(0.0), 0.0)
    us.read(them.write(0.1), 0.1)
    assert (us.peer.reports, us.peer.lost, us.peer.round_trips) == (1, None, 0), "it has heard nothing of us"
    for number in range(100):
        packet = sent(ours[0], number * 0.02)
        if number % 10 != 7:
            theirs[1].take(packet, number * 0.02)
    for asked_s, way_s in ((3.0, 0.05), (4.0, 0.02), (5.0, 0.1)):
        them.read(us.write(asked_s), asked_s + way_s)
        us.read(them.write(asked_s + way_s), asked_s + 2 * way_s)
    peer = us.peer
    assert (peer.reports, peer.lost, peer.lost_of) == (4, 10, 100)
    assert peer.fraction_lost == 0, "nothing was lost since the report before"
    assert peer.jitter_ms == pytest.approx(0, abs=0.1)
    measured = (peer.round_trip_last_ms, peer.round_trip_min_ms, peer.round_trip_max_ms, peer.round_trip_total_ms)
    assert measured == pytest.approx((200, 40, 200, 340), abs=0.2)
    assert peer.round_trips == 3


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_no_report_makes_the_reader_raise(data: bytes) -> None:
    Reports(IncomingAudio(), OutgoingAudio(), "us").read(b"\x81\xc8" + data, 0.0)
