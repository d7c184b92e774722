"""Raw sound: binary messages are 16-bit little-endian mono, both ways; all else is JSON texts with an `event`.

To the bot: `start` (`call_id`, `page`, `caller`, `rate`, `parameters`), `dtmf` (`digit`), `mark` (`name`), `stop`. From
the bot: `mark` (`name`) and `clear`; to end the conversation it closes the connection.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np

from shared.handling import Call
from shared.streaming import StreamFailed
from shared.streams.pump import RATE, Message, Mouth
from shared.streams.resampling import Resampler


class _Said(msgspec.Struct, frozen=True):
    event: str
    name: str = ""


_decode: Final = msgspec.json.Decoder(_Said).decode
_encode: Final = msgspec.json.Encoder().encode


class Pcm:
    """One stream; see `pump.Translator`."""

    def __init__(self, call: Call, rate: int, parameters: Mapping[str, str], *, token: str) -> None:
        self._call, self._rate, self._parameters, self._token = call, rate, dict(parameters), token
        self._out, self._in = Resampler(RATE, rate), Resampler(rate, RATE)
        self._odd = b""

    def headers(self) -> dict[str, str]:
        """Return the bearer token, where there is one."""
        return {"authorization": f"Bearer {self._token}"} if self._token else {}

    def begin(self) -> list[Message]:
        """Return `start`."""
        call = self._call
        start = {"call_id": call.id, "page": call.page, "caller": call.caller, "rate": self._rate}
        return [_told("start", **start, parameters=self._parameters)]

    def heard(self, pcm: bytes) -> Message:
        """Return the sound."""
        return self._out(np.frombuffer(pcm, "<i2")).tobytes()

    def pressed(self, digit: str) -> Message:
        """Return `dtmf`."""
        return _told("dtmf", digit=digit)

    def played(self, name: str) -> Message:
        """Return `mark`."""
        return _told("mark", name=name)

    def end(self) -> Message:
        """Return `stop`."""
        return _told("stop")

    def take(self, message: Message, mouth: Mouth) -> None:
        """Say what is sound, and do what a text asks for."""
        if isinstance(message, bytes):
            sound = self._odd + message
            whole = len(sound) & ~1
            self._odd = sound[whole:]
            mouth.say(self._in(np.frombuffer(sound[:whole], "<i2")).tobytes())
            return
        try:
            said = _decode(message)
        except msgspec.DecodeError as error:
            raise StreamFailed(f"call {self._call.id}: the bot sent a text that is no message: {error}") from error
        match said.event:
            case "mark":
                mouth.mark(said.name)
            case "clear":
                mouth.clear()


def _told(event: str, **body: Any) -> str:
    return _encode({"event": event, **body}).decode()
