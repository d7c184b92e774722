"""How much video one side may send the other, as REMB says it in both directions (videocalling, "BWE")."""

import pytest
from aiortc.rtp import RTCP_PSFB_APP, RtcpPacket, RtcpPsfbPacket, pack_remb_fci, unpack_remb_fci

from workers.media.rtp import RtpPacket
from workers.media.video import LEAST_BITS_S, MOST_BITS_S, Video
from workers.media.video_sdp import VideoTerms

THEIRS = 4711


class Nowhere:
    """A way on which everything is lost."""

    may_send = False
    round_trip_s = 0.0
    cname = "us"

    def transmit(self, length: int) -> bool:
        return False

    def transmit_rtcp(self, data: bytes) -> bool:
        return False


@pytest.fixture
def video() -> Video:
    video = Video(Nowhere())
    video.agree(VideoTerms(arriving={96: "vp8"}, announced=(THEIRS,), sending={"vp8": 96}))
    video.view(lambda _picture, _at_s: None)
    return video


def borne(video: Video, at_s: float) -> int:
    """Return what our next report says that we bear."""
    (told,) = (one for one in RtcpPacket.parse(video.report(at_s)) if isinstance(one, RtcpPsfbPacket))
    assert told.fmt == RTCP_PSFB_APP
    bits_s, ssrcs = unpack_remb_fci(told.fci)
    assert ssrcs == [THEIRS]
    return int(bits_s)


def heard(video: Video, *, of: int, but: int, second: int) -> None:
    """Take a second of their packets, of which some are missing."""
    for number in range(of):
        if number == 0 or not (but and number % (of // but) == 0):
            packet = RtpPacket(THEIRS, 96, second * of + number, second * 90_000 + number, False, 12, 12)
            video.take(packet, second + number / of)


@pytest.mark.meta("6.4-bandwidth")
def test_we_bear_less_while_much_is_lost_and_more_again_afterwards(video: Video) -> None:
    bearable = []
    for second in range(40):
        heard(video, of=100, but=25 if second < 10 else 0, second=second)
        bearable.append(borne(video, second + 1.0))
    assert bearable[0] == pytest.approx(MOST_BITS_S, rel=0.2)
    assert bearable[9] < bearable[0] / 2
    assert bearable[39] == pytest.approx(MOST_BITS_S, rel=0.01)


@pytest.mark.meta("6.4-bandwidth")
@pytest.mark.parametrize(
    ("said", "bits_s"),
    [(400_000, 400_000), (10, LEAST_BITS_S), (50_000_000, MOST_BITS_S)],
    ids=["some", "next to nothing", "more than we make"],
)
def test_we_make_as_much_as_the_peer_bears(video: Video, said: int, bits_s: int) -> None:
    video.read(bytes(RtcpPsfbPacket(RTCP_PSFB_APP, 1, 0, pack_remb_fci(said, [video.outgoing.ssrc]))), 0.0)
    assert video.bits_s == pytest.approx(bits_s, rel=0.01)


def test_feedback_of_another_application_says_nothing_of_it(video: Video) -> None:
    video.read(bytes(RtcpPsfbPacket(RTCP_PSFB_APP, 1, 0, b"\0\0\0\x01")), 0.0)
    assert video.bits_s == MOST_BITS_S
