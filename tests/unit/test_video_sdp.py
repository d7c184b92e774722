"""Video beside the audio in descriptions: Meta's samples, odd ones, our answers, and our own offers."""

import re
from pathlib import Path

import pytest
from aiortc.sdp import SessionDescription

from workers.media.sdp_gate import admit_offer, advertise_answer, audio_terms
from workers.media.video_sdp import OurTracks, places, video_terms, write_offer

SAMPLES = Path(__file__).parents[1] / "fixtures" / "sdp"
TRACKS = OurTracks("voice-track", 11, "video-track", 22, "us")


def sample(name: str) -> str:
    return (SAMPLES / f"messenger-{name}.sdp").read_bytes().decode()


CONSUMER = sample("media-update-consumer-video-offer")
BUSINESS = sample("media-update-business-video-offer")
RENEGOTIATION = sample("accept-renegotiation-offer")
LOCAL = (
    sample("accept-offer").replace("a=ice-options:trickle\r\n", "").replace("m=audio 9 ", "m=audio 40000 ")
    + "a=candidate:1 1 udp 1 10.0.0.1 40000 typ host\r\n"
)


@pytest.mark.meta("6.1-sections", "6.1-codec")
def test_the_consumers_camera_is_where_its_ssrc_is_and_the_placeholder_says_nothing() -> None:
    terms = video_terms(CONSUMER)
    assert terms.announced == (2699573882,)
    assert terms.arriving[109] == "h264"
    assert terms.sending == {}, "the consumer's sections only send"


@pytest.mark.meta("6.4-codecs")
def test_of_many_codecs_those_we_know_are_taken() -> None:
    terms = video_terms(BUSINESS)
    assert terms.sending == {"vp8": 96, "h264": 103}
    h264 = {number for number, name in terms.arriving.items() if name == "h264"}
    assert h264 == {103, 109}, "packetization mode 1 and a baseline profile; 107 and 115 have mode 0"


@pytest.mark.meta("6.4-codecs")
@pytest.mark.parametrize(
    ("change", "with_"),
    [
        ("packetization-mode=1", "packetization-mode=0"),
        ("42e01f", "640c1f"),
        ("H264/90000", "H265/90000"),
        ("H264/90000", "H264/48000"),
        ("m=video 40008", "m=video 0"),
        ("BUNDLE 0 1 2 3", "BUNDLE 0 3"),
        ("a=rtcp-mux\r\n", ""),
    ],
)
def test_what_cannot_be_shown_is_as_if_it_were_not_there(change: str, with_: str) -> None:
    head, *videos, audio = _parts()
    changed = [part.replace(change, with_) for part in (head, *videos)]
    assert video_terms("".join(changed) + audio).announced == ()


def _parts() -> tuple[str, str, str, str]:
    head, first, second = CONSUMER.split("m=video")
    video, tail = second.split("m=audio")
    return head, "m=video" + first, "m=video" + video, "m=audio" + tail


@pytest.mark.meta("6.1-toggle")
def test_every_section_of_an_offer_is_answered_in_its_place() -> None:
    answered = admit_offer(CONSUMER).replace("a=recvonly", "a=sendonly", 1)  # stands for aiortc's answer
    answer = SessionDescription.parse(advertise_answer(answered, CONSUMER, TRACKS))
    assert [(m.kind, m.rtp.muxId) for m in answer.media] == [
        ("audio", "0"),
        ("video", "1"),
        ("video", "2"),
        ("audio", "3"),
    ]
    assert [m.direction for m in answer.media[1:3]] == ["recvonly", "recvonly"]
    assert [m.ice.usernameFragment for m in answer.media[1:3] if m.ice] == ["OJGX1CblNaGgpRIF/4"] * 2
    assert all(codec.mimeType == "video/H264" and codec.payloadType == 109 for codec in answer.media[2].rtp.codecs)
    bundle = next(group for group in answer.group if group.semantic == "BUNDLE")
    assert bundle.items == ["0", "1", "2", "3"]


def test_a_section_that_takes_video_is_answered_with_our_track() -> None:
    offer = CONSUMER.replace("a=sendonly", "a=sendrecv")
    text = advertise_answer(admit_offer(offer), offer, TRACKS)
    assert text.count("a=msid:- video-track") == 2
    assert video_terms(offer).sending == {"h264": 109}


@pytest.mark.meta("6.2-msid", "6.2-bundle")
def test_our_offer_is_as_metas_sample_of_one() -> None:
    offer = SessionDescription.parse(write_offer(LOCAL, places(RENEGOTIATION), TRACKS, 1))
    theirs = SessionDescription.parse(BUSINESS)
    assert [(m.kind, m.rtp.muxId, m.direction) for m in offer.media] == [
        (m.kind, m.rtp.muxId, m.direction) for m in theirs.media
    ]
    assert [m.msid for m in offer.media] == ["- voice-track", None, "- video-track"]
    assert [m.ssrc[0].ssrc for m in offer.media if m.ssrc] == [11, 22]
    assert {m.dtls.role for m in offer.media if m.dtls} == {"auto"}
    assert offer.media[0].ice_candidates
    assert [codec.mimeType for codec in offer.media[2].rtp.codecs] == ["video/VP8", "video/H264"]
    bundle = next(group for group in offer.group if group.semantic == "BUNDLE")
    assert bundle.items == ["0", "1", "2"]


def test_our_offer_has_the_session_of_our_first_and_a_later_version() -> None:
    first, *later = (re.search(r"o=- (\d+) (\d+) ", text) for text in (LOCAL, *_two_offers()))
    assert first is not None
    assert [found and found[1] for found in later] == [first[1]] * 2
    assert [found and int(found[2]) - int(first[1]) for found in later] == [1, 2]


def _two_offers() -> list[str]:
    return [write_offer(LOCAL, places(RENEGOTIATION), TRACKS, version) for version in (1, 2)]


@pytest.mark.meta("6.1-mids")
def test_our_offer_keeps_the_sections_of_the_last_description_and_their_order() -> None:
    offer = SessionDescription.parse(write_offer(LOCAL, places(CONSUMER), TRACKS, 1))
    assert [(m.kind, m.rtp.muxId, m.direction) for m in offer.media] == [
        ("audio", "0", "sendrecv"),
        ("video", "1", "recvonly"),
        ("video", "2", "recvonly"),
        ("audio", "3", "recvonly"),
        ("video", "4", "sendrecv"),
    ]
    again = SessionDescription.parse(write_offer(LOCAL, places(BUSINESS), TRACKS, 2))
    assert [m.rtp.muxId for m in again.media] == ["0", "1", "2"], "the section that takes our video is used again"


@pytest.mark.meta("6.2-bundle")
def test_rejected_and_other_sections_stay_rejected() -> None:
    more = CONSUMER + "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:9\r\n"
    offer = write_offer(LOCAL, places(more), TRACKS, 1)
    assert "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:9\r\na=inactive\r\n" in offer
    assert "a=group:BUNDLE 0 1 2 3 4\r\n" in offer


def test_audio_is_read_as_if_there_were_no_video() -> None:
    assert audio_terms(admit_offer(CONSUMER)).announced == (2475174920,)
