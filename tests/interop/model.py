"""A stand-in for OpenAI's Realtime server (GA events): a long tone until it hears another, then a short one."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from websockets.sync.server import ServerConnection, serve

HZ: Final = 8000
DELTA_S: Final = 0.2
LONG_HZ, LONG_S = 880, 30.0
SHORT_HZ, SHORT_S = 440, 1.0
WINDOW_BYTES: Final = HZ // 4


class Model:
    """The server; audio is mu-law."""

    def __init__(self, speech_hz: float) -> None:
        self.url = ""
        self.events: list[dict[str, Any]] = []
        """What the client sent, but for the sound."""
        self.heard = bytearray()
        self._speech_hz = speech_hz
        self._number = 0

    @contextmanager
    def listening(self) -> Iterator["Model"]:
        """Serve on a free port."""
        with serve(self._behave, "127.0.0.1", 0, compression=None) as server:
            self.url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/v1/realtime"
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield self
            finally:
                server.shutdown()

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of a kind that the client sent."""
        return [event for event in self.events if event["type"] == kind]

    def _behave(self, socket: ServerConnection) -> None:
        self._tell(socket, "session.created", session={"type": "realtime", "id": "sess_1"})
        greeted = interrupted = False
        for received in socket:
            event = json.loads(received)
            if event["type"] == "input_audio_buffer.append":
                self.heard += base64.b64decode(event["audio"])
                if not greeted:
                    greeted = True
                    self._say(socket, "item_1", LONG_HZ, LONG_S)  # and is not done with it
                elif not interrupted and abs(dominant_hz(bytes(self.heard[-WINDOW_BYTES:])) - self._speech_hz) < 20:
                    interrupted = True
                    self._tell(socket, "input_audio_buffer.speech_started", audio_start_ms=0, item_id="item_2")
                continue
            self.events.append(event)
            if event["type"] == "conversation.item.truncate":
                self._say(socket, "item_3", SHORT_HZ, SHORT_S)
                where = {"response_id": "resp_item_3", "item_id": "item_3", "output_index": 0, "content_index": 0}
                self._tell(socket, "response.output_audio.done", **where)

    def _say(self, socket: ServerConnection, item: str, hz: float, seconds: float) -> None:
        self._tell(socket, "response.created", response={"id": f"resp_{item}"})
        sound = mu_law_tone(hz, seconds)
        step = int(HZ * DELTA_S)
        where = {"response_id": f"resp_{item}", "item_id": item, "output_index": 0, "content_index": 0}
        for start in range(0, len(sound), step):
            delta = base64.b64encode(sound[start : start + step]).decode()
            self._tell(socket, "response.output_audio.delta", **where, delta=delta)

    def _tell(self, socket: ServerConnection, kind: str, **body: Any) -> None:
        self._number += 1
        socket.send(json.dumps({"type": kind, "event_id": f"event_{self._number}", **body}))


def mu_law_tone(hz: float, seconds: float) -> bytes:
    """Return a tone, coded by the formula of G.711's companding curve and not by our tables."""
    wave = 0.3 * np.sin(2 * np.pi * hz * np.arange(int(HZ * seconds)) / HZ)
    level = np.log1p(255 * np.abs(wave)) / np.log(256)
    code: bytes = (~((np.rint(level * 127)).astype(np.uint8) | np.where(wave < 0, 0x80, 0).astype(np.uint8))).tobytes()
    return code


def dominant_hz(codes: bytes) -> float:
    """Return the strongest frequency of mu-law sound."""
    code = ~np.frombuffer(codes, np.uint8)
    wave = np.expm1((code & 0x7F) / 127 * np.log(256)) * np.where(code & 0x80, -1.0, 1.0)
    return float(np.argmax(np.abs(np.fft.rfft(wave * np.hanning(len(wave)))))) * HZ / len(wave)
