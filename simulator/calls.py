"""One call as Meta sees it, and what the consumer's device can do.

A call is `ringing` until both sides can hear each other, `connected` until somebody ends it, then `ended`. Whoever
holds the phone on the consumer's side, aiortc or a browser, is a `Consumer`; nothing here knows which.
"""

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec

from simulator.media import Media
from simulator.picture import Seen
from simulator.settings import AnswerShape

Direction = Literal["user_initiated", "business_initiated"]
EndedBy = Literal["consumer", "business", "timeout"]


class Heard(msgspec.Struct, kw_only=True):
    """What reached the consumer's ear."""

    seconds: float = 0.0
    dominant_hz: float | None = None
    packets: int = 0
    lost_packets: int = 0
    first_audio_ms: float | None = None
    recorded: bool = False
    digits: str = ""


class Consumer(Protocol):
    """The consumer's device."""

    connected: asyncio.Event
    """Set once media can flow."""
    gone: asyncio.Event
    """Set when the business has sent nothing for too long."""

    @property
    def pressed(self) -> str:
        """Returns the keys pressed so far."""

    @property
    def seen(self) -> Seen:
        """Tells what was seen so far."""

    async def answer(self, offer: str) -> str:
        """Takes the business's offer, returns the device's answer; raises `sdp.InvalidSdp` or `TimeoutError`."""

    def pick_up(self) -> None:
        """Begins to speak and to listen; before that media may flow, but nobody is at the phone."""

    async def heard(self) -> Heard:
        """Tells what was heard so far."""

    async def close(self, ended_by: EndedBy) -> None:
        """Puts the phone down."""

    def recording(self) -> bytes | None:
        """Returns what was heard as a WAV file, if the device records."""

    def picture(self) -> bytes | None:
        """Returns what was seen last as a PNG file, if the device keeps it."""


class Refused(Exception):
    """Says that Graph will not do this, with the code of the reference's sections 10.3 and 10.4 where there is one."""

    def __init__(self, code: int, message: str, subcode: int | None = None, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.subcode = subcode


@dataclass(slots=True, kw_only=True)
class Call:
    """Holds one call as Meta sees it; times are Unix milliseconds."""

    id: str
    direction: Direction
    page: str
    psid: str
    consumer: Consumer
    answer_shape: AnswerShape
    hang_up_after_s: float | None = None
    state: Literal["ringing", "connected", "ended"] = "ringing"
    ended_by: EndedBy | None = None
    status: Literal["Completed", "Failed"] | None = None
    started_ms: float
    webhook_sent_ms: float | None = None
    accept_received_ms: float | None = None
    accepting: bool = False
    rang_ms: float | None = None
    """When the consumer's device began to ring."""
    picked_up_ms: float | None = None
    connected_ms: float | None = None
    ended_ms: float | None = None
    media_version: int = 0
    media: Media | None = None
    """The call's media, once the business has made an offer that was answered."""
    muted: bool = False
    tracks: dict[str, dict[str, str]] = field(default_factory=dict)
    """What the business said of its tracks, by msid."""
    talking: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the phone is down and what was heard is final."""
    timers: list[asyncio.TimerHandle] = field(default_factory=list)
    media_watch: asyncio.Task[None] | None = None
    in_vain: str | None = None
    """Why the business is never told of this call; None: it is."""
    metrics: dict[str, Any] | None = None
    """What the business handed in about it afterwards."""


async def view(call: Call) -> dict[str, Any]:
    """Returns the call as JSON shows it."""
    heard = await call.consumer.heard()

    def since_webhook_ms(at_ms: float | None) -> float | None:
        return None if at_ms is None or call.webhook_sent_ms is None else at_ms - call.webhook_sent_ms

    return {
        "call_id": call.id,
        "direction": call.direction,
        "page": call.page,
        "psid": call.psid,
        "state": call.state,
        "ended_by": call.ended_by,
        "status": call.status,
        "in_vain": call.in_vain,
        "metrics": call.metrics,
        "started_ms": call.started_ms,
        "webhook_sent_ms": call.webhook_sent_ms,
        "accept_received_ms": call.accept_received_ms,
        "rang_ms": call.rang_ms,
        "picked_up_ms": call.picked_up_ms,
        "connected_ms": call.connected_ms,
        "first_audio_ms": heard.first_audio_ms,
        "ended_ms": call.ended_ms,
        "webhook_to_accept_ms": since_webhook_ms(call.accept_received_ms),
        "webhook_to_first_audio_ms": since_webhook_ms(heard.first_audio_ms),
        "media_version": call.media_version,
        "muted": call.muted,
        "video": call.media is not None and call.media.camera_on,
        "tracks": call.tracks,
        "pressed": call.consumer.pressed,
        "seen": msgspec.to_builtins(call.consumer.seen)
        | {"picture": f"/sim/calls/{call.id}/picture.png" if call.consumer.seen.frames else None},
        "heard": {
            "seconds": heard.seconds,
            "dominant_hz": heard.dominant_hz,
            "packets": heard.packets,
            "lost_packets": heard.lost_packets,
            "digits": heard.digits,
            "recording": f"/sim/calls/{call.id}/recording.wav" if heard.recorded else None,
        },
    }


def new_id() -> str:
    """Makes a call id as long as those in Meta's samples."""
    return "c_" + secrets.token_urlsafe(29)[:38]


def now_ms() -> float:
    """Returns the Unix time in milliseconds."""
    return time.time() * 1000
