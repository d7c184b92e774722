"""What we understand of a session description (RFC 8866), read without trust: the rest is as if it were not there.

Names and grammar: RFC 8839 for ICE, RFC 8843 for BUNDLE, RFC 8122 for fingerprints.
"""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

MAX_BYTES = 64 * 1024
MAX_SECTIONS = 32
MAX_CANDIDATES = 32

_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_USABLE_HASHES = ("sha-256", "sha-384", "sha-512")  # what aiortc can check
_MEDIA_LINE = re.compile(r"m=([a-z]+) (\d{1,5})(?:/\d+)? ([A-Z/]+) (.+)")
_FINGERPRINT = re.compile(r"([\w-]+) +((?:[0-9A-Fa-f]{2}:)+[0-9A-Fa-f]{2})")
_RTPMAP = re.compile(r"(\d{1,3}) ([\w-]+)/(\d{1,6})(?:/\d)?", re.ASCII)
_FMTP = re.compile(r"(\d{1,3}) (.{1,1000})", re.ASCII)
_WISHES = ("maxaveragebitrate", "maxplaybackrate", "useinbandfec", "usedtx")  # RFC 7587 section 6.1
_SSRC = re.compile(r"(\d{1,10})(?: .*)?", re.ASCII)
_TOKEN = re.compile(r"[!-~]{1,256}")
_ORIGIN = re.compile(r"[!-~]+ \d{1,20} \d{1,20} IN IP[46] [!-~]+", re.ASCII)


class SdpRefused(ValueError):
    """A description that cannot be used; the message says why and never quotes it."""


@dataclass(frozen=True, slots=True)
class Codec:
    """One payload type of an audio or video section."""

    payload_type: int
    name: str  # "opus" or "telephone-event"; "vp8" or "h264"
    clock_rate: int
    wishes: tuple[tuple[str, int], ...] = ()  # of _WISHES, for Opus
    h264: tuple[str, str] = ("", "")  # packetization-mode and profile-level-id, where given (RFC 6184 section 8.1)

    @property
    def format(self) -> str:
        """The wishes as `a=fmtp` has them."""
        return ";".join(f"{name}={value}" for name, value in self.wishes)


@dataclass(frozen=True, slots=True)
class Transport:
    """ICE and DTLS attributes, of the session or of one section."""

    ufrag: str | None = None
    password: str | None = None
    setup: str | None = None
    fingerprints: tuple[tuple[str, str], ...] = ()

    def over(self, below: "Transport") -> "Transport":
        """Return these attributes, filled up from `below` where they are missing."""
        return Transport(
            self.ufrag or below.ufrag,
            self.password or below.password,
            self.setup or below.setup,
            self.fingerprints or below.fingerprints,
        )


@dataclass(slots=True)
class Section:
    """One m-line with what belongs to it."""

    kind: str
    port: int
    mid: str = ""
    direction: str = "sendrecv"
    rtcp_mux: bool = False
    bundle_only: bool = False
    transport: Transport = field(default_factory=Transport)
    codecs: list[Codec] = field(default_factory=list)
    ssrcs: list[int] = field(default_factory=list)
    candidates: list[str] = field(default_factory=list)
    end_of_candidates: bool = False

    @property
    def live(self) -> bool:
        """Whether this section can carry the voice: audio, not rejected (port 0), with Opus."""
        return (
            self.kind == "audio" and (self.port != 0 or self.bundle_only) and any(c.name == "opus" for c in self.codecs)
        )

    @property
    def shows(self) -> bool:
        """Whether this section can carry video: not rejected, with a codec we know, on the one transport."""
        open_ = self.port != 0 or self.bundle_only
        return self.kind == "video" and open_ and bool(self.codecs) and bool(self.mid) and self.rtcp_mux


@dataclass(slots=True)
class Description:
    """What we understand of a session description."""

    origin: str = "- 0 0 IN IP4 127.0.0.1"
    ice_lite: bool = False
    direction: str = "sendrecv"
    bundle: tuple[str, ...] | None = None
    transport: Transport = field(default_factory=Transport)
    sections: list[Section] = field(default_factory=list)

    @property
    def session(self) -> str:
        """The origin without its version: the name of the session (RFC 8866 section 5.2)."""
        user, number, _, place = self.origin.split(" ", 3)
        return f"{user} {number} {place}"

    @property
    def version(self) -> int:
        """The version of this description among those of its session."""
        return int(self.origin.split(" ")[2])


def _lines(text: str) -> Iterator[str]:
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise SdpRefused(f"the description is larger than {MAX_BYTES // 1024} KiB")
    if not text.startswith("v=0"):
        raise SdpRefused("this is no session description (it does not begin with v=0)")
    yield from re.split(r"\r\n|\n|\r", text)  # str.splitlines would also split at control characters


def read(text: str) -> Description:
    """Return what `text` describes.

    Raises:
        SdpRefused: it is too large, or no session description, or contradicts itself.
    """
    description = Description()
    for line in _lines(text):
        kind, value = line[:2], line[2:].rstrip(" ")
        if kind == "m=":
            _read_media_line(line, description)
        elif kind == "a=":
            name, _, rest = value.partition(":")
            if description.sections:
                _read_section_attribute(name, rest, description.sections[-1])
            else:
                _read_session_attribute(name, rest, description)
        elif kind == "o=" and _ORIGIN.fullmatch(value):
            description.origin = value
    _complete(description)
    return description


def _read_media_line(line: str, description: Description) -> None:
    match = _MEDIA_LINE.fullmatch(line.rstrip(" "))
    if match is None or int(match[2]) > 0xFFFF or len(description.sections) == MAX_SECTIONS:
        raise SdpRefused("a media line is malformed, or there are too many")
    section = Section(kind=match[1], port=int(match[2]), direction=description.direction)
    if section.kind in {"audio", "video"}:
        numbers = [int(number) for number in match[4].split() if re.fullmatch(r"\d{1,3}", number, re.ASCII)]
        section.codecs = [Codec(number, "", 0) for number in dict.fromkeys(numbers) if _usable_number(number)]
    description.sections.append(section)


def _usable_number(number: int) -> bool:
    return number < 64 or 96 <= number < 128  # 64 to 95 would look like RTCP (RFC 5761 section 4)


def _read_session_attribute(name: str, value: str, description: Description) -> None:
    if name == "group" and value.startswith("BUNDLE") and description.bundle is None:
        description.bundle = tuple(value.split()[1:])
    elif name == "ice-lite":
        description.ice_lite = True
    elif name in _DIRECTIONS:
        description.direction = name
    else:
        description.transport = _with_transport(name, value, description.transport)


def _read_section_attribute(name: str, value: str, section: Section) -> None:
    match name:
        case "mid" if _TOKEN.fullmatch(value):
            section.mid = value
        case "sendrecv" | "sendonly" | "recvonly" | "inactive":
            section.direction = name
        case "rtcp-mux":
            section.rtcp_mux = True
        case "bundle-only":
            section.bundle_only = True
        case "candidate":
            candidate = _read_candidate(value)
            if candidate is not None and len(section.candidates) < MAX_CANDIDATES:
                section.candidates.append(candidate)
        case "end-of-candidates":
            section.end_of_candidates = True
        case "rtpmap" if match := _RTPMAP.fullmatch(value):
            codec = Codec(int(match[1]), match[2].lower(), int(match[3]))
            section.codecs = [
                replace(codec, wishes=old.wishes, h264=old.h264) if old.payload_type == codec.payload_type else old
                for old in section.codecs
            ]
        case "fmtp" if match := _FMTP.fullmatch(value):
            wishes, h264 = _read_format(match[2])
            section.codecs = [
                replace(codec, wishes=wishes, h264=h264) if codec.payload_type == int(match[1]) else codec
                for codec in section.codecs
            ]
        case "ssrc" if match := _SSRC.fullmatch(value):
            number = int(match[1])
            if number < 1 << 32 and number not in section.ssrcs and len(section.ssrcs) < 8:
                section.ssrcs.append(number)
        case _:
            section.transport = _with_transport(name, value, section.transport)


def _read_format(text: str) -> tuple[tuple[tuple[str, int], ...], tuple[str, str]]:
    given = dict(item.strip().partition("=")[::2] for item in text.lower().split(";"))
    wishes = tuple(
        (name, int(given[name])) for name in _WISHES if re.fullmatch(r"\d{1,6}", given.get(name, ""), re.ASCII)
    )
    return wishes, (given.get("packetization-mode", "")[:1], given.get("profile-level-id", "")[:6])


def _with_transport(name: str, value: str, transport: Transport) -> Transport:
    match name:
        case "ice-ufrag" if _TOKEN.fullmatch(value):
            return replace(transport, ufrag=value)
        case "ice-pwd" if _TOKEN.fullmatch(value):
            return replace(transport, password=value)
        case "setup" if value in {"active", "passive", "actpass"}:
            return replace(transport, setup=value)
        case "fingerprint" if (match := _FINGERPRINT.fullmatch(value)) and match[1].lower() in _USABLE_HASHES:
            return replace(transport, fingerprints=(*transport.fingerprints[:7], (match[1].lower(), match[2])))
    return transport


def _read_candidate(value: str) -> str | None:
    """Return a UDP candidate with a literal address, its extensions cut off; None for any other.

    aioice pairs no TCP candidate and resolves `.local` names by multicast, which takes a second each. Loopback and
    private addresses pass: tests and agents on the same network need them.
    """
    words = value.split()
    if len(words) < 8 or words[6] != "typ" or words[7] not in {"host", "srflx", "relay"}:
        return None
    foundation, component, protocol, priority, host, port = words[:6]
    try:
        address = ipaddress.ip_address(host)
        numbers = int(priority), int(port)
    except ValueError:
        return None
    if component != "1" or protocol.lower() != "udp" or "%" in host or not _TOKEN.fullmatch(foundation):
        return None
    if address.is_unspecified or address.is_multicast or not 0 < numbers[1] <= 0xFFFF or not 0 <= numbers[0] < 1 << 32:
        return None
    return f"{foundation} 1 udp {numbers[0]} {address} {numbers[1]} typ {words[7]}"


def _complete(description: Description) -> None:
    """Check the mids and give every section the transport attributes that hold for it."""
    mids = [section.mid for section in description.sections if section.mid]
    if len(set(mids)) != len(mids):
        raise SdpRefused("two sections have the same mid")
    if not set(description.bundle or ()) <= set(mids):
        raise SdpRefused("the BUNDLE group names a mid that no section has")
    tagged = next((s for s in description.sections if description.bundle and s.mid == description.bundle[0]), None)
    shared = tagged.transport.over(description.transport) if tagged else description.transport
    for section in description.sections:
        section.transport = section.transport.over(shared)
        strongest = tuple(f for f in section.transport.fingerprints if f[0] == "sha-256")
        section.transport = replace(section.transport, fingerprints=strongest or section.transport.fingerprints)
        usable = _is_sound if section.kind == "audio" else _is_picture
        section.codecs = [codec for codec in section.codecs if usable(codec)]


def _is_sound(codec: Codec) -> bool:
    return (codec.name, codec.clock_rate) == ("opus", 48_000) or (
        codec.name == "telephone-event" and codec.clock_rate in {8_000, 48_000}
    )


def _is_picture(codec: Codec) -> bool:
    """VP8, or H264 in packetization mode 1 and a baseline profile, which everybody decodes (Meta: 42e01f)."""
    mode, profile = codec.h264
    h264 = codec.name == "h264" and mode == "1" and profile[:2] in {"42", ""}
    return codec.clock_rate == 90_000 and (codec.name == "vp8" or h264)
