"""Pictures cut into packets and put together again, whatever happens to the packets on their way."""

import itertools
import random
import struct

import pytest
from aiortc.codecs.h264 import H264PayloadDescriptor
from aiortc.codecs.vpx import VpxPayloadDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.media.rtp import RtpPacket, parse
from workers.media.video_in import ASKED_AT_MOST, HELD_S, Assembler, Encoded, is_key, units
from workers.media.video_out import KEPT, PAYLOAD_BYTES, OutgoingVideo, packetize

BUFFER = memoryview(bytearray(2048))


def vp8(number: int, *, key: bool, size: int) -> bytes:
    return bytes([0x10 if key else 0x11]) + random.Random(number).randbytes(size)


def h264(number: int, *, key: bool, size: int) -> bytes:
    content = random.Random(number).randbytes(size).replace(b"\0", b"\1")
    kinds = (0x67, 0x68, 0x65) if key else (0x41,)
    return b"".join(b"\0\0\0\1" + bytes([kind]) + (content if kind in (0x65, 0x41) else b"\x42") for kind in kinds)


MAKE = {"vp8": vp8, "h264": h264}


class Sent:
    """Packets of a stream, from an OutgoingVideo."""

    def __init__(self, codec: str, pictures: list[bytes]) -> None:
        out = OutgoingVideo()
        self.packets: list[tuple[int, int, bool, bytes]] = []
        for at, data in enumerate(pictures):
            assert out.put(codec, 96, data, at / 25)
            while length := out.write(BUFFER):
                packet = parse(BUFFER, length)
                assert packet is not None
                payload = bytes(BUFFER[packet.start : packet.end])
                self.packets.append((packet.sequence, packet.timestamp, packet.marker, payload))


def take(assembler: Assembler, packet: tuple[int, int, bool, bytes], at_s: float = 0.0) -> list[Encoded]:
    sequence, timestamp, marker, payload = packet
    return assembler.take(sequence, timestamp, payload, at_s, marker=marker)


def stream(codec: str, keys: set[int], count: int, size: int = 3000) -> list[bytes]:
    return [MAKE[codec](number, key=number in keys, size=size + number) for number in range(count)]


@pytest.mark.meta("6.1-codec")
@pytest.mark.parametrize("codec", ["vp8", "h264"])
@pytest.mark.parametrize("size", [1, PAYLOAD_BYTES - 1, PAYLOAD_BYTES, 50_000])
def test_pictures_arrive_as_they_were_sent(codec: str, size: int) -> None:
    pictures = stream(codec, {0, 3}, 5, size)
    sent = Sent(codec, pictures)
    assert all(len(payload) <= PAYLOAD_BYTES for *_, payload in sent.packets)
    assembler = Assembler(codec)
    got = [picture for packet in sent.packets for picture in take(assembler, packet)]
    assert [picture.data for picture in got] == pictures
    assert [picture.key for picture in got] == [True, False, False, True, False]
    stamps = [picture.timestamp for picture in got]
    assert {(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(stamps)} == {3600}


def test_aiortc_reads_our_packets() -> None:
    data = vp8(1, key=True, size=5000)
    read = [VpxPayloadDescriptor.parse(payload) for payload in packetize("vp8", data, 5)]
    assert b"".join(content for _, content in read) == data
    assert [one.partition_start for one, _ in read] == [1, 0, 0, 0, 0]
    assert {one.picture_id for one, _ in read} == {5}
    data = h264(1, key=True, size=5000)
    assert b"".join(H264PayloadDescriptor.parse(payload)[1] for payload in packetize("h264", data, 0)) == data


def test_aggregated_units_are_taken_apart() -> None:
    parts = [b"\x67\x42", b"\x68\x42", b"\x65\x01\x02"]
    packet = b"\x78" + b"".join(struct.pack("!H", len(part)) + part for part in parts)
    (picture,) = Assembler("h264").take(1, 0, packet, 0.0, marker=True)
    assert units(picture.data) == parts
    assert picture.key


@settings(deadline=None)
@given(st.data(), st.sampled_from(["vp8", "h264"]))
def test_overtaken_and_doubled_packets_change_nothing(data: st.DataObject, codec: str) -> None:
    pictures = stream(codec, {0}, 6)
    packets = Sent(codec, pictures).packets
    order = data.draw(st.permutations(range(1, len(packets))))
    doubled = data.draw(st.lists(st.sampled_from(order), max_size=10))
    assembler = Assembler(codec)
    got = take(assembler, packets[0])
    for at in [*order, *doubled]:
        got += take(assembler, packets[at])
    assert [picture.data for picture in got] == pictures


@settings(deadline=None)
@given(st.data(), st.sampled_from(["vp8", "h264"]))
def test_no_picture_is_given_whose_forerunners_are_missing(data: st.DataObject, codec: str) -> None:
    """What is given is right, in order, and without a hole since a key picture."""
    keys = {0, 5, 9}
    pictures = stream(codec, keys, 14)
    packets = Sent(codec, pictures).packets
    lost = data.draw(st.sets(st.sampled_from(range(len(packets))), max_size=8))
    assembler, got, at_s = Assembler(codec), list[Encoded](), 0.0
    for at, packet in enumerate(packets):
        at_s += 0.02
        if at not in lost:
            got += take(assembler, packet, at_s)
        assembler.missing(at_s)
    numbers = [pictures.index(picture.data) for picture in got]
    assert numbers == sorted(set(numbers))
    for before, number in zip([-1, *numbers], numbers, strict=False):
        assert number == before + 1 or number in keys
    if not lost:
        assert numbers == list(range(14))


def test_what_is_missing_is_asked_for_until_it_comes_or_is_given_up() -> None:
    packets = Sent("vp8", stream("vp8", {0}, 4)).packets
    hole = 4
    assembler = Assembler("vp8")
    got = [picture for packet in packets[:hole] for picture in take(assembler, packet)]
    got += take(assembler, packets[hole + 1], 1.0)
    assert assembler.missing(1.0) == [], "it may have been overtaken"
    assert assembler.missing(1.02) == [packets[hole][0]]
    assert assembler.missing(1.03) == [], "it was asked for just now"
    assert assembler.missing(1.10) == [packets[hole][0]]
    for packet in packets[hole + 2 :]:
        got += take(assembler, packet, 1.1)
    got += take(assembler, packets[hole], 1.15)
    assert len(got) == 4
    assert not assembler.wants_key


def test_after_a_hole_that_nobody_fills_a_key_picture_is_wanted() -> None:
    packets = Sent("vp8", stream("vp8", {0, 6}, 8)).packets
    assembler = Assembler("vp8")
    asked = 0
    for at, packet in enumerate(packets[:-1]):
        if at != 5:
            take(assembler, packet, at * 0.02)
        asked += len(assembler.missing(at * 0.02))
    assert 1 <= asked <= ASKED_AT_MOST
    assembler.missing(5 * 0.02 + HELD_S + 0.1)
    got = take(assembler, packets[-1], 1.0)
    assert [picture.key for picture in got] == [True, False], "the key picture behind the hole had come already"


def test_a_stream_that_begins_anew_is_followed() -> None:
    assembler = Assembler("vp8")
    first = Sent("vp8", stream("vp8", {0}, 3)).packets
    again = [((number + 20_000) & 0xFFFF, stamp, marker, payload) for number, stamp, marker, payload in first]
    got = [picture for packet in first + again for picture in take(assembler, packet)]
    assert len(got) == 6


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 65_535), st.binary(max_size=40), st.booleans()), max_size=60))
def test_garbage_makes_no_noise(garbage: list[tuple[int, bytes, bool]]) -> None:
    for codec in ("vp8", "h264"):
        assembler = Assembler(codec)
        for at, (sequence, payload, marker) in enumerate(garbage):
            for picture in assembler.take(sequence, at // 3, payload, at / 100, marker=marker):
                is_key(codec, picture.data)
            assembler.missing(at / 100)


def test_a_packet_can_be_repeated_for_a_while() -> None:
    out = OutgoingVideo()
    out.put("vp8", 96, vp8(1, key=True, size=KEPT * PAYLOAD_BYTES), 0.0)
    sent = []
    while length := out.write(BUFFER):
        sent.append(bytes(BUFFER[:length]))
    for packet in (sent[-1], sent[-KEPT]):
        (sequence,) = struct.unpack_from("!H", packet, 2)
        assert bytes(BUFFER[: out.again(BUFFER, sequence)]) == packet
    (gone,) = struct.unpack_from("!H", sent[0], 2)
    assert out.again(BUFFER, gone) == 0


def test_streams_passed_on_after_one_another_are_one_to_the_far_side() -> None:
    out = OutgoingVideo()
    numbers, stamps = [], []
    for ssrc, start, first in ((1, 65_530, 90_000), (2, 10, 4_000_000_000), (1, 30_000, 7)):
        for at in (0, 1, 3, 2, 4):
            payload = b"x" * 20
            BUFFER[20:40] = payload
            packet = RtpPacket(ssrc, 109, (start + at) & 0xFFFF, (first + at * 3600) & 0xFFFFFFFF, at == 4, 20, 40)
            length = out.pass_on(BUFFER, packet, 102, ssrc + at * 0.04)
            sent = parse(BUFFER, length)
            assert sent is not None
            assert (sent.ssrc, sent.payload_type, sent.marker) == (out.ssrc, 102, at == 4)
            assert bytes(BUFFER[sent.start : sent.end]) == payload
            numbers.append(sent.sequence)
            stamps.append(sent.timestamp)
    assert len(set(numbers)) == 15
    assert sorted((number - numbers[0]) & 0xFFFF for number in numbers) == list(range(15))
    assert [(stamp - stamps[0]) & 0xFFFFFFFF for stamp in stamps[:5]] == [0, 3600, 3600 * 3, 3600 * 2, 3600 * 4]
