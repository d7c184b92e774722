"""The gate: what Meta sends passes, what breaks aiortc never reaches it, what goes out is what Meta expects."""

import random
import re
from pathlib import Path

import pytest
from aiortc.sdp import SessionDescription
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.media.description import MAX_BYTES
from workers.media.sdp_gate import SdpRefused, admit_answer, admit_offer, advertise, audio_terms

SAMPLES = Path(__file__).parents[1] / "fixtures" / "sdp"


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.sdp").read_bytes().decode()


ANSWER = sample("messenger-accept-answer")
RENEGOTIATION = sample("messenger-accept-renegotiation-offer")
VIDEO = sample("messenger-media-update-consumer-video-offer")
BIG = sample("messenger-media-update-business-video-offer")


def lines(text: str) -> list[str]:
    assert text.endswith("\r\n")
    return text.split("\r\n")


def without(text: str, *starts: str) -> str:
    return "\r\n".join(line for line in text.split("\r\n") if not line.startswith(starts))


@pytest.mark.meta("4.5-ice", "4.5-dtls")
def test_metas_answer_passes_with_its_credentials_and_udp_candidates() -> None:
    admitted = lines(admit_answer(ANSWER))
    assert "a=ice-lite" in admitted
    assert "a=ice-ufrag:EbT4cXksCyVKQMC/103" in admitted
    assert "a=setup:passive" in admitted
    assert "a=rtpmap:111 opus/48000/2" in admitted
    assert [line.split()[4] for line in admitted if line.startswith("a=candidate:")] == [
        "157.240.22.131",
        "2a03:2880:f231:d2:face:b00c:0:8c2",
    ]


@pytest.mark.meta("4.5-sections")
def test_metas_renegotiation_tells_where_the_consumer_speaks() -> None:
    terms = audio_terms(admit_offer(RENEGOTIATION))
    assert terms.sending == 111
    assert 111 in terms.opus
    assert terms.announced == (1379106125,)
    assert terms.has_candidates


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.sdp")), ids=lambda path: path.stem)
def test_every_sample_is_readable_for_aiortc_after_the_gate(path: Path) -> None:
    admitted = admit_offer(path.read_bytes().decode())
    description = SessionDescription.parse(admitted)
    assert {media.kind for media in description.media} == {"audio"}
    assert all(
        media.ice and media.ice.usernameFragment and media.dtls and media.rtcp_mux for media in description.media
    )


@pytest.mark.meta("6.1-sections")
def test_video_sections_are_left_out_and_the_audio_around_them_stays() -> None:
    description = SessionDescription.parse(admit_offer(VIDEO))
    assert [(media.kind, media.rtp.muxId) for media in description.media] == [("audio", "0"), ("audio", "3")]
    assert audio_terms(admit_offer(VIDEO)).events == {110: 48_000, 126: 8_000}


@pytest.mark.parametrize("rejected", ["m=video 0 UDP/TLS/RTP/SAVPF 0", "m=audio 0 UDP/TLS/RTP/SAVPF 111"])
def test_a_rejected_section_without_attributes_disturbs_nothing(rejected: str) -> None:
    admitted = admit_offer(RENEGOTIATION + f"{rejected}\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\na=mid:2\r\n")
    assert admitted == admit_offer(RENEGOTIATION)


def test_a_bundle_only_section_is_no_rejected_one() -> None:
    head, tail = RENEGOTIATION.rsplit("m=audio 40007", 1)
    terms = audio_terms(admit_offer(f"{head}m=audio 0{tail}a=bundle-only\r\n"))
    assert terms.announced == (1379106125,)


def test_an_answer_that_rejects_the_audio_is_refused() -> None:
    with pytest.raises(SdpRefused, match="no audio section"):
        admit_answer(ANSWER.replace("m=audio 40007", "m=audio 0"))


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("", "no session description"),
        ("v=0\r\n", "no audio section"),
        (ANSWER.replace("opus/48000/2", "PCMU/8000"), "no audio section"),
        (ANSWER.replace("BUNDLE 0", "BUNDLE nosuch 0"), "BUNDLE"),
        (ANSWER.replace("passive", "actpass", 3).replace("tcptype actpass", "tcptype passive"), "DTLS role"),
        (without(ANSWER, "a=setup"), "DTLS role"),
        (without(ANSWER, "a=fingerprint"), "fingerprint"),
        (ANSWER.replace("sha-256", "sha-1"), "fingerprint"),
        (without(ANSWER, "a=ice-ufrag"), "ICE credentials"),
        (without(ANSWER, "a=rtcp-mux"), "rtcp-mux"),
        (without(ANSWER, "a=mid"), "BUNDLE"),
        (without(ANSWER, "a=mid", "a=group"), "no mid"),
        (ANSWER + "m=audio\r\n", "media line"),
        (ANSWER + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n", "same mid"),
        (ANSWER + "a=x:" + "y" * MAX_BYTES, "64 KiB"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason_that_quotes_nothing(broken: str, reason: str) -> None:
    with pytest.raises(SdpRefused, match=reason) as refused:
        admit_answer(broken)
    assert "EbT4" not in str(refused.value)


def test_of_several_fingerprints_only_sha_256_stays() -> None:
    more = (
        "a=fingerprint:sha-512 " + ":".join(["AB"] * 64) + "\r\na=fingerprint:sha-1 " + ":".join(["AB"] * 20) + "\r\n"
    )
    assert admit_answer(ANSWER + more) == admit_answer(ANSWER)


def test_session_level_transport_attributes_hold_for_every_section() -> None:
    moved = [
        line for line in ANSWER.split("\r\n") if line.startswith(("a=ice-ufrag", "a=ice-pwd", "a=fing", "a=setup"))
    ]
    session_level = without(ANSWER, *moved).replace("m=audio", "\r\n".join((*moved, "m=audio")))
    assert admit_answer(session_level) == admit_answer(ANSWER)


def test_a_bundled_section_takes_what_it_lacks_from_the_first_one() -> None:
    head, tail = RENEGOTIATION.rsplit("m=audio", 1)
    bare = head + "m=audio" + without(tail, "a=ice", "a=fing", "a=setup", "a=candidate")
    second = SessionDescription.parse(admit_offer(bare)).media[1]
    assert second.ice
    assert second.ice.usernameFragment == "EbT4cXksCyVKQMC//103"
    assert second.dtls
    assert second.dtls.role == "server"


@pytest.mark.meta("4.5-ice")
@pytest.mark.parametrize(
    ("candidate", "passes"),
    [
        ("1 1 udp 2122260223 127.0.0.1 40000 typ host", True),
        ("1 1 UDP 2122260223 10.1.2.3 40000 typ host generation 0 network-cost 50", True),
        ("1 1 udp 1 fd00::7 40000 typ srflx raddr 10.0.0.1 rport 9", True),
        ("1 1 udp 1 8ab0d6f8-1c2a-4f0e-9f0a-2f9f6f1d7a11.local 40000 typ host", False),
        ("1 1 udp 1 example.com 40000 typ host", False),
        ("1 1 tcp 1 10.1.2.3 9 typ host tcptype active", False),
        ("1 2 udp 1 10.1.2.3 40000 typ host", False),
        ("1 1 udp 1 10.1.2.3 0 typ host", False),
        ("1 1 udp 1 0.0.0.0 40000 typ host", False),
        ("1 1 udp 1 224.0.0.1 40000 typ host", False),
        ("1 1 udp x 10.1.2.3 40000 typ host", False),
        ("1 1 udp 1 10.1.2.3 40000 typ", False),
    ],
)
def test_only_udp_candidates_with_a_literal_address_pass(candidate: str, passes: bool) -> None:
    alone = without(ANSWER, "a=candidate") + f"a=candidate:{candidate}\r\n"
    assert audio_terms(admit_answer(alone)).has_candidates is passes


def test_format_lines_of_unknown_payload_types_are_dropped() -> None:
    strange = ANSWER + "a=fmtp:77 x=y\r\na=fmtp:111\r\na=rtcp-fb:5 nack\r\na=rtpmap:99 opus/48000/2\r\na=extmap:z q\r\n"
    assert admit_answer(strange) == admit_answer(ANSWER)


FORMATS = {
    "minptime=10;useinbandfec=1": {"useinbandfec": 1},
    "maxaveragebitrate=16000; maxplaybackrate=8000 ;useinbandfec=0;usedtx=1;": {
        "maxaveragebitrate": 16_000,
        "maxplaybackrate": 8_000,
        "useinbandfec": 0,
        "usedtx": 1,
    },
    "MaxPlaybackRate=16000;stereo=1;sprop-stereo=1;cbr=1": {"maxplaybackrate": 16_000},
    "useinbandfec=0;useinbandfec=1": {"useinbandfec": 1},
    "maxaveragebitrate=999999": {"maxaveragebitrate": 999_999},
    "maxaveragebitrate=1000000": {},
    "maxaveragebitrate=;usedtx;=1;;==": {},
    "maxaveragebitrate=-1;maxplaybackrate=1e4;useinbandfec=0x1;usedtx=true": {},
    "maxaveragebitrate=16000.0;maxplaybackrate= 8000;usedtx=\u0661": {},
    "not-maxplaybackrate=8000,maxaveragebitrate=16000": {},
    ";".join(f"x{number}=1" for number in range(90)) + ";usedtx=1": {"usedtx": 1},
    ";".join(f"x{number}=1" for number in range(900)) + ";usedtx=1": {},  # longer than any that means well
}


@pytest.mark.parametrize(("text", "wishes"), FORMATS.items(), ids=lambda value: str(value)[:30])
@pytest.mark.parametrize("first", [False, True], ids=["after rtpmap", "before rtpmap"])
def test_the_peers_wishes_are_read_and_handed_on(text: str, wishes: dict[str, int], first: bool) -> None:
    line, codec = f"a=fmtp:111 {text}\r\n", "a=rtpmap:111 opus/48000/2\r\n"
    answer = without(ANSWER, "a=fmtp:111").replace(codec, line + codec if first else codec + line)
    assert line in answer
    admitted = admit_answer(answer)
    assert audio_terms(admitted).wishes == wishes
    assert admit_answer(admitted) == admitted
    formats = [media.rtp.codecs[0].parameters for media in SessionDescription.parse(admitted).media]
    assert [{name: int(value) for name, value in one.items()} for one in formats] == [wishes]


def test_the_wishes_are_those_of_the_section_and_the_format_that_is_sent_to() -> None:
    head, first, second = re.split("(?=m=audio)", without(RENEGOTIATION, "a=fmtp:111"))
    receiving = first + "a=fmtp:111 maxplaybackrate=8000\r\na=fmtp:110 maxplaybackrate=12000\r\n"
    offer = head + receiving + second + "a=fmtp:111 maxplaybackrate=16000\r\n"
    assert audio_terms(admit_offer(offer)).wishes == {"maxplaybackrate": 8_000}


def test_who_says_nothing_wishes_nothing() -> None:
    assert audio_terms(admit_answer(without(ANSWER, "a=fmtp"))).wishes == {}
    assert (
        audio_terms(admit_answer(ANSWER.replace("a=sendrecv", "a=sendonly") + "a=fmtp:111 usedtx=1\r\n")).wishes == {}
    )


@settings(deadline=None)
@given(st.text(max_size=200))
def test_no_format_line_is_more_than_numbers_we_know(text: str) -> None:
    wishes = audio_terms(
        admit_answer(ANSWER + f"a=fmtp:111 {text}".replace("\r", "").replace("\n", "") + "\r\n")
    ).wishes
    assert set(wishes) <= {"maxaveragebitrate", "maxplaybackrate", "useinbandfec", "usedtx"}
    assert all(0 <= number < 1_000_000 for number in wishes.values())


def test_a_later_description_can_change_the_payload_type() -> None:
    changed = RENEGOTIATION.replace("SAVPF 111", "SAVPF 96").replace(":111 ", ":96 ")
    terms = audio_terms(admit_offer(changed))
    assert terms.sending == 96
    assert terms.opus == {96, 111}, "the peer may still send with the number of our own offer"


def test_a_description_that_was_overtaken_is_refused_and_any_other_is_taken() -> None:
    """Meta's renegotiation offer has the version of its answer, and other content."""
    answer = "o=- 8436422327585670287 3 IN IP4 127.0.0.1"
    assert answer in ANSWER
    assert answer in RENEGOTIATION
    in_force = audio_terms(admit_answer(ANSWER))
    for origin, passes in {
        answer: True,
        answer.replace(" 3 ", " 4 "): True,
        answer.replace(" 3 ", " 18446744073709551615 "): True,
        answer.replace(" 3 ", " 2 "): False,
        answer.replace(" 3 ", " 0 "): False,
        answer.replace("7 3 ", "8 2 "): True,
        "o=- another session": True,
    }.items():
        late = RENEGOTIATION.replace(answer, origin)
        if passes:
            assert audio_terms(admit_offer(late, in_force=in_force)).announced == (1379106125,)
        else:
            with pytest.raises(SdpRefused, match="older"):
                admit_offer(late, in_force=in_force)
        assert admit_offer(late), "an offer with nothing in force is never late"


def test_a_peer_that_only_sends_gets_no_audio() -> None:
    assert audio_terms(admit_answer(ANSWER.replace("a=sendrecv", "a=sendonly"))).sending is None


@pytest.mark.meta("3.1-no-sdp", "4.1-offer", "6.4-audio", "6.4-first-offer")
def test_our_offer_speaks_opus_and_dtmf_and_carries_one_fingerprint() -> None:
    aiortcs = (
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=msid-semantic:WMS *\r\n"
        "m=audio 40000 UDP/TLS/RTP/SAVPF 96 9 0 8\r\nc=IN IP4 10.0.0.1\r\na=sendrecv\r\n"
        "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=mid:0\r\na=rtcp-mux\r\na=rtpmap:96 opus/48000/2\r\n"
        "a=rtpmap:9 G722/8000\r\na=candidate:1 1 udp 1 10.0.0.1 40000 typ host\r\na=end-of-candidates\r\n"
        "a=fingerprint:sha-256 AA\r\na=fingerprint:sha-384 BB\r\na=fingerprint:sha-512 CC\r\na=setup:actpass\r\n"
    )
    offer = lines(advertise(aiortcs))
    assert "m=audio 40000 UDP/TLS/RTP/SAVPF 111 110 126" in offer
    assert "a=fmtp:111 minptime=10;useinbandfec=1" in offer
    assert {"a=rtpmap:110 telephone-event/48000", "a=rtpmap:126 telephone-event/8000"} <= set(offer)
    assert [line for line in offer if line.startswith("a=fingerprint")] == ["a=fingerprint:sha-256 AA"]
    assert not [line for line in offer if line.startswith(("a=extmap", "a=rtpmap:96", "a=rtpmap:9 "))]
    assert "a=candidate:1 1 udp 1 10.0.0.1 40000 typ host" in offer


@settings(max_examples=400, deadline=None)
@given(st.integers(min_value=0), st.sampled_from([ANSWER, RENEGOTIATION, VIDEO, BIG]))
def test_whatever_the_gate_lets_through_aiortc_can_read(seed: int, text: str) -> None:
    chance = random.Random(seed)
    mutated = text.split("\r\n")
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(mutated))
        line = mutated[at]
        cut = chance.randrange(len(line) + 1)
        piece = chance.choice(
            ["", " ", ":", "0", "-1", "99999999999", "\0", "\x0b", "\x85", "\u2028", "é", "a=mid:0", "/"]
        )
        mutated[at : at + 1] = chance.choice(
            [[], [line, line], [line[:cut] + piece + line[cut:]], [line[:cut]], [piece]]
        )
    for admit in (admit_answer, admit_offer):
        try:
            admitted = admit("\r\n".join(mutated))
        except SdpRefused:
            continue
        description = SessionDescription.parse(admitted)
        assert description.media
        assert all(m.ice and m.ice.usernameFragment and m.ice.password for m in description.media)
        assert all(m.dtls and m.dtls.fingerprints for m in description.media)
        assert all(m.direction and m.rtcp_mux and m.kind == "audio" for m in description.media)
        bundle = next(group for group in description.group if group.semantic == "BUNDLE")
        assert bundle.items == [m.rtp.muxId for m in description.media]
        audio_terms(admitted)
