"""Every session description passes here before aiortc sees it, and ours before Meta sees it (text in, text out).

Nothing is edited in place: a description is read into what we understand and written anew from that, so what we do not
know never reaches aiortc, whose parser and state machine break in many ways.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from workers.media.description import Description, SdpRefused, Section, read
from workers.media.video_sdp import OurTracks, answer_section, rejected

__all__ = ["AudioTerms", "SdpRefused", "admit_answer", "admit_offer", "advertise", "advertise_answer", "audio_terms"]

OPUS, EVENT_48K, EVENT_8K = 111, 110, 126  # the numbers of Meta's own samples
_OUR_EVENTS = {EVENT_48K: 48_000, EVENT_8K: 8_000}
_OFFERED_CODECS = (
    f"a=rtpmap:{OPUS} opus/48000/2",
    f"a=fmtp:{OPUS} minptime=10;useinbandfec=1",
    f"a=rtpmap:{EVENT_48K} telephone-event/48000",
    f"a=fmtp:{EVENT_48K} 0-16",
    f"a=rtpmap:{EVENT_8K} telephone-event/8000",
    f"a=fmtp:{EVENT_8K} 0-16",
)


@dataclass(frozen=True, slots=True)
class AudioTerms:
    """What a peer's description says about audio."""

    sending: int | None  # Opus payload type to send with; None: the peer wants none
    opus: frozenset[int]  # payload types that may arrive
    events: Mapping[int, int]  # clock rates of the telephone-event payload types that may arrive, Hz
    sending_events: tuple[int, int] | None  # payload type and clock rate to send them with; None: the peer takes none
    wishes: Mapping[str, int]  # how to encode for the peer: parameters of Opus (RFC 7587, 6.1), where it gave any
    announced: tuple[int, ...]  # SSRCs of the sections the peer sends on, the newest section last
    has_candidates: bool
    ufrag: str
    password: str
    session: str  # who describes which session: the o= line without its version
    version: int  # of that session's description
    ice_lite: bool


def admit_answer(text: str) -> str:
    """Return an answer from outside as it is safe to apply.

    Raises:
        SdpRefused: it cannot be used.
    """
    description = read(text)
    for section in _usable(description):
        if section.transport.setup not in {"active", "passive"}:
            raise SdpRefused("the answer does not choose a DTLS role (a=setup:active or passive)")
    return _write(description)


def admit_offer(text: str, *, in_force: AudioTerms | None = None) -> str:
    """Return an offer from outside as it is safe to apply: its live audio sections and nothing else.

    An ICE restart changes user fragment and password (RFC 8839, 4.4.1.1.1). Meta's sample prints another fragment with
    the password `in_force`, `//` for `/`: no restart, so the fragment in force stays. What Meta means by it is UNKNOWN.

    Video, data and rejected sections are left out: aiortc fails the whole description when one of them has no ICE
    credentials or no codec in common, or when a mid has changed its kind. Video is negotiated beside it: `video_sdp`.

    A description of the same session as the one `in_force` with a lower version is one that was overtaken, and refused
    (RFC 8866, 5.2: the version only grows). The same version passes, although RFC 3264, 8 would have it say the same:
    Meta's renegotiation offer has its answer's version and other content, and a repeat does no harm. Versions of
    different sessions are not compared. Which of Meta's offers is the latest is told by its `session.version`.

    Raises:
        SdpRefused: it cannot be used, or came too late.
    """
    description = read(text)
    if in_force is not None and description.session == in_force.session and description.version < in_force.version:
        raise SdpRefused("it is older than the description in force")
    for section in _usable(description):
        if in_force is not None and section.transport.password == in_force.password:
            section.transport = replace(section.transport, ufrag=in_force.ufrag)
    return _write(description)


def advertise(text: str) -> str:
    """Return aiortc's own description as Meta expects it: Opus 111 with FEC, DTMF, one sha-256 fingerprint.

    WhatsApp refuses other fingerprints (error 2494010); aiortc adds sha-384 and sha-512. Header extensions are not
    offered because we send none: an audio level that is agreed on and never sent could be taken for silence.
    """
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("m=audio "):
            lines.append(" ".join((*line.split(" ")[:3], f"{OPUS} {EVENT_48K} {EVENT_8K}")))
        elif line.startswith("a=mid:"):
            lines += (line, *_OFFERED_CODECS)
        elif _is_kept(line):
            lines.append(line)
    return "\r\n".join(lines) + "\r\n"


def advertise_answer(text: str, offer: str, tracks: OurTracks | None = None) -> str:
    """Return aiortc's answer as the sender of `offer` expects it: its payload types, and all of its sections.

    Of what `admit_offer` left out, video is answered here, with `tracks`; the rest as rejected: an answer has the
    m-lines of the offer, in order (RFC 3264 section 6).
    """
    head, *answered = re.split(r"^m=", text, flags=re.MULTILINE)
    ours = {line[6:]: section for section in answered for line in section.split("\r\n") if line.startswith("a=mid:")}
    transport = answered[0].split("\r\n")
    setup = next(line[8:] for line in transport if line.startswith("a=setup:"))
    bundled: list[str] = []
    lines: list[str] = []
    for section in read(offer).sections:
        if section.mid in ours:
            lines.extend(_answer_section(ours[section.mid], section))
        elif section.shows and tracks is not None:
            lines.extend(answer_section(section, transport, setup, tracks))
        else:
            lines.extend(rejected(section.kind, section.mid))
            continue
        bundled.append(section.mid)
    head = re.sub(r"^a=group:BUNDLE.*?(?=\r?$)", "a=group:BUNDLE " + " ".join(bundled), head, flags=re.MULTILINE)
    return head + "\r\n".join(lines) + "\r\n"


def _answer_section(text: str, offered: Section) -> Iterator[str]:
    media, *lines = text.split("\r\n")[:-1]
    numbers = (str(codec.payload_type) for codec in offered.codecs)
    yield f"m={' '.join((*media.split(' ')[:3], *numbers))}"
    for line in lines:
        if _is_kept(line):
            yield line
        if line.startswith("a=mid:"):
            for codec in offered.codecs:
                sound = codec.name == "opus"
                yield f"a=rtpmap:{codec.payload_type} {codec.name}/{codec.clock_rate}{'/2' if sound else ''}"
                yield f"a=fmtp:{codec.payload_type} {'minptime=10;useinbandfec=1' if sound else '0-16'}"


def _is_kept(line: str) -> bool:
    """Whether a line of aiortc's goes out: codecs are written by us, and no other fingerprint than sha-256."""
    if line.startswith("a=fingerprint:"):
        return line.startswith("a=fingerprint:sha-256 ")
    return not line.startswith(("a=rtpmap:", "a=fmtp:", "a=rtcp-fb:", "a=extmap:"))


def audio_terms(text: str) -> AudioTerms:
    """Return what a description (already admitted) says about audio, its directions seen from the peer."""
    description = read(text)
    sections = _usable(description)
    codecs = [codec for section in sections for codec in section.codecs]
    wanting = [section for section in sections if section.direction in {"sendrecv", "recvonly"}]
    opus = {codec.payload_type for codec in codecs if codec.name == "opus"}
    events = {codec.payload_type: codec.clock_rate for codec in codecs if codec.name == "telephone-event"}
    wanted = [c for s in wanting for c in s.codecs if c.name == "telephone-event"]
    quickest = max(wanted, key=lambda codec: codec.clock_rate, default=None)  # the clock of the sound, if it may be
    sending = next((c for s in wanting for c in s.codecs if c.name == "opus"), None)
    return AudioTerms(
        sending=sending.payload_type if sending else None,
        # A peer sends with the numbers of the description it was given: ours, unless it gave them another meaning.
        opus=frozenset(opus | ({OPUS} - events.keys())),
        events={number: rate for number, rate in _OUR_EVENTS.items() if number not in opus} | events,
        sending_events=None if quickest is None else (quickest.payload_type, quickest.clock_rate),
        wishes=dict(sending.wishes) if sending else {},
        announced=tuple(n for s in sections if s.direction in {"sendrecv", "sendonly"} for n in s.ssrcs),
        has_candidates=any(section.candidates for section in sections),
        ufrag=sections[0].transport.ufrag or "",
        password=sections[0].transport.password or "",
        ice_lite=description.ice_lite,
        session=description.session,
        version=description.version,
    )


def _usable(description: Description) -> list[Section]:
    """Return the sections that carry the voice, all of them fit for aiortc."""
    live = [section for section in description.sections if section.live]
    if description.bundle is not None and len(live) > 1:
        live = [section for section in live if section.mid in description.bundle]
    if not live:
        raise SdpRefused("no audio section is left that is not rejected and carries Opus")
    for section in live:
        if not section.mid:
            raise SdpRefused("an audio section has no mid")
        if not section.rtcp_mux:
            raise SdpRefused("an audio section does without rtcp-mux")
        if not section.transport.ufrag or not section.transport.password:
            raise SdpRefused("the ICE credentials are missing")
        if not section.transport.fingerprints:
            raise SdpRefused("there is no fingerprint with a hash we can check; was the description cut on its way?")
        if section.transport.setup is None:
            raise SdpRefused("the DTLS role (a=setup) is missing")
    return live


def _write(description: Description) -> str:
    live = _usable(description)
    lines = ["v=0", f"o={description.origin}", "s=-", "t=0 0"]
    if description.ice_lite:
        lines.append("a=ice-lite")
    lines.append(f"a=group:BUNDLE {' '.join(section.mid for section in live)}")
    for section in live:
        lines += _write_section(section)
    return "\r\n".join(lines) + "\r\n"


def _write_section(section: Section) -> Iterator[str]:
    numbers = " ".join(str(codec.payload_type) for codec in section.codecs)
    yield f"m=audio {section.port or 9} UDP/TLS/RTP/SAVPF {numbers}"
    yield f"a=mid:{section.mid}"
    yield f"a={section.direction}"
    yield "a=rtcp-mux"
    for codec in section.codecs:
        channels = "/2" if codec.name == "opus" else ""
        yield f"a=rtpmap:{codec.payload_type} {codec.name}/{codec.clock_rate}{channels}"
        if codec.wishes:
            yield f"a=fmtp:{codec.payload_type} {codec.format}"
    yield from (f"a=ssrc:{ssrc} cname:peer" for ssrc in section.ssrcs)
    yield f"a=ice-ufrag:{section.transport.ufrag}"
    yield f"a=ice-pwd:{section.transport.password}"
    yield from (f"a=candidate:{candidate}" for candidate in section.candidates)
    if section.end_of_candidates:
        yield "a=end-of-candidates"
    yield from (f"a=fingerprint:{name} {value}" for name, value in section.transport.fingerprints)
    yield f"a=setup:{section.transport.setup}"
