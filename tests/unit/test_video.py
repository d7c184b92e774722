"""The video of a leg as packets: who may see it, how fast it leaves, what is asked for and reported."""

import random
from itertools import pairwise

import pytest
from aiortc.rtp import (
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    pack_remb_fci,
    unpack_remb_fci,
)

from workers.media import srtp
from workers.media.rtp import parse
from workers.media.video import KEY_AGAIN_S, LEAST_BITS_S, MOST_BITS_S, PACKETS_PER_ROUND, STREAM_SILENT_S, Video
from workers.media.video_in import Encoded
from workers.media.video_out import PAYLOAD_BYTES, OutgoingVideo
from workers.media.video_sdp import VideoTerms

VP8 = 96


class Wire:
    """What left: RTP as it lay, RTCP as it was read by aiortc."""

    may_send, round_trip_s, cname = True, 0.03, "us"

    def __init__(self) -> None:
        self.rtp: list[bytes] = []
        self.rtcp: list[object] = []

    def transmit(self, length: int) -> bool:
        self.rtp.append(bytes(srtp.packet[:length]))
        return True

    def transmit_rtcp(self, data: bytes) -> bool:
        self.rtcp += RtcpPacket.parse(data)
        return True


def picture(number: int, *, key: bool = False, size: int = 3000) -> Encoded:
    return Encoded("vp8", key, 0, bytes([0x10 if key else 0x11]) + random.Random(number).randbytes(size - 1))


def made(announced: tuple[int, ...] = ()) -> tuple[Video, Wire]:
    wire = Wire()
    video = Video(wire)
    video.agree(VideoTerms(arriving={VP8: "vp8"}, sending={"vp8": VP8}, announced=announced))
    return video, wire


class Sender:
    """A stream of somebody's."""

    def __init__(self) -> None:
        self.out = OutgoingVideo()
        self.number = 0

    def packets(self, *, key: bool = False, at_s: float = 0.0) -> list[bytes]:
        self.number += 1
        self.out.put("vp8", VP8, picture(self.number, key=key).data, at_s)
        packets = []
        while length := self.out.write(srtp.packet):
            packets.append(bytes(srtp.packet[:length]))
        return packets


def hand(video: Video, packets: list[bytes], at_s: float) -> None:
    for data in packets:
        srtp.packet[: len(data)] = data
        packet = parse(srtp.packet, len(data))
        assert packet is not None
        video.take(packet, at_s)


def test_what_nobody_watches_is_neither_kept_nor_reported_on() -> None:
    video, wire = made()
    hand(video, Sender().packets(key=True), 1.0)
    video.round(1.0)
    assert video.idle
    assert wire.rtcp == []


def test_who_begins_to_watch_sees_from_a_key_picture_on_which_is_asked_for() -> None:
    video, wire = made()
    sender, seen = Sender(), list[bool]()
    hand(video, sender.packets(key=True), 1.0)
    video.view(lambda one, _: seen.append(one.key))
    hand(video, sender.packets(), 1.04)
    video.round(1.04)
    video.round(1.06)
    (asked,) = wire.rtcp
    assert isinstance(asked, RtcpPsfbPacket)
    assert (asked.fmt, asked.media_ssrc) == (1, sender.out.ssrc)
    video.round(1.05 + KEY_AGAIN_S)
    assert len(wire.rtcp) == 2, "asked again, for it did not come"
    hand(video, sender.packets(key=True) + sender.packets(), 1.7)
    video.round(3.0)
    assert len(wire.rtcp) == 2
    assert seen == [True, False]


def test_a_stream_that_was_announced_later_takes_over_and_a_silent_one_is_left() -> None:
    one, two = Sender(), Sender()
    video, _ = made(announced=(one.out.ssrc, two.out.ssrc))
    seen = list[bytes]()
    video.view(lambda picture, _: seen.append(picture.data))
    hand(video, one.packets(key=True), 1.0)
    hand(video, two.packets(key=True), 1.1)
    hand(video, one.packets(), 1.2)
    assert len(seen) == 2, "the first camera is not seen any more"
    hand(video, one.packets(key=True), 1.2 + STREAM_SILENT_S)
    assert len(seen) == 3, "but when the other has fallen silent"


def test_a_large_picture_leaves_round_by_round() -> None:
    video, wire = made()
    count = 3 * PACKETS_PER_ROUND + 2
    assert video.show(picture(1, key=True, size=count * (PAYLOAD_BYTES - 4)), 1.0)
    sent = []
    for _ in range(5):
        video.round(1.0)
        sent.append(len(wire.rtp))
    assert [after - before for before, after in pairwise([0, *sent])] == [*[PACKETS_PER_ROUND] * 3, 2, 0]


def test_nothing_is_shown_while_it_is_stopped_or_another_call_s_is() -> None:
    video, wire = made()
    video.stopped = True
    assert not video.show(picture(1), 1.0)
    assert video.codec is None
    video.stopped = False
    other, _ = made()
    other.forward(video)
    assert not video.show(picture(1), 1.0)
    other.forward(None)
    assert video.show(picture(1), 1.0)
    video.agree(VideoTerms())
    video.round(1.0)
    assert wire.rtp == [], "a peer that takes no video any more gets none of what waits"


@pytest.mark.parametrize(("said", "bound"), [(400_000, 400_000), (90, LEAST_BITS_S), (9_000_000, MOST_BITS_S)])
def test_the_peer_says_how_much_it_bears(said: int, bound: int) -> None:
    video, _ = made()
    video.read(bytes(RtcpPsfbPacket(15, 1, 0, pack_remb_fci(said, [video.outgoing.ssrc]))), 1.0)
    assert abs(video.bits_s - bound) < bound / 100


def test_what_came_and_what_left_is_reported_and_loss_lowers_what_we_bear() -> None:
    video, _ = made()
    sender = Sender()
    video.view(lambda *_: None)
    hand(video, sender.packets(key=True), 1.0)
    video.show(picture(1), 1.0)
    video.round(1.0)
    report, _, remb = RtcpPacket.parse(video.report(1.5))
    assert isinstance(report, RtcpSrPacket)
    assert report.sender_info.packet_count == 3
    (block,) = report.reports
    assert (block.ssrc, block.fraction_lost) == (sender.out.ssrc, 0)
    assert isinstance(remb, RtcpPsfbPacket)
    before, _ = unpack_remb_fci(remb.fci)
    for _ in range(10):
        hand(video, sender.packets()[::2], 2.0)
    _, _, remb = RtcpPacket.parse(video.report(2.5))
    assert isinstance(remb, RtcpPsfbPacket)
    after, ssrcs = unpack_remb_fci(remb.fci)
    assert after < before * 0.9
    assert ssrcs == [sender.out.ssrc]


def test_a_leg_that_only_receives_reports_as_a_receiver() -> None:
    video, _ = made()
    video.view(lambda *_: None)
    hand(video, Sender().packets(key=True), 1.0)
    report, *_ = RtcpPacket.parse(video.report(1.5))
    assert isinstance(report, RtcpRrPacket)


def test_packets_asked_for_are_sent_once_more_as_they_were() -> None:
    video, wire = made()
    video.show(picture(1, key=True), 1.0)
    video.round(1.0)
    first = list(wire.rtp)
    numbers = [int.from_bytes(packet[2:4]) for packet in first]
    video.read(bytes(RtcpRtpfbPacket(1, 7, video.outgoing.ssrc, [numbers[1]])), 1.1)
    video.read(bytes(RtcpRtpfbPacket(1, 7, 12345, numbers)), 1.1)
    assert wire.rtp[len(first) :] == [first[1]]


def test_a_key_picture_that_the_far_side_of_a_bridge_wants_is_asked_of_the_near_one() -> None:
    near, wire = made()
    far, far_wire = made()
    near.forward(far)
    sender = Sender()
    hand(near, sender.packets(key=True), 1.0)
    near.round(1.0)
    wire.rtcp.clear()
    hand(near, sender.packets(), 2.0)
    assert len(far_wire.rtp) == 6, "passed on as they come"
    far.read(bytes(RtcpPsfbPacket(1, 7, far.outgoing.ssrc)), 2.0)
    near.round(2.0)
    (asked,) = wire.rtcp
    assert isinstance(asked, RtcpPsfbPacket)
    assert (asked.fmt, asked.media_ssrc) == (1, sender.out.ssrc)
    codec_of_its_own, silent_wire = made()
    codec_of_its_own.agree(VideoTerms(sending={"h264": 109}))
    near.forward(codec_of_its_own)
    hand(near, sender.packets(), 2.1)
    assert silent_wire.rtp == [], "what the far side cannot decode is not sent there"
