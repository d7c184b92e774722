"""What Meta's middle reads in descriptions: the business's offers, and what the consumer's device says of itself."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

EXTENSIONS_KEPT = ("urn:ietf:params:rtp-hdrext:ssrc-audio-level", "urn:ietf:params:rtp-hdrext:sdes:mid")


class InvalidSdp(ValueError):
    """Says that an offer or answer lacks something no call can do without."""


@dataclass(frozen=True, slots=True)
class Codec:
    """Holds one payload type of a section."""

    payload_type: str
    name: str
    """As in `a=rtpmap`, like `opus/48000/2`."""
    fmtp: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Holds one media section of the business's."""

    lines: tuple[str, ...]
    kind: str
    mid: str
    direction: str
    track_id: str | None
    codecs: tuple[Codec, ...]

    @classmethod
    def parse(cls, lines: tuple[str, ...]) -> "Section":
        """Reads one section; raises InvalidSdp if it is neither audio nor video, or has no mid."""
        kind, mid = find(lines, r"m=(audio|video) "), find(lines, r"a=mid:(\S+)")
        if kind is None or mid is None:
            raise InvalidSdp("every media section must be audio or video and have a mid")
        named = (re.match(r"a=rtpmap:(\d+) (\S+)", line) for line in lines)
        return cls(
            lines=lines,
            kind=kind,
            mid=mid,
            direction=find(lines, r"a=(sendrecv|sendonly|recvonly|inactive)$") or "sendrecv",
            track_id=find(lines, r"a=msid:\S+ (\S+)"),
            codecs=tuple(
                Codec(found[1], found[2], find(lines, rf"a=fmtp:{found[1]} (.*)") or "") for found in named if found
            ),
        )

    @property
    def extensions(self) -> tuple[str, ...]:
        """Returns the lines of the header extensions that Meta takes."""
        return tuple(line for line in self.lines if line.startswith("a=extmap:") and line.endswith(EXTENSIONS_KEPT))

    @property
    def sends(self) -> bool:
        """Tells whether the business sends here."""
        return self.direction in ("sendrecv", "sendonly")

    def codec(self, *names: str) -> Codec | None:
        """Returns the first codec with one of these names, in the order of the names."""
        offered = [(name.lower(), codec) for name in names for codec in self.codecs]
        return next((codec for name, codec in offered if codec.name.lower() == name), None)

    def video_codec(self) -> Codec | None:
        """Returns the codec in which the consumer's device can be sent pictures: VP8, or else H264."""
        h264 = [codec for codec in self.codecs if codec.name == "H264/90000" and "packetization-mode=1" in codec.fmtp]
        return self.codec("VP8/90000") or next(iter(h264), None)


@dataclass(frozen=True, slots=True)
class Offer:
    """Holds what Meta's texts take from an offer of the business's."""

    session: tuple[str, ...]
    sections: tuple[Section, ...]
    session_id: str
    version: int
    ufrag: str
    opus: Codec

    @classmethod
    def parse(cls, text: str) -> "Offer":
        """Reads an offer; raises InvalidSdp unless it begins with Opus audio and has ICE and a sha-256 fingerprint."""
        lines = text.split("\r\n")[:-1] if text.endswith("\r\n") else text.splitlines()
        session, *parts = split(lines)
        sections = tuple(Section.parse(part) for part in parts)
        if not sections or sections[0].kind != "audio":
            raise InvalidSdp("the first media section must be audio")
        origin = re.match(r"o=\S+ (\d+) (\d+) ", next((line for line in session if line.startswith("o=")), ""))
        ufrag, opus = find(lines, r"a=ice-ufrag:(\S+)"), sections[0].codec("opus/48000/2")
        needed = (r"(a=ice-pwd:)", r"(a=setup:act)", r"(?i)(a=fingerprint:sha-256 )")
        missing = [name for name in needed if not find(lines, name)]
        if origin is None or ufrag is None or opus is None or missing:
            raise InvalidSdp(f"the offer lacks {missing or 'an origin, ICE credentials or Opus'}")
        return cls(
            session=session,
            sections=sections,
            session_id=origin[1],
            version=int(origin[2]),
            ufrag=ufrag,
            opus=opus,
        )

    @property
    def bundle(self) -> list[str]:
        """Returns the mids that share one transport."""
        return (find(self.session, r"a=group:BUNDLE (.*)") or "").split()

    @property
    def payload_types(self) -> set[str]:
        """Returns every payload type that has a meaning already."""
        return {codec.payload_type for section in self.sections for codec in section.codecs}


@dataclass(frozen=True, slots=True)
class Device:
    """Holds what Meta's texts take from the local description of the consumer's device."""

    ufrag: str
    password: str
    fingerprint: str
    candidates: tuple[tuple[str, str, str, str], ...]  # foundation, priority, address, port
    ssrc: str
    stream: str

    @classmethod
    def parse(cls, text: str) -> "Device":
        """Reads the device's answer; raises InvalidSdp if it has no transport or no sound.

        Browsers hide addresses behind mDNS names until they may use the microphone. Meta would never pass such a name
        on, so loopback stands in for it; checks from the browser's side then show its true address.
        """
        lines = text.splitlines()
        ufrag, password = find(lines, r"a=ice-ufrag:(\S+)"), find(lines, r"a=ice-pwd:(\S+)")
        fingerprint, ssrc = find(lines, r"(?i)a=fingerprint:sha-256 (\S+)"), find(lines, r"a=ssrc:(\d+) ")
        if not (ufrag and password and fingerprint and ssrc):
            raise InvalidSdp("the device's answer lacks ICE credentials, a sha-256 fingerprint or an SSRC")
        found = (re.match(r"(?i)a=candidate:(\S+) 1 udp (\d+) (\S+) (\d+) typ host", line) for line in lines)
        return cls(
            ufrag=ufrag,
            password=password,
            fingerprint=fingerprint,
            candidates=tuple(
                (host[1], host[2], "127.0.0.1" if host[3].endswith(".local") else host[3], host[4])
                for host in found
                if host
            ),
            ssrc=ssrc,
            stream=f"{random.randrange(10**8, 10**9)}:{random.randbytes(6).hex()}",
        )


def ssrc_of(text: str, mid: str) -> str:
    """Returns the SSRC that a device sends with in one section; raises InvalidSdp if it does not."""
    for part in split(text.splitlines())[1:]:
        if f"a=mid:{mid}" in part and (ssrc := find(part, r"a=ssrc:(\d+) ")):
            return ssrc
    raise InvalidSdp(f"the device sends nothing in its section {mid}")


def split(lines: Sequence[str]) -> list[tuple[str, ...]]:
    """Splits a description into what is said of the session and each media section."""
    starts = [0, *(number for number, line in enumerate(lines) if line.startswith("m=")), len(lines)]
    return [tuple(lines[start:end]) for start, end in pairwise(starts)]


def find(lines: Sequence[str], pattern: str) -> str | None:
    """Returns the first group of the first line that matches."""
    return next((found[1] for line in lines if (found := re.match(pattern, line))), None)


def join_lines(lines: Sequence[str]) -> str:
    """Returns a description's text."""
    return "\r\n".join([*lines, ""])
