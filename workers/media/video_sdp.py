"""Video in session descriptions: what a peer's says of it, our sections in an answer, and our own later offers.

aiortc sees none of this. It made the one transport, over which video goes as well (BUNDLE), and it breaks over sections
that come, go and change their kind; so they are read and written here, beside the audio sections that it negotiates.
For the same reason an offer of ours in a running call is text alone: where Meta does not take it, it is forgotten, and
there is nothing to roll back.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from workers.media.description import Codec, Section, read

VP8_NUMBER, H264_NUMBER = 96, 109  # of Meta's samples
OUR_NUMBERS: Final[Mapping[int, str]] = {VP8_NUMBER: "vp8", H264_NUMBER: "h264"}
OUR_PROFILE: Final = "42e01f"
_OPUS, _EVENTS = 111, (110, 126)
_FEEDBACK: Final = ("ccm fir", "nack", "nack pli", "goog-remb")
_OF_TRANSPORT: Final = ("a=ice-ufrag:", "a=ice-pwd:", "a=ice-options:", "a=fingerprint:sha-256 ")


@dataclass(frozen=True, slots=True)
class VideoTerms:
    """What a peer's description says about video."""

    arriving: Mapping[int, str] = field(default_factory=dict)
    """Codecs of the payload types that may arrive."""
    announced: tuple[int, ...] = ()
    """SSRCs of the sections the peer sends on, the newest section last."""
    numbers: frozenset[int] = frozenset()
    """Payload types to which the peer gave a meaning for video."""
    sending: Mapping[str, int] = field(default_factory=dict)
    """Codecs the peer takes, the one it likes best first, and the payload types to send them with."""


class Place(NamedTuple):
    """One m-line of the session as it stands: later offers keep them all, in order (RFC 3264 section 8)."""

    mid: str
    kind: str
    usable: bool
    takes: bool
    """Whether the peer takes media here."""
    gives: bool
    """Whether the peer may send media here."""


class OurTracks(NamedTuple):
    """What our sections are called: track ids (`a=msid`), SSRCs."""

    audio: str
    audio_ssrc: int
    video: str
    video_ssrc: int
    cname: str


def video_terms(text: str) -> VideoTerms:
    """Return what a description says about video, its directions seen from the peer; what we cannot use says nothing.

    Raises:
        SdpRefused: it is no description.
    """
    description = read(text)
    sections = [
        section
        for section in description.sections
        if section.shows and (description.bundle is None or section.mid in description.bundle)
    ]
    giving = [section for section in sections if section.direction in {"sendrecv", "sendonly"}]
    sending: dict[str, int] = {}
    for section in sections:
        for codec in section.codecs if section.direction in {"sendrecv", "recvonly"} else ():
            sending.setdefault(codec.name, codec.payload_type)
    theirs = {codec.payload_type: codec.name for section in giving for codec in section.codecs}
    return VideoTerms(
        # a peer sends with the numbers of the description it was given: ours, unless it gave them another meaning
        arriving={**OUR_NUMBERS, **theirs} if giving else {},
        announced=tuple(ssrc for section in giving for ssrc in section.ssrcs),
        numbers=frozenset(codec.payload_type for section in sections for codec in section.codecs),
        sending=sending,
    )


def places(text: str) -> list[Place]:
    """Return the m-lines of a peer's description."""
    return [
        Place(
            mid=section.mid,
            kind=section.kind,
            usable=section.live or section.shows,
            takes=section.direction in {"sendrecv", "recvonly"},
            gives=section.direction in {"sendrecv", "sendonly"},
        )
        for section in read(text).sections
    ]


def answer_section(section: Section, transport: Iterable[str], setup: str, tracks: OurTracks) -> Iterator[str]:
    """Write our answer to one video section: we take what it gives and may give what it takes.

    Video is taken in whether or not anybody watches. Meta does not hear our answer and sends all the same, and who
    begins to watch later need not negotiate first.
    """
    takes = section.direction in {"sendrecv", "recvonly"}
    gives = section.direction in {"sendrecv", "sendonly"}
    direction = {(True, True): "sendrecv", (True, False): "sendonly", (False, True): "recvonly"}.get((takes, gives))
    yield f"m=video 9 UDP/TLS/RTP/SAVPF {' '.join(str(codec.payload_type) for codec in section.codecs)}"
    yield from ("c=IN IP4 0.0.0.0", "a=rtcp:9 IN IP4 0.0.0.0")
    yield from (line for line in transport if line.startswith(_OF_TRANSPORT))
    yield f"a=setup:{setup}"
    yield f"a=mid:{section.mid}"
    yield f"a={direction or 'inactive'}"
    if takes:
        yield from (f"a=msid:- {tracks.video}", f"a=ssrc:{tracks.video_ssrc} cname:{tracks.cname}")
    yield from ("a=rtcp-mux", "a=rtcp-rsize")
    for codec in section.codecs:
        yield from _codec_lines(codec.payload_type, codec.name, codec)


def rejected(kind: str, mid: str) -> list[str]:
    """Write a section that carries nothing."""
    what = "UDP/DTLS/SCTP webrtc-datachannel" if kind == "application" else "UDP/TLS/RTP/SAVPF 0"
    return [f"m={kind} 0 {what}", "c=IN IP4 0.0.0.0", *([f"a=mid:{mid}"] if mid else []), "a=inactive"]


def write_offer(local: str, known: Sequence[Place], tracks: OurTracks, version: int) -> str:
    """Return an offer of ours for a running call: everything as it is, and one section with our video.

    Args:
        local: our last description, in aiortc's words: whose session it is, and the transport.
        known: the m-lines so far; our voice stays where it is, what the peer gives is taken.
        tracks: what our sections are called.
        version: of our description.
    """
    head, *sections = re.split(r"^m=", local, flags=re.MULTILINE)
    transport = sections[0].split("\r\n")
    origin = re.search(r"^o=- (\d+) \d+ (.*)$", head, re.MULTILINE)
    session, place = (origin[1], origin[2].strip()) if origin else ("0", "IN IP4 0.0.0.0")
    layout = [*known]
    ours = next((at for at, one in enumerate(layout) if one.usable and one.kind == "video" and one.takes), None)
    if ours is None:
        ours = len(layout)
        taken = {one.mid for one in layout}
        mid = next(str(number) for number in range(len(layout) + 1) if str(number) not in taken)
        layout.append(Place(mid, "video", usable=True, takes=True, gives=True))
    voice = next((at for at, one in enumerate(layout) if one.usable and one.kind == "audio" and one.takes), 0)
    live = [one.mid for one in layout if one.usable]
    lines = ["v=0", f"o=- {session} {int(session) + version} {place}", "s=-", "t=0 0"]
    lines += [f"a=group:BUNDLE {' '.join(live)}", "a=msid-semantic: WMS"]
    first = True
    for at, one in enumerate(layout):
        if not one.usable:
            lines += rejected(one.kind, one.mid)
            continue
        mine = at in {ours, voice}
        lines += _offered(one, transport, tracks, mine=mine, with_candidates=first)
        first = False
    return "\r\n".join(lines) + "\r\n"


def _offered(
    place: Place, transport: list[str], tracks: OurTracks, *, mine: bool, with_candidates: bool
) -> Iterator[str]:
    audio = place.kind == "audio"
    numbers = (_OPUS, *_EVENTS) if audio else tuple(OUR_NUMBERS)
    port = transport[0].split(" ")[1] if with_candidates else "9"
    yield f"m={place.kind} {port} UDP/TLS/RTP/SAVPF {' '.join(map(str, numbers))}"
    if with_candidates:
        yield from (line for line in transport if line.startswith(("c=", "a=candidate:", "a=end-of-candidates")))
    else:
        yield "c=IN IP4 0.0.0.0"
    yield "a=rtcp:9 IN IP4 0.0.0.0"
    yield from (line for line in transport if line.startswith(_OF_TRANSPORT))
    yield "a=setup:actpass"
    yield f"a=mid:{place.mid}"
    if mine:
        track, ssrc = (tracks.audio, tracks.audio_ssrc) if audio else (tracks.video, tracks.video_ssrc)
        yield from ("a=sendrecv", f"a=msid:- {track}", f"a=ssrc:{ssrc} cname:{tracks.cname}")
    else:
        yield "a=recvonly"
    yield "a=rtcp-mux"
    if audio:
        yield from (f"a=rtpmap:{_OPUS} opus/48000/2", f"a=fmtp:{_OPUS} minptime=10;useinbandfec=1")
        for number, rate in zip(_EVENTS, (48_000, 8_000), strict=True):
            yield from (f"a=rtpmap:{number} telephone-event/{rate}", f"a=fmtp:{number} 0-16")
    else:
        yield "a=rtcp-rsize"
        for number, name in OUR_NUMBERS.items():
            yield from _codec_lines(number, name)


def _codec_lines(number: int, name: str, theirs: Codec | None = None) -> Iterator[str]:
    yield f"a=rtpmap:{number} {name.upper()}/90000"
    yield from (f"a=rtcp-fb:{number} {kind}" for kind in _FEEDBACK)
    if name == "h264":
        profile = (theirs and theirs.h264[1]) or OUR_PROFILE
        yield f"a=fmtp:{number} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}"
