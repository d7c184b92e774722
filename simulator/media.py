"""The media of one call: which sections it has, and Meta's texts about them, written like the documented samples.

The consumer's device (aiortc or a browser) answers simplified offers with a section for each thing it does. What Meta
says to the business about that device is composed here around the device's real transport: answers, and offers, the
first of which moves the consumer's audio to a second section (reference, 4.5).
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from simulator.sdp import Codec, Device, InvalidSdp, Offer, Section, join_lines

OPUS_FMTP = "maxaveragebitrate=20000;maxplaybackrate=16000;minptime=10;usedtx=1;useinbandfec=1"
PLACEHOLDER_TRACK = "D3F4U1T_F8_TR4CK"  # the video section without a picture in the sample of section 6.1
CAMERA = "camera"
"""The device's own name for the section in which it sends pictures."""
FREE_PAYLOAD_TYPES = ("109", *map(str, range(108, 95, -1)), *map(str, range(112, 128)))

Purpose = Literal["microphone", "voice", "placeholder", "camera", "lens"]


@dataclass(slots=True)
class Line:
    """One media section as the business and Meta share it.

    The business sends on `microphone` and `lens`, its own sections; the consumer is heard on `voice` and seen on
    `camera`, Meta's. A business may also show its picture on one of Meta's, for sections are reused (RFC 8829, 5.2.2).
    """

    mid: str
    purpose: Purpose
    codec: Codec
    offered: Section | None = None
    """As in the business's latest offer, if it was in there."""
    ssrc: str | None = None

    @property
    def agreed(self) -> Codec:
        """Returns its codec with the payload type that the business last gave it: some give it a new one."""
        if self.offered is None or self.purpose in ("microphone", "voice"):
            return self.codec
        kept = any(codec.payload_type == self.codec.payload_type for codec in self.offered.codecs)
        return self.codec if kept else self.offered.video_codec() or self.codec

    @property
    def is_taken(self) -> bool:
        """Tells whether the business sends here."""
        return self.offered.sends if self.offered else self.purpose in ("microphone", "lens")

    @property
    def is_wanted(self) -> bool:
        """Tells whether the business takes what is sent here."""
        return self.offered is None or self.offered.direction in ("sendrecv", "recvonly")


class Media:
    """Keeps the sections of a call, and says of them what Meta would say."""

    def __init__(self, offer: Offer, *, digit_rates: Sequence[int], digits_in_answer: bool) -> None:
        self.lock = asyncio.Lock()
        """Held while the device is told of a change."""
        self.camera_on = False
        self._first = self._latest = offer
        self._device: Device
        self._digits_in_answer = digits_in_answer
        self._rates = digit_rates
        self._lines = [Line(offer.sections[0].mid, "microphone", offer.opus, offer.sections[0])]
        self._pictures: list[tuple[str, Codec, Section | None]] = []
        self._offers = 0

    def meet(self, device: Device) -> None:
        """Takes note of the consumer's device, which must be known before anything is said to the business."""
        self._device = device

    @property
    def digits(self) -> list[Codec]:
        """Returns the telephone events that both sides know."""
        names = [f"telephone-event/{rate}" for rate in self._rates]
        return [codec for codec in self._first.sections[0].codecs if codec.name in names]

    def answer(self) -> str:
        """Composes what comes back for the business's latest offer, like messenger-accept-answer.sdp."""
        known = {line.mid: line for line in self._lines}
        kept = [known[section.mid] for section in self._latest.sections]
        return self._text(kept, stream="", answers=True)

    def offer(self) -> str:
        """Composes an offer of Meta's, like messenger-accept-renegotiation-offer.sdp.

        From the first on, the business only sends on its own section; the consumer is heard on another, with an
        announced SSRC.
        """
        if not any(line.purpose == "voice" for line in self._lines):
            self._lines.append(Line(self._new_mid(), "voice", self._first.opus, ssrc=self._device.ssrc))
        text = self._text(self._lines, stream=f" {self._device.stream}:DEFAULT", answers=False)
        self._offers += 1
        return text

    @property
    def has_camera(self) -> bool:
        """Tells whether the device has a section for its camera, on or off."""
        return any(name == CAMERA for name, _, _ in self._pictures)

    def add_camera(self) -> None:
        """Gives the device a section for its camera."""
        self._pictures.append((CAMERA, self._camera_codec(), None))

    def show_camera(self, ssrc: str) -> None:
        """Lets the consumer be seen in two new sections, of which one never has a picture (6.1)."""
        codec = next(codec for name, codec, _ in self._pictures if name == CAMERA)
        self._lines.append(Line(self._new_mid(), "placeholder", codec))
        self._lines.append(Line(self._new_mid(), "camera", codec, ssrc=ssrc))

    def _camera_codec(self) -> Codec:
        """Returns VP8 with the payload type that the business gave it, or else one that has no meaning yet."""
        named = (section.codec("VP8/90000") for section in self._latest.sections if section.kind == "video")
        used = self._first.payload_types | self._latest.payload_types
        free = next(number for number in FREE_PAYLOAD_TYPES if number not in used)
        return next((codec for codec in named if codec), Codec(free, "VP8/90000"))

    def check(self, offer: Offer) -> None:
        """Raises InvalidSdp unless the business may go on with this offer where the call stands."""
        mids = [section.mid for section in offer.sections]
        missing = set(mids) - set(offer.bundle)
        if missing:
            raise InvalidSdp(f"BUNDLE is mandatory, and section {min(missing)} is not in it")
        if mids[: len(self._lines)] != [line.mid for line in self._lines]:
            raise InvalidSdp(f"the offer must begin with the sections {' '.join(line.mid for line in self._lines)}")
        if offer.ufrag != self._first.ufrag:
            raise InvalidSdp("ICE cannot be restarted in this simulator")
        for section in offer.sections[len(self._lines) :]:
            if section.kind != "video" or not section.video_codec():
                raise InvalidSdp(f"section {section.mid} is no video in VP8 or H264")

    def take(self, offer: Offer) -> bool:
        """Goes on with an offer that was checked; tells whether the device must hear of it, for there are new pictures.

        What is new are the sections in which the business shows something.
        """
        known = {name for name, _, _ in self._pictures}
        self._latest = offer
        for section in offer.sections[len(self._lines) :]:
            codec = section.video_codec()
            assert codec is not None  # noqa: S101 - `check` has seen to it
            self._lines.append(Line(section.mid, "lens", codec))
        for section, line in zip(offer.sections, self._lines, strict=True):
            line.offered = section
            if section.kind == "video" and section.sends and section.mid not in known:
                self._pictures.append((section.mid, line.agreed, section))
        return len(self._pictures) > len(known)

    def track_ids(self) -> set[str]:
        """Returns the ids of the business's tracks."""
        return {section.track_id for section in self._latest.sections if section.track_id}

    def device_offer(self) -> str:
        """Composes the offer for the consumer's device: Opus and telephone events, and a section for each picture.

        It is `active`, so that the device answers `passive`. Header extensions are left out, or the device would go on
        marking its packets with the mid of the first section after Meta's offer has moved them to another.
        """
        first = self._first.sections[0]
        codecs = [self._first.opus, *self.digits]
        numbers = " ".join(codec.payload_type for codec in codecs)
        lines = [line for line in self._first.session if not line.startswith(("a=group:", "a=extmap"))]
        lines.append("a=group:BUNDLE " + " ".join([first.mid, *(name for name, _, _ in self._pictures)]))
        for line in first.lines:
            payload_type = re.match(r"a=(?:rtpmap|fmtp|rtcp-fb):(\d+) ", line)
            if line.startswith("m="):
                lines.append(re.sub(r"( UDP/TLS/RTP/SAVPF) .*", rf"\1 {numbers}", line))
            elif not line.startswith("a=extmap") and (not payload_type or payload_type[1] in numbers.split()):
                lines.append(line)
        for name, codec, offered in self._pictures:
            lines += self._picture_for_device(name, codec, offered)
        return join_lines(["a=setup:active" if line == "a=setup:actpass" else line for line in lines])

    def _picture_for_device(self, name: str, codec: Codec, offered: Section | None) -> list[str]:
        transport = ("a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:sha-256 ")
        whole = (*self._first.session, *self._first.sections[0].lines)
        sources = [line for line in offered.lines if line.startswith("a=ssrc:")] if offered else []
        return [
            f"m=video 9 UDP/TLS/RTP/SAVPF {codec.payload_type}",
            "c=IN IP4 0.0.0.0",
            *(line for line in whole if line.lower().startswith(transport)),
            "a=setup:active",
            f"a=mid:{name}",
            "a=sendonly" if offered else "a=recvonly",
            "a=rtcp-mux",
            *_described(codec),
            *sources,
        ]

    def _new_mid(self) -> str:
        used = {line.mid for line in self._lines}
        return next(str(number) for number in range(len(used) + 1) if str(number) not in used)

    def _text(self, lines: Sequence[Line], *, stream: str, answers: bool) -> str:
        head = [
            "v=0",
            f"o=- {self._latest.session_id} {self._latest.version + max(1, self._offers)} IN IP4 127.0.0.1",
            "s=-",
            "t=0 0",
            f"a=group:BUNDLE {' '.join(line.mid for line in lines)}",
            f"a=msid-semantic: WMS{stream}",
            "a=ice-lite",
            *([] if answers else ["a=x-fb-feature:pqc-0"]),
        ]
        return join_lines([*head, *(text for line in lines for text in self._section(line, answers=answers))])

    def _section(self, line: Line, *, answers: bool) -> list[str]:
        """Writes one section; the TCP candidate is there because Meta sends one and nobody may trip over it."""
        device = self._device
        address, port = device.candidates[0][2:] if device.candidates else ("0.0.0.0", "9")  # noqa: S104
        udp = [f"a=candidate:{f} 1 udp {p} {host} {at} typ host generation 1" for f, p, host, at in device.candidates]
        tcp = [f"a=candidate:{f}9 1 tcp 1518280448 {host} 3478 typ host tcptype passive generation 1"
               for f, _, host, _ in device.candidates[:1]]  # fmt: skip
        audio = line.purpose in ("microphone", "voice")
        codecs = [line.agreed, *(self.digits if audio and (self._digits_in_answer or not answers) else [])]
        direction, msid = self._direction(line, answers=answers), self._msid(line)
        kept = self._first.sections[0].extensions
        return [
            f"m={'audio' if audio else 'video'} {port} UDP/TLS/RTP/SAVPF "
            + " ".join(codec.payload_type for codec in codecs),
            f"c=IN IP{'6' if ':' in address else '4'} {address}",
            "a=rtcp:9 IN IP4 0.0.0.0",
            *udp,
            *tcp,
            f"a=ice-ufrag:{device.ufrag}",
            f"a=ice-pwd:{device.password}",
            *([] if answers else ["a=ice-options:fb-force-5245"]),
            f"a=fingerprint:sha-256 {device.fingerprint}",
            "a=setup:passive",
            f"a=mid:{line.mid}",
            *(kept if audio else [extension for extension in kept if extension.endswith(":mid")]),
            f"a={direction}",
            *([f"a=msid:{msid}"] if msid else []),
            "a=rtcp-mux",
            *([] if audio else ["a=rtcp-rsize"]),
            *([] if answers else ["a=x-google-flag:conference"]),
            *(text for codec in codecs for text in _described(codec)),
            *([f"a=ssrc:{line.ssrc} cname:{device.stream}"] if line.ssrc else []),
        ]

    def _direction(self, line: Line, *, answers: bool) -> str:
        """Returns what Meta does in a section; in an answer, only what the business's offer allows."""
        match line.purpose:
            case "microphone":
                sends = answers and len(self._lines) == 1
            case "placeholder":
                sends = not line.is_taken
            case "camera":
                sends = self.camera_on
            case _:
                sends = line.purpose == "voice"
        sends = sends and (line.is_wanted or not answers)
        return {(True, True): "sendrecv", (True, False): "sendonly", (False, True): "recvonly"}.get(
            (sends, line.is_taken), "inactive"
        )

    def _msid(self, line: Line) -> str | None:
        """Returns a section's `a=msid`: the business's own track comes back to it."""
        match line.purpose:
            case "placeholder":
                return f"- {PLACEHOLDER_TRACK}"
            case "voice" | "camera":
                return f"{self._device.stream}:DEFAULT {int(line.ssrc or 0) * 10**8 + 125}"
            case _:
                return f"- {line.offered.track_id}" if line.offered and line.offered.track_id else None


def _described(codec: Codec) -> list[str]:
    """Writes the attributes of one codec, as Meta has them."""
    number = codec.payload_type
    kind, fmtp = codec.name.split("/")[0].lower(), codec.fmtp
    feedback = ("ccm fir", "nack", "nack pli", "goog-remb", "transport-cc") if kind in ("vp8", "h264") else ()
    if kind == "opus":
        fmtp = OPUS_FMTP
    elif kind == "telephone-event":
        fmtp = ""
    return [
        f"a=rtpmap:{number} {codec.name}",
        *(f"a=rtcp-fb:{number} {what}" for what in feedback),
        *([f"a=fmtp:{number} {fmtp}"] if fmtp else []),
    ]
