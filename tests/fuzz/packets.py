"""What may be wrong with RTP and RTCP, as Hypothesis strategies: every header, lengths that lie, jumps and floods."""

import struct
from enum import Enum, auto
from typing import Final, NamedTuple

from hypothesis import strategies as st

from workers.media.opus import encode_clip

ONE_SSRC: Final = 77
"""The stream that most of the packets claim to be of."""

SOUNDS: Final = (*encode_clip(bytes(9_600)), b"", b"\xff", b"\x03", b"\xff\xff\xff\xff", b"\x0b\x31" * 40)
"""Opus of silence; nothing; a packet without its frame; frames that are not there."""

SHORT = st.integers(0, 0xFFFF) | st.sampled_from([0, 1, 100, 0x7FFF, 0x8000, 0xFFFF])
LONG = st.integers(0, 0xFFFFFFFF) | st.sampled_from([0, 1, 960, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
SSRCS = st.sampled_from([ONE_SSRC, 0, 0xFFFFFFFF]) | LONG | st.integers(1 << 28, 0xFFFFFFFF)
PAYLOAD_TYPES = (
    st.sampled_from([111, 110, 126]) | st.sampled_from([111, 111, 96, 0, 63, 72, 95, 127]) | st.integers(0, 127)
)
PAYLOADS = st.sampled_from(SOUNDS) | st.binary(max_size=40) | st.binary(min_size=1_100, max_size=1_460)


class Kind(Enum):
    """How a datagram goes to the leg."""

    RTP = auto()
    RTCP = auto()
    RAW = auto()  # unencrypted, as anybody on the way can


class Datagram(NamedTuple):
    """One thing that a peer, or somebody on the way, sends."""

    kind: Kind
    data: bytes


@st.composite
def rtp(draw: st.DrawFn) -> bytes:
    """Return an RTP packet whose header may promise more than there is."""
    sources, extended, padded = draw(st.integers(0, 15) | st.just(0)), draw(st.booleans()), draw(st.booleans())
    flags = draw(st.sampled_from([0x80] * 20 + [0x00, 0xC0])) | sources | extended << 4 | padded << 5
    kind = draw(PAYLOAD_TYPES) | draw(st.booleans()) << 7
    header = struct.pack("!BBHLL", flags, kind, draw(SHORT), draw(LONG), draw(SSRCS))
    header += bytes(4 * draw(st.sampled_from([sources] * 8 + [0])))
    if extended:
        words = draw(st.integers(0, 3))
        promised = draw(st.sampled_from([words, words, words + 1, 0xFFFF]))
        header += struct.pack("!HH", draw(st.sampled_from([0xBEDE, 0x1000, 0])), promised)
        header += draw(st.binary(min_size=4 * words, max_size=4 * words))
    packet = header + draw(PAYLOADS)
    return packet + bytes([0, 0, draw(st.sampled_from([3, 3, 0, 255]))]) if padded else packet


@st.composite
def report(draw: st.DrawFn) -> bytes:
    """Return one packet of a compound RTCP packet: a report, a description, a goodbye or what is none of them."""
    count, kind = draw(st.integers(0, 31)), draw(st.sampled_from([200, 201, 202, 203, 204, 205, 206, 207, 192, 223]))
    body = draw(
        st.binary(max_size=64)
        | st.lists(SSRCS, max_size=40).map(lambda ssrcs: struct.pack(f"!{len(ssrcs)}L", *ssrcs))
        | st.just(struct.pack("!L", ONE_SSRC) + bytes(20) + bytes(24 * count))
        | st.just(struct.pack("!L", ONE_SSRC) + b"\x01\xff" + b"name")
    )
    words = draw(st.sampled_from([len(body) // 4, len(body) // 4, 0, len(body) // 4 + 1, 0xFFFF]))
    flags = draw(st.sampled_from([0x80, 0x80, 0x80, 0xA0, 0x00])) | count
    return struct.pack("!BBH", flags, kind, words) + body


REPORTS: Final = st.lists(report(), min_size=1, max_size=4).map(b"".join)
GOODBYES: Final = st.lists(SSRCS, max_size=31).map(
    lambda ssrcs: struct.pack(f"!BBH{len(ssrcs)}L", 0x80 | len(ssrcs), 203, len(ssrcs), *ssrcs)
)

STUN_COOKIE: Final = b"\x21\x12\xa4\x42"


@st.composite
def stun(draw: st.DrawFn) -> bytes:
    """Return a STUN message of any type with attributes that may be cut or of the wrong size."""
    attributes = b""
    for _ in range(draw(st.integers(0, 4))):
        value = draw(st.binary(max_size=24))
        number = draw(st.sampled_from([0x0001, 0x0006, 0x0008, 0x0009, 0x0020, 0x0024, 0x0025, 0x802A, 0x8028, 0x7777]))
        length = draw(st.sampled_from([len(value), len(value), 0, 4, 8, 0xFFFF]))
        attributes += struct.pack("!HH", number, length) + value + bytes(-len(value) % 4)
    length = draw(st.sampled_from([len(attributes), len(attributes), 0, 0xFFFC]))
    kind = draw(st.sampled_from([0x0001, 0x0101, 0x0111, 0x0011, 0x0016, 0x3FFF]))
    return struct.pack("!HH", kind, length) + STUN_COOKIE + draw(st.binary(min_size=12, max_size=12)) + attributes


RAW: Final = st.one_of(
    stun(),
    st.binary(max_size=40),
    st.binary(max_size=40).map(lambda body: b"\x16\xfe\xfd" + body),  # DTLS: a handshake, an alert, data
    st.binary(max_size=40).map(lambda body: b"\x15\xfe\xfd\0\0" + body),
    st.binary(max_size=40).map(lambda body: b"\x17\xfe\xfd\0\1" + body),
    rtp(),
)

_RTP = rtp().map(lambda data: Datagram(Kind.RTP, data))
DATAGRAMS: Final[st.SearchStrategy[Datagram]] = st.sampled_from(
    (
        *[_RTP] * 4,  # `one_of` would take it once
        REPORTS.map(lambda data: Datagram(Kind.RTCP, data)),
        GOODBYES.map(lambda data: Datagram(Kind.RTCP, data)),
        RAW.map(lambda data: Datagram(Kind.RAW, data)),
    )
).flatmap(lambda kind: kind)
