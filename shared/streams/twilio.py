"""Twilio Media Streams, in both directions: mu-law at 8 kHz in JSON (media-streams/websocket-messages).

Numbers are texts, as Twilio sends them. The call's id is the `callSid`.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np

from shared.streaming import StreamFailed
from shared.streams.g711 import MU_LAW
from shared.streams.pump import RATE, Message, Mouth
from shared.streams.resampling import Resampler

HZ: Final = 8000
FRAME_MS: Final = 20


class _Media(msgspec.Struct, frozen=True):
    payload: str


class _Mark(msgspec.Struct, frozen=True):
    name: str


class _Said(msgspec.Struct, frozen=True):
    event: str
    media: _Media | None = None
    mark: _Mark | None = None


_decode: Final = msgspec.json.Decoder(_Said).decode
_encode: Final = msgspec.json.Encoder().encode


class Twilio:
    """One stream; see `pump.Translator`."""

    def __init__(self, call_id: str, url: str, parameters: Mapping[str, str], *, token: str, account: str) -> None:
        self._call_id, self._url, self._parameters = call_id, url, dict(parameters)
        self._token, self._account = token, account
        self._stream = f"MZ{secrets.token_hex(16)}"
        self._sequence = 0
        self._chunk = 0
        self._down, self._up = Resampler(RATE, HZ), Resampler(HZ, RATE)

    def headers(self) -> dict[str, str]:
        """Sign the URL as Twilio does (usage/security, "Validating requests"), where there is a token."""
        return {"x-twilio-signature": signature(self._token, self._url)} if self._token else {}

    def begin(self) -> list[Message]:
        """Return `connected` and `start`."""
        start = {
            "accountSid": self._account,
            "streamSid": self._stream,
            "callSid": self._call_id,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": HZ, "channels": 1},
            "customParameters": self._parameters,
        }
        connected = _encode({"event": "connected", "protocol": "Call", "version": "1.0.0"}).decode()
        return [connected, self._told("start", start)]

    def heard(self, pcm: bytes) -> Message:
        """Return a `media` message."""
        self._chunk += 1
        samples = self._down(np.frombuffer(pcm, "<i2"))
        payload = base64.b64encode(MU_LAW.encode(samples)).decode()
        timestamp = str((self._chunk - 1) * FRAME_MS)
        media = {"track": "inbound", "chunk": str(self._chunk), "timestamp": timestamp, "payload": payload}
        return self._told("media", media)

    def pressed(self, digit: str) -> Message:
        """Return a `dtmf` message."""
        return self._told("dtmf", {"track": "inbound_track", "digit": digit})

    def played(self, name: str) -> Message:
        """Return a `mark` message."""
        return self._told("mark", {"name": name})

    def end(self) -> Message:
        """Return `stop`."""
        return self._told("stop", {"accountSid": self._account, "callSid": self._call_id})

    def take(self, message: Message, mouth: Mouth) -> None:
        """Take `media`, `mark` and `clear`; what else comes is passed over, as Twilio does."""
        try:
            said = _decode(message)
        except msgspec.DecodeError as error:
            raise StreamFailed(f"call {self._call_id}: the bot sent no message of Media Streams: {error}") from error
        match said:
            case _Said(event="media", media=_Media(payload=payload)):
                mouth.say(self._up(MU_LAW.decode(self._bytes(payload))).tobytes())
            case _Said(event="mark", mark=_Mark(name=name)):
                mouth.mark(name)
            case _Said(event="clear"):
                mouth.clear()

    def _bytes(self, payload: str) -> bytes:
        try:
            return base64.b64decode(payload, validate=True)
        except ValueError as error:
            raise StreamFailed(f"call {self._call_id}: the bot sent a payload that is not base64") from error

    def _told(self, event: str, body: dict[str, Any]) -> str:
        self._sequence += 1
        message = {"event": event, "sequenceNumber": str(self._sequence), event: body, "streamSid": self._stream}
        return _encode(message).decode()


def signature(token: str, url: str) -> str:
    """Return what `X-Twilio-Signature` is for a request without a body."""
    return base64.b64encode(hmac.new(token.encode(), url.encode(), hashlib.sha1).digest()).decode()
