"""OpenAI's Realtime API: the bot is their model, and we are its client.

Two shapes of the API are in use, and servers that call themselves compatible speak one or the other: `ga`
(`session.type`, formats as objects, `response.output_audio.delta`) and `beta` (flat formats, `response.audio.delta`,
the header `OpenAI-Beta`). What comes in is taken in both. Their server decides when the consumer speaks (server VAD):
what the model said and the consumer did not hear is then dropped here, and truncated in the model's memory.
"""

import base64
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from shared.streaming import StreamFailed
from shared.streams.g711 import A_LAW, G711, MU_LAW
from shared.streams.pump import RATE, Message, Mouth
from shared.streams.resampling import Resampler

PCM_HZ: Final = 24000
G711_HZ: Final = 8000
MOST_PARTS: Final = 32
"""More of them do not wait to be heard: a session says one after the other."""
GIVEN: Final = {"format": "pcmu", "shape": "ga", "instructions": "", "voice": ""}
"""The parameters, and what they are where they are not given."""
_FORMATS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "pcmu": ({"type": "audio/pcmu"}, "g711_ulaw"),
    "pcma": ({"type": "audio/pcma"}, "g711_alaw"),
    "pcm": ({"type": "audio/pcm", "rate": PCM_HZ}, "pcm16"),
}
"""How each is called in either shape."""
_LAWS: Final[dict[str, G711 | None]] = {"pcmu": MU_LAW, "pcma": A_LAW, "pcm": None}


class _Trouble(msgspec.Struct, frozen=True):
    message: str = ""
    code: str | None = None


@dataclass(slots=True)
class _Part:
    """A part of an item of the conversation, in sound."""

    item: str
    index: int
    lasts_s: float = 0.0


class _Said(msgspec.Struct, frozen=True):
    type: str
    delta: Any = None
    item_id: str = ""
    content_index: int = 0
    error: _Trouble | None = None


_decode: Final = msgspec.json.Decoder(_Said).decode
_encode: Final = msgspec.json.Encoder().encode


class OpenAI:
    """One session; see `pump.Translator`."""

    def __init__(self, parameters: Mapping[str, str], *, key: str) -> None:
        if unknown := set(parameters) - set(GIVEN):
            raise ValueError(f"parameters of openai: there is no {', '.join(sorted(unknown))}; {', '.join(GIVEN)}")
        self._given = {**GIVEN, **parameters}
        if self._given["format"] not in _FORMATS or self._given["shape"] not in ("ga", "beta"):
            raise ValueError("parameters of openai: format is pcmu, pcma or pcm, and shape is ga or beta")
        self._key = key
        self._law = _LAWS[self._given["format"]]
        self._hz = G711_HZ if self._law else PCM_HZ
        self._out, self._in = Resampler(RATE, self._hz), Resampler(self._hz, RATE)
        self._said: deque[_Part] = deque(maxlen=MOST_PARTS)
        """What the model said that may wait to be heard, the newest last."""

    @property
    def _beta(self) -> bool:
        return self._given["shape"] == "beta"

    def headers(self) -> dict[str, str]:
        """Return the key."""
        key = {"authorization": f"Bearer {self._key}"} if self._key else {}
        return key | ({"openai-beta": "realtime=v1"} if self._beta else {})

    def begin(self) -> list[Message]:
        """Return `session.update`."""
        said = {"instructions": self._given["instructions"]} if self._given["instructions"] else {}
        voice = {"voice": self._given["voice"]} if self._given["voice"] else {}
        new, old = _FORMATS[self._given["format"]]
        if self._beta:
            formats = {"input_audio_format": old, "output_audio_format": old, "turn_detection": {"type": "server_vad"}}
            session: dict[str, Any] = {**said, **voice, **formats}
        else:
            heard = {"format": new, "turn_detection": {"type": "server_vad"}}
            audio = {"input": heard, "output": {"format": new, **voice}}
            session = {"type": "realtime", **said, "audio": audio}
        return [_told("session.update", session=session)]

    def heard(self, pcm: bytes) -> Message:
        """Return `input_audio_buffer.append`."""
        samples = self._out(np.frombuffer(pcm, "<i2"))
        sound = self._law.encode(samples) if self._law else samples.tobytes()
        return _told("input_audio_buffer.append", audio=base64.b64encode(sound).decode())

    def pressed(self, digit: str) -> Message:
        """Tell the model of a key, as something that the consumer wrote; their API has no word for keys."""
        content = [{"type": "input_text", "text": f"The caller pressed {digit}."}]
        return _told("conversation.item.create", item={"type": "message", "role": "user", "content": content})

    def played(self, name: str) -> None:
        """Return nothing: there are no marks."""

    def end(self) -> None:
        """Return nothing: the connection's end is the session's."""

    def take(self, message: Message, mouth: Mouth) -> None:
        """Say what the model says, and stop where the consumer speaks."""
        try:
            said = _decode(message)
        except msgspec.DecodeError as error:
            raise StreamFailed(f"the model's server sent what is no event: {error}") from error
        match said.type:
            case "response.output_audio.delta" | "response.audio.delta":
                self._say(said, mouth)
            case "response.output_audio.done" | "response.audio.done":
                mouth.finish()
            case "input_audio_buffer.speech_started":
                self._interrupt(mouth)
            case "error" if said.error is not None and said.error.code in _FATAL:
                raise StreamFailed(f"the model's server refuses: {said.error.message} ({said.error.code})")

    def _say(self, said: _Said, mouth: Mouth) -> None:
        try:
            sound = base64.b64decode(said.delta, validate=True)
        except (TypeError, ValueError) as error:
            raise StreamFailed("the model's server sent sound that is not base64") from error
        samples = self._law.decode(sound) if self._law else np.frombuffer(sound[: len(sound) & ~1], "<i2")
        if not self._said or (said.item_id, said.content_index) != (self._said[-1].item, self._said[-1].index):
            self._said.append(_Part(said.item_id, said.content_index))
        self._said[-1].lasts_s += len(samples) / self._hz
        mouth.say(self._in(samples).tobytes())

    def _interrupt(self, mouth: Mouth) -> None:
        """Drop what was not heard, and have the model know how much was of each part."""
        dropped_s, cut = mouth.clear(), list[Message]()
        while self._said and dropped_s > 0:
            part = self._said.pop()
            heard_ms = max(0, int(1000 * (part.lasts_s - dropped_s)))
            dropped_s -= part.lasts_s
            if part.item:
                to = {"item_id": part.item, "content_index": part.index, "audio_end_ms": heard_ms}
                cut.append(_told("conversation.item.truncate", **to))
        for message in reversed(cut):
            mouth.tell(message)
        self._said.clear()


_FATAL: Final = frozenset({"invalid_api_key", "insufficient_quota", "model_not_found", "session_expired"})
"""After these nothing more can come of the session; other errors are about one event."""


def _told(type_: str, **body: Any) -> str:
    return _encode({"type": type_, **body}).decode()
