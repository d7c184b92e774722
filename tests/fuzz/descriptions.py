"""What may be wrong with a session description, as a Hypothesis strategy over the lines of real ones."""

from typing import Final

from hypothesis import strategies as st

from tests.fuzz.oddities import TEXTS, damaged, samples

SAMPLES: Final = [body.decode() for body in samples("sdp", "*.sdp")]

STRANGE_LINES: Final = st.sampled_from(
    [
        *("m=audio 0 UDP/TLS/RTP/SAVPF 111", "m=audio 99999 UDP/TLS/RTP/SAVPF 111", "m=audio -1 RTP/AVP 0", "m=audio"),
        *("m=audio 9 UDP/TLS/RTP/SAVPF " + " ".join(map(str, range(300))), "m=audio 9 UDP/TLS/RTP/SAVPF 111 111 111"),
        *("m=video 9 UDP/TLS/RTP/SAVPF 96", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "m=text 9 RTP/AVP 98"),
        *("m=audio 9/2 UDP/TLS/RTP/SAVPF 111", "m=audio 9 UDP/TLS/RTP/SAVPF 1e3 x", "m=audio ٩ UDP/TLS/RTP/SAVPF 111"),
        *(
            "a=rtpmap:111 opus/48000/2",
            "a=rtpmap:111 opus/8000",
            "a=rtpmap:111 OPUS/48000/2",
            "a=rtpmap:300 opus/48000",
        ),
        *(
            "a=rtpmap:111",
            "a=rtpmap:x y/z",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:96 opus/0/0",
            "a=fmtp:111",
            "a=fmtp:0 x=;;==",
        ),
        *(
            "a=fingerprint:sha-256 00",
            "a=fingerprint:sha-1 AA:BB",
            "a=fingerprint:md5 x",
            "a=fingerprint:",
            "a=fingerprint",
        ),
        *("a=fingerprint:sha-256 " + ":".join(["AB"] * 32), "a=fingerprint:sha-512 " + ":".join(["0f"] * 64)),
        *(
            "a=setup:active",
            "a=setup:passive",
            "a=setup:actpass",
            "a=setup:holdconn",
            "a=setup",
            "a=rtcp-mux",
            "a=mid:",
        ),
        *(
            "a=mid:0",
            "a=mid:1",
            "a=mid:0 1",
            "a=mid:\x00",
            "a=mid:" + "m" * 300,
            "a=group:BUNDLE",
            "a=group:BUNDLE 0 0 9",
        ),
        *(
            "a=group:BUNDLE 0",
            "a=group:BUNDLE 0 1",
            "a=group:LS 0 1",
            "a=ice-lite",
            "a=ice-options:trickle",
            "a=inactive",
        ),
        *(
            "a=ice-ufrag:",
            "a=ice-ufrag:x",
            "a=ice-ufrag:" + "u" * 257,
            "a=ice-pwd:é",
            "a=ice-pwd:" + "p" * 24,
            "a=sendonly",
        ),
        *("a=candidate:", "a=candidate:1 1 udp 1 127.0.0.1 9 typ host", "a=candidate:1 1 udp 1 phone.local 9 typ host"),
        *(
            "a=candidate:1 1 udp 1 graph.invalid 9 typ host",
            "a=candidate:1 1 tcp 1 127.0.0.1 9 typ host tcptype active",
        ),
        *(
            "a=candidate:1 2 udp 1 ::1 9 typ host",
            "a=candidate:1 1 udp 1 fe80::1%eth0 9 typ host",
            "a=candidate:1 1 udp",
        ),
        *(
            "a=candidate:1 1 udp -1 127.0.0.1 99999 typ relay",
            "a=candidate:1 1 udp 1 0.0.0.0 9 typ prflx",
            "a=recvonly",
        ),
        *(
            f"a=candidate:1 1 udp {'9' * 5000} 127.0.0.1 9 typ host",
            "a=ssrc:0",
            "a=ssrc:9999999999 cname:x",
            "a=ssrc:1 cname:x",
        ),
        *(
            "a=ssrc-group:FID 1",
            "a=ssrc-group:FID 1 2 3",
            "a=extmap:0 x",
            "a=extmap:15/sendrecv urn:x",
            "a=msid:- -",
            "a=msid",
        ),
        *(
            "a=rtcp:9 IN IP4 0.0.0.0",
            "a=rtcp:x",
            "c=IN IP4 256.1.1.1",
            "c=IN",
            "c=",
            "o=",
            "o=- x y IN IP4 z",
            "o=- 1 1 IN IP4 ",
        ),
        *(
            "b=AS:-1",
            "t=",
            "s=",
            "z",
            "=",
            "a=",
            "a=:",
            "a=sctp-port:x",
            "a=sctpmap:5000 x",
            "a=crypto:1 AES",
            "v=0",
            "v=1",
        ),
        *(
            "a=end-of-candidates",
            "a=bundle-only",
            "a=max-message-size:x",
            "a=rtcp-fb:* nack",
            "a=rtcp-fb:111",
            "a=simulcast:",
        ),
        "a=" + "x" * 70_000,
    ]
)


@st.composite
def damaged_descriptions(draw: st.DrawFn) -> str:
    """Return a description with lines dropped, doubled, moved, cut or strange, with other line ends, or very long."""
    lines = draw(st.sampled_from(SAMPLES)).split("\r\n")
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(len(lines) - 1, 0)))
        match draw(st.sampled_from(["drop", "double", "move", "strange", "value", "cut", "section", "many"])):
            case "drop" if lines:
                del lines[at]
            case "double" if lines:
                lines.insert(at, lines[at])
            case "move" if lines:
                lines.insert(draw(st.integers(0, len(lines))), lines.pop(at))
            case "strange":
                lines.insert(at, draw(STRANGE_LINES))
            case "value" if lines:
                lines[at] = lines[at].partition(":")[0] + ":" + draw(TEXTS)
            case "cut" if lines:
                lines = lines[:at]
            case "section":
                media = [n for n, line in enumerate(lines) if line.startswith("m=")]
                if media:
                    lines += lines[draw(st.sampled_from(media)) :]
            case _:
                lines[at:at] = [draw(STRANGE_LINES)] * draw(st.sampled_from([40, 400, 4000]))
    return draw(st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r", "\n\r", "\x0b", "\r\n\r\n"])).join(lines)


DESCRIPTIONS: Final = st.one_of(
    damaged_descriptions(),
    st.sampled_from(SAMPLES).map(str.encode).flatmap(damaged).map(lambda body: body.decode(errors="surrogateescape")),
    TEXTS,
    TEXTS.map(lambda text: f"v=0\r\n{text}"),
)

LOCAL: Final = [
    text.replace("157.240.22.131", "127.0.0.1").replace("2a03:2880:f2c5:1c6:face:b00c:0:6206", "::1")
    for text in SAMPLES
]


@st.composite
def spoken(draw: st.DrawFn) -> str:
    """Return a sample on loopback in which a line is strange: most of these pass the gate."""
    lines = draw(st.sampled_from(LOCAL)).split("\r\n")
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(1, len(lines)))
        lines[at : at + draw(st.integers(0, 1))] = [draw(STRANGE_LINES)]
    return "\r\n".join(lines)
