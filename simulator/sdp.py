"""Meta's SDP texts, written like the documented samples around the real transport of a consumer's device.

The device (aiortc or a browser) answers a simplified offer. What Meta says to the business about that device is then
composed here as text: an answer, and the offer that moves the consumer's audio to a second section (reference, 4.5).
"""

import random
import re
from dataclasses import dataclass

OPUS_FMTP = "maxaveragebitrate=20000;maxplaybackrate=16000;minptime=10;usedtx=1;useinbandfec=1"
EXTENSIONS_KEPT = ("urn:ietf:params:rtp-hdrext:ssrc-audio-level", "urn:ietf:params:rtp-hdrext:sdes:mid")


class InvalidSdp(ValueError):
    """Says that an offer or answer lacks something no call can do without."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Holds what Meta's texts take from the business's offer."""

    lines: tuple[str, ...]
    session_id: str
    version: int
    mid: str
    opus: str
    track_id: str | None
    extensions: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Offer":
        """Reads an offer; raises InvalidSdp unless it is one audio section with Opus, ICE and a sha-256 fingerprint."""
        lines = tuple(text.split("\r\n")[:-1] if text.endswith("\r\n") else text.splitlines())
        if sum(line.startswith("m=") for line in lines) != 1 or not _find(lines, r"m=(audio) "):
            raise InvalidSdp("the offer must have exactly one media section, of audio")
        origin = re.match(r"o=\S+ (\d+) (\d+) ", _line(lines, "o="))
        mid, opus = _find(lines, r"a=mid:(\S+)"), _find(lines, r"(?i)a=rtpmap:(\d+) opus/48000/2")
        needed = ("a=ice-ufrag:", "a=ice-pwd:", "a=setup:actpass", "a=fingerprint:sha-256 ")
        missing = [name for name in needed if not _line(lines, name)]
        if origin is None or mid is None or opus is None or missing:
            raise InvalidSdp(f"the offer lacks {missing or 'an origin, a mid or Opus'}")
        return cls(
            lines=lines,
            session_id=origin[1],
            version=int(origin[2]),
            mid=mid,
            opus=opus,
            track_id=_find(lines, r"a=msid:\S+ (\S+)"),
            extensions=tuple(line for line in lines if line.startswith("a=extmap:") and line.endswith(EXTENSIONS_KEPT)),
        )

    def for_device(self) -> str:
        """Returns the offer as the consumer's device gets it: Opus alone, and `active`, so that it answers `passive`.

        Header extensions are left out, or the device would go on marking its packets with the mid of the first section
        after Meta's renegotiation has moved them to the second.
        """
        kept = []
        for line in self.lines:
            payload_type = re.match(r"a=(?:rtpmap|fmtp|rtcp-fb):(\d+) ", line)
            if line.startswith("m="):
                line = re.sub(r"( UDP/TLS/RTP/SAVPF) .*", rf"\1 {self.opus}", line)  # noqa: PLW2901
            elif line.startswith("a=extmap") or (payload_type and payload_type[1] != self.opus):
                continue
            kept.append("a=setup:active" if line == "a=setup:actpass" else line)
        return _text(kept)


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
        lines = tuple(text.splitlines())
        ufrag, password = _find(lines, r"a=ice-ufrag:(\S+)"), _find(lines, r"a=ice-pwd:(\S+)")
        fingerprint, ssrc = _find(lines, r"(?i)a=fingerprint:sha-256 (\S+)"), _find(lines, r"a=ssrc:(\d+) ")
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


def answer(offer: Offer, device: Device) -> str:
    """Composes what comes back from `accept` as `sdp_response`, like messenger-accept-answer.sdp."""
    head = _head(offer, bundle=offer.mid, stream="")
    return _text([*head, *_section(offer, device, mid=offer.mid, direction="sendrecv", msid=f"- {offer.track_id}")])


def renegotiation(offer: Offer, device: Device) -> str:
    """Composes what comes back as `sdp_renegotiation`, like messenger-accept-renegotiation-offer.sdp.

    The business now sends on the first section only; the consumer is heard on a new one, with an announced SSRC.
    """
    new_mid = "1" if offer.mid != "1" else "2"
    odd = ["a=x-google-flag:conference"]
    yours = _section(offer, device, mid=offer.mid, direction="recvonly", msid=f"- {offer.track_id}", more=odd)
    track = f"{device.stream}:DEFAULT {int(device.ssrc) * 10**8 + 125}"
    theirs = _section(offer, device, mid=new_mid, direction="sendonly", msid=track, more=odd)
    head = _head(offer, bundle=f"{offer.mid} {new_mid}", stream=f" {device.stream}:DEFAULT")
    cname = f"a=ssrc:{device.ssrc} cname:{device.stream}"
    return _text([*head, "a=x-fb-feature:pqc-0", *yours, *theirs, cname])


def _head(offer: Offer, *, bundle: str, stream: str) -> list[str]:
    return [
        "v=0",
        f"o=- {offer.session_id} {offer.version + 1} IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {bundle}",
        f"a=msid-semantic: WMS{stream}",
        "a=ice-lite",
    ]


def _section(
    offer: Offer, device: Device, *, mid: str, direction: str, msid: str, more: list[str] | None = None
) -> list[str]:
    """Writes one audio section; the TCP candidate is there because Meta sends one and nobody may trip over it."""
    address, port = device.candidates[0][2:] if device.candidates else ("0.0.0.0", "9")  # noqa: S104
    version = "6" if ":" in address else "4"
    udp = [f"a=candidate:{f} 1 udp {p} {host} {at} typ host generation 1" for f, p, host, at in device.candidates]
    tcp = [f"a=candidate:{f}9 1 tcp 1518280448 {host} 3478 typ host tcptype passive generation 1"
           for f, _, host, _ in device.candidates[:1]]  # fmt: skip
    return [
        f"m=audio {port} UDP/TLS/RTP/SAVPF {offer.opus}",
        f"c=IN IP{version} {address}",
        "a=rtcp:9 IN IP4 0.0.0.0",
        *udp,
        *tcp,
        f"a=ice-ufrag:{device.ufrag}",
        f"a=ice-pwd:{device.password}",
        *(["a=ice-options:fb-force-5245"] if more else []),
        f"a=fingerprint:sha-256 {device.fingerprint}",
        "a=setup:passive",
        f"a=mid:{mid}",
        *offer.extensions,
        f"a={direction}",
        *([f"a=msid:{msid}"] if offer.track_id or direction == "sendonly" else []),
        "a=rtcp-mux",
        *(more or []),
        f"a=rtpmap:{offer.opus} opus/48000/2",
        f"a=fmtp:{offer.opus} {OPUS_FMTP}",
    ]


def _text(lines: list[str]) -> str:
    return "\r\n".join([*lines, ""])


def _line(lines: tuple[str, ...], start: str) -> str:
    return next((line for line in lines if line.lower().startswith(start)), "")


def _find(lines: tuple[str, ...], pattern: str) -> str | None:
    return next((found[1] for line in lines if (found := re.match(pattern, line))), None)
