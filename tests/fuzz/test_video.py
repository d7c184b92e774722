"""Hostile video: descriptions and packets that nobody has to believe. None may raise or grow what we keep."""

import struct
from typing import Final

from aiortc.sdp import SessionDescription
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.budget import examples
from tests.fuzz.descriptions import DESCRIPTIONS, spoken
from tests.fuzz.packets import GOODBYES, REPORTS, rtp
from workers.media import srtp
from workers.media.rtp import parse
from workers.media.sdp_gate import SdpRefused, admit_offer, advertise_answer
from workers.media.video import REPEATED_AT_MOST, Video
from workers.media.video_in import MOST_MISSING, MOST_PACKETS, Encoded
from workers.media.video_sdp import OurTracks, VideoTerms, places, video_terms, write_offer

TRACKS: Final = OurTracks("voice", 11, "eyes", 22, "us")
LONGEST_OFFER_BYTES: Final = 64 * 1024


@given(DESCRIPTIONS | spoken())
@examples(300)
def test_whatever_the_gate_lets_through_is_understood_answered_and_offered_anew(text: str) -> None:
    try:
        admitted = admit_offer(text)
    except SdpRefused:
        return
    terms = video_terms(text)
    assert set(terms.sending) <= {"vp8", "h264"}
    assert all(0 <= number < 128 for number in (*terms.arriving, *terms.sending.values()))
    answered = SessionDescription.parse(advertise_answer(admitted, text, TRACKS))
    known = places(text)
    assert [media.kind for media in answered.media] == [place.kind for place in known]
    offer = write_offer(admitted, known, TRACKS, 1)
    assert len(offer) < LONGEST_OFFER_BYTES
    offered = SessionDescription.parse(offer)
    assert [media.kind for media in offered.media[: len(known)]] == [place.kind for place in known]
    assert sum(media.msid == "- eyes" for media in offered.media) == 1
    mids = [media.rtp.muxId for media in offered.media if media.rtp.muxId]
    assert len(set(mids)) == len(mids)


class Nowhere:
    """A leg whose packets go nowhere."""

    may_send, round_trip_s, cname = True, 0.02, "us"

    def __init__(self) -> None:
        self.sent = 0

    def transmit(self, length: int) -> bool:
        assert 0 < length <= srtp.PACKET_BYTES
        self.sent += 1
        return True

    def transmit_rtcp(self, data: bytes) -> bool:
        return True


def feedback(ssrc: int) -> st.SearchStrategy[bytes]:
    """RTCP that asks for something: what it should, or what nobody sent."""
    return st.builds(
        lambda kind, fmt, of, rest: struct.pack("!BBHLL", 0x80 | fmt, kind, 2 + len(rest) // 4, 1, of) + rest,
        st.sampled_from((205, 206)),
        st.integers(0, 31),
        st.sampled_from((ssrc, 0, 7)),
        st.binary(max_size=120).map(lambda rest: rest[: len(rest) // 4 * 4]),
    )


@given(st.data())
@examples(150)
def test_no_packet_makes_video_raise_or_keep_more_and_more(data: st.DataObject) -> None:
    way = Nowhere()
    video, onward = Video(way), Video(Nowhere())
    terms = VideoTerms(arriving=dict.fromkeys(range(128), "h264") | {96: "vp8"}, sending={"vp8": 96, "h264": 109})
    video.agree(terms)
    onward.agree(terms)
    seen: list[Encoded] = []
    video.view(lambda picture, at_s: seen.append(picture))
    video.forward(onward)
    onward.on_key_wanted = lambda: None
    ours = video.outgoing.ssrc
    events = data.draw(
        st.lists(rtp() | REPORTS | GOODBYES | feedback(ours) | feedback(onward.outgoing.ssrc), max_size=60)
    )
    now_s = 100.0
    for event in events:
        now_s += 0.01
        packet = parse(event, len(event))
        if packet is not None:
            srtp.packet[: len(event)] = event
            video.take(packet, now_s)
        before = way.sent
        video.read(event, now_s)
        onward.read(event, now_s)
        assert way.sent - before <= REPEATED_AT_MOST
        for side in (video, onward):
            side.round(now_s)
            side.report(now_s)
        assembler = video._assembler
        if assembler is not None:
            assert len(assembler._parts) <= MOST_PACKETS
            assert len(assembler._missing) <= MOST_MISSING + MOST_PACKETS
    for picture in seen:
        assert picture.data
