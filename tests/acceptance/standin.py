"""Stands in for Meta: Graph's `/calls`, signed webhooks and consumers with telephones. It shares no code with pageline.

Its session descriptions are Meta's documented samples (tests/fixtures/sdp) with another transport written in; its HTTP
is a few lines of asyncio, its HMAC is its own, its telephones are stock aiortc. It all runs on a loop in a thread.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import re
import secrets
import struct
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

import httpx
import numpy as np
from aioice import Candidate, Connection
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame
from numpy.typing import NDArray

FIXTURES: Final = Path(__file__).parents[1] / "fixtures"
SDP: Final = FIXTURES / "sdp"
ANSWER: Final = (SDP / "messenger-accept-answer.sdp").read_bytes().decode()
RENEGOTIATION: Final = (SDP / "messenger-accept-renegotiation-offer.sdp").read_bytes().decode()
SAMPLE_UFRAG, SAMPLE_PASSWORD = "EbT4cXksCyVKQMC/103", "74O3IvX6AV9ulmb9udAmimux"

PAGE: Final = "106378625516323"
SECRET: Final = "s3cret"
RATE_HZ: Final = 48_000
FRAME_SAMPLES: Final = 960
FRAME_S: Final = FRAME_SAMPLES / RATE_HZ
KEYS: Final = "0123456789*#"
LOUD: Final = 500
"""What is louder than this is no silence (16-bit samples)."""

Samples = NDArray[np.int16]
Spelling = Literal["objects", "strings", "answer only"]
T = TypeVar("T")


def until(condition: Callable[[], T], what: str, *, timeout_s: float = 20.0) -> T:
    """Return what the condition says as soon as that is true; fail naming `what` if it never is."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.01)
    return value


def dominant_hz(sound: Samples) -> float:
    """Return the strongest frequency; at least half a second of sound is wanted, and no silence."""
    assert len(sound) >= RATE_HZ // 2, f"only {len(sound) / RATE_HZ:.2f} s were heard"
    assert np.abs(sound).max() > LOUD, "silence has no pitch"
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(np.argmax(spectrum) * RATE_HZ / len(sound))


def graph_error(name: str) -> dict[str, Any]:
    """Return one of Graph's documented error bodies."""
    body: dict[str, Any] = json.loads((FIXTURES / "api" / f"graph-error-{name}.json").read_text())
    return body


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    """Return the headers of a webhook body that Meta signed."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"content-type": "application/json", "x-hub-signature-256": f"sha256={digest}"}


def envelope(*elements: tuple[str, Mapping[str, Any]]) -> bytes:
    """Return one webhook body with call events, each of its own Page."""
    now_s = int(time.time())
    entries = [{"id": page, "time": now_s, "calls": [{"timestamp": now_s, **element}]} for page, element in elements]
    return json.dumps({"object": "page", "entry": entries}).encode()


@dataclass(frozen=True)
class Reply:
    """What Graph answers instead of carrying out an action: an error, nothing at all (status 0), or late."""

    status: int = 400
    body: Mapping[str, Any] = field(default_factory=dict)
    after_s: float = 0.0
    act: bool = False
    """Carry the action out and answer as usual, only later."""


@dataclass(frozen=True)
class Request:
    """What Graph was asked."""

    path: str
    token: str
    body: dict[str, Any]
    at_s: float

    @property
    def action(self) -> str:
        return str(self.body.get("action"))


class Tone(MediaStreamTrack):
    """A consumer who hums; the frequency is a whole number, so that a second of it repeats seamlessly."""

    kind = "audio"

    def __init__(self, hz: int) -> None:
        super().__init__()
        self._second = (8000 * np.sin(2 * np.pi * hz * np.arange(RATE_HZ) / RATE_HZ)).astype(np.int16)
        self._began_s = time.monotonic()
        self._frames = 0

    async def recv(self) -> AudioFrame:
        await asyncio.sleep(max(0.0, self._began_s + self._frames * FRAME_S - time.monotonic()))
        at = self._frames * FRAME_SAMPLES
        piece = self._second[at % RATE_HZ : at % RATE_HZ + FRAME_SAMPLES]
        frame = AudioFrame.from_ndarray(piece.reshape(1, -1), "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, at, Fraction(1, RATE_HZ)
        self._frames += 1
        return frame


class Consumer:
    """Somebody who calls a Page: a call id, a telephone that hums one tone, and ears."""

    def __init__(self, meta: "Meta", page: str, hz: int, spelling: Spelling = "objects") -> None:
        self.call_id = f"c_{secrets.token_urlsafe(24)}"
        self.page = page
        self.hz = hz
        self.lost_packets = 0
        self.replies: dict[str, list[Reply]] = {}
        self.gone = threading.Event()
        self.reachable = True
        """Whether media gets through to the telephone; where not, the call stays connecting for ever."""
        self.datagrams: list[bytes] = []
        """What came to the telephone's socket, as it came."""
        self._meta = meta
        self.psid = str(5 * 10**15 + secrets.randbelow(10**15))
        self._spelling: Spelling = spelling
        self._heard: list[Samples] = []
        self._keys: deque[bytes | None] = deque()
        self._key_began = 0
        self._peer: RTCPeerConnection | None = None
        self._listening: asyncio.Task[None] | None = None
        self._last_sound_s: float | None = None
        self._gone_s: float | None = None
        self._rang_s = int(time.time())

    # -- what the consumer does

    @property
    def connect(self) -> tuple[str, dict[str, Any]]:
        """The `connect` event."""
        parties = {"to": self.page, "from": self.psid}
        element = {"id": self.call_id, "event": "connect", "call_direction": "user_initiated", **parties}
        return self.page, {**element, "timestamp": self._rang_s}

    @property
    def terminate(self) -> tuple[str, dict[str, Any]]:
        """The `terminate` event; a duration is there only if the business had connected."""
        now_s = int(time.time())
        times = {"start_time": self._rang_s, "end_time": now_s}
        if self._peer is not None:
            times["duration"] = now_s - self._rang_s
        return self.page, {"id": self.call_id, "event": "terminate", "status": "Completed", **times}

    def ring(self) -> Self:
        """Call, and see that the webhook was taken."""
        assert self._meta.post(envelope(self.connect)) == 200
        return self

    def hang_up(self) -> None:
        """End the call: Meta says so, and the telephone falls silent."""
        assert self._meta.post(envelope(self.terminate)) == 200
        self._meta.run(self.close())

    def press(self, keys: str) -> None:
        """Press keys, each for 100 ms with 100 ms between them, as RFC 4733 events at 8 kHz."""
        for key in keys:
            code = KEYS.index(key)
            held = [struct.pack("!BBH", code, 10, 160 * tick) for tick in (1, 2, 3, 4)]
            self._keys.extend([*held, *[struct.pack("!BBH", code, 0x80 | 10, 800)] * 3, None, None, None])

    # -- what the consumer notices

    def actions(self, action: str = "") -> list[Request]:
        """Return what Graph was asked to do with this call."""
        asked = [
            request
            for request in self._meta.requests
            if request.path.endswith("/calls") and request.body.get("call_id") == self.call_id
        ]
        return [request for request in asked if action in ("", request.action)]

    def await_action(self, action: str, *, timeout_s: float = 20.0) -> Request:
        """Wait until Graph is asked for this action."""
        return until(lambda: self.actions(action), f"{action} of {self.call_id}", timeout_s=timeout_s)[0]

    def sound(self, *, last_s: float | None = None) -> Samples:
        """Return what was heard so far, or the end of it."""
        heard = np.concatenate(self._heard) if self._heard else np.zeros(0, np.int16)
        return heard if last_s is None else heard[-int(last_s * RATE_HZ) :]

    @property
    def left(self) -> bool:
        """Whether the business has closed the connection."""
        return self._peer is not None and self._peer.connectionState == "closed"

    @property
    def dismissed(self) -> bool:
        """Whether the business said goodbye on the line itself, by RTCP BYE or by closing DTLS."""
        return self.left or (self._listening is not None and self._listening.done())

    @property
    def silence_s(self) -> float:
        """For how long nothing was heard before the call was over, or until now; at first since the pick-up."""
        assert self._last_sound_s is not None, "nobody has picked up"
        return (self._gone_s or time.monotonic()) - self._last_sound_s

    def await_sound(self, seconds: float, *, timeout_s: float = 20.0) -> Samples:
        """Wait until so much more that is no silence was heard, and return the last so many seconds."""
        before, wanted = len(self._heard), int(seconds / FRAME_S)
        until(
            lambda: sum(1 for piece in self._heard[before:] if piece.max() > LOUD) >= wanted,
            f"{seconds:g} s more of sound for {self.call_id}",
            timeout_s=timeout_s,
        )
        return self.sound(last_s=seconds)

    # -- the telephone (on the stand-in's loop)

    async def answer(self, offer: str) -> dict[str, Any]:
        """Answer the business's offer and return the `session` of Graph's reply."""
        self._last_sound_s = time.monotonic()
        peer = self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.pick_up(peer)
        transport = peer.getTransceivers()[0].sender.transport
        transport._send_rtp = self._with_keys(transport._send_rtp)
        ice: Connection = transport.transport._connection
        ice._local_username, ice._local_password = SAMPLE_UFRAG, SAMPLE_PASSWORD
        ice._local_candidates_start = True  # aioice leaves loopback out when it gathers by itself
        ice._local_candidates += await self.gather(ice)
        ice._local_candidates_end = True
        endpoints: list[Any] = ice._protocols
        for endpoint in endpoints:
            endpoint.datagram_received = self._noting(endpoint.datagram_received)
        # Meta is the DTLS server; without header extensions the telephone does not go on naming the old section
        for_device = re.sub(r"a=extmap.*\r\n", "", offer).replace("a=setup:actpass", "a=setup:active")
        await peer.setRemoteDescription(RTCSessionDescription(for_device, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        at = {
            "offer": offer,
            "fingerprint": _find(r"a=fingerprint:sha-256 (\S+)", peer.localDescription.sdp),
            "port": str(ice.local_candidates[0].port),
            "ssrc": str(peer.getSenders()[0]._ssrc),
        }
        answer, renegotiation = _with_transport(ANSWER, **at), _with_transport(RENEGOTIATION, **at)
        if not self.reachable:
            await peer.close()
        match self._spelling:
            case "strings":
                return {"sdp_response": answer, "sdp_renegotiation": renegotiation}
            case "answer only":
                return {"sdp_response": {"sdp_type": "answer", "sdp": answer}}
            case "objects":
                return {
                    "sdp_response": {"sdp_type": "answer", "sdp": answer},
                    "sdp_renegotiation": {"sdp_type": "offer", "sdp": renegotiation},
                }

    def pick_up(self, peer: RTCPeerConnection) -> None:
        """Give the connection a voice and ears."""
        peer.addTrack(Tone(self.hz))
        peer.on("track", self._listen)

    def _with_keys(self, send: Callable[[bytes], Awaitable[None]]) -> Callable[[bytes], Awaitable[None]]:
        """Let packets of keys take the place of sound: same sequence, and the timestamp of when the key went down."""

        async def send_either(data: bytes) -> None:
            is_rtcp = 192 <= data[1] < 224
            event = self._keys.popleft() if self._keys and not is_rtcp else None
            if event is not None:
                sequence, timestamp, ssrc = struct.unpack("!HLL", data[2:12])
                first = event[2:] == struct.pack("!H", 160)
                self._key_began = timestamp if first else self._key_began
                data = struct.pack("!BBHLL", 0x80, first << 7 | 126, sequence, self._key_began, ssrc) + event
            await send(data)

        return send_either

    async def gather(self, ice: Connection) -> list[Candidate]:
        """Open the telephone's sockets."""
        candidates: list[Candidate] = await ice.get_component_candidates(1, ["127.0.0.1"])
        return candidates

    def _listen(self, track: MediaStreamTrack) -> None:
        async def listen() -> None:
            with contextlib.suppress(MediaStreamError):
                while isinstance(frame := await track.recv(), AudioFrame):
                    piece = frame.to_ndarray().reshape(-1)[::2].astype(np.int16)
                    self._heard.append(piece)
                    if piece.max() > LOUD:
                        self._last_sound_s = time.monotonic()

        self._listening = asyncio.create_task(listen())

    def _noting(self, receive: Callable[[bytes, Any], None]) -> Callable[[bytes, Any], None]:
        def note(data: bytes, address: Any) -> None:
            self.datagrams.append(data)
            receive(data, address)

        return note

    async def close(self) -> None:
        """Put the receiver down, having looked how many packets were lost."""
        if self._peer is not None and not self.gone.is_set():
            for stats in (await self._peer.getReceivers()[0].getStats()).values():
                self.lost_packets += stats.packetsLost if stats.type == "inbound-rtp" else 0
            await self._peer.close()
        if self._listening is not None:
            self._listening.cancel()
        self._gone_s = self._gone_s or time.monotonic()
        self.gone.set()


def _with_transport(sample: str, *, offer: str, fingerprint: str, port: str, ssrc: str) -> str:
    """Return Meta's sample as it would read for this offer and this telephone."""
    origin = re.search(r"o=- (\d+) (\d+)", offer)
    assert origin is not None, "the offer has no origin"
    text = sample.replace("8436422327585670287 3", f"{origin[1]} {int(origin[2]) + 1}")
    text = re.sub(r"a=fingerprint:sha-256 \S+", f"a=fingerprint:sha-256 {fingerprint}", text)
    text = text.replace("157.240.22.131", "127.0.0.1").replace("40007", port).replace("1379106125", ssrc)
    return text.replace("9d4611fa-fe03-4cad-81f1-63e4f764f358", _find(r"a=msid:\S+ (\S+)", offer))


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, f"{pattern} is not in the description"
    return found[1]


C = TypeVar("C", bound=Consumer)


class Meta:
    """Graph on a port of its own, and the consumers. `webhook_url` is where its webhooks go."""

    def __init__(self) -> None:
        self.webhook_url = ""
        self.requests: list[Request] = []
        self._consumers: dict[str, Consumer] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stand-in", daemon=True)
        self._http = httpx.Client(timeout=10)
        self._chores: set[asyncio.Task[None]] = set()
        self._connections: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self.run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
        self._http.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the stand-in's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(15)

    def consumer(self, page: str = PAGE, *, hz: int = 620, spelling: Spelling = "objects") -> Consumer:
        """Return somebody who may ring."""
        return self.know(Consumer(self, page, hz, spelling))

    def know(self, consumer: C) -> C:
        """Let somebody ring, whatever their telephone."""
        self._consumers[consumer.call_id] = consumer
        return consumer

    def post(self, body: bytes, headers: Mapping[str, str | bytes] | None = None) -> int:
        """Post a webhook, signed unless other headers are given, and return the status."""
        raw = {
            name.encode(): value.encode() if isinstance(value, str) else value
            for name, value in (signed(body) if headers is None else headers).items()
        }
        return self._http.post(self.webhook_url, content=body, headers=raw).status_code

    async def _stop(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.close()
        await asyncio.gather(*(consumer.close() for consumer in self._consumers.values()), *self._chores)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:  # aiortc's: a telephone that never got through waits for ever
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    # -- Graph

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak HTTP/1.1 on one connection for as long as it is kept alive."""
        self._connections.add(writer)
        ends = (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError)
        with contextlib.suppress(*ends), contextlib.closing(writer):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"(?im)^content-length: (\d+)", head)
                raw = await reader.readexactly(int(length[1]) if length else 0)
                token = re.search(r"(?im)^authorization: Bearer (\S+)", head)
                path = head.split()[1].partition("?")[0]
                request = Request(path, token[1] if token else "", json.loads(raw or b"{}"), time.monotonic())
                self.requests.append(request)
                status, body = await self._reply(request)
                if not status:
                    break
                payload = json.dumps(body).encode()
                start = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}"
                writer.write(start.encode() + b"\r\n\r\n" + payload)
        self._connections.discard(writer)

    async def _reply(self, request: Request) -> tuple[int, Mapping[str, Any]]:
        consumer = self._consumers.get(request.body.get("call_id", ""))
        if consumer is None or not re.fullmatch(rf"/v\d+\.\d+/{consumer.page}/calls", request.path):
            return 404, {"error": {"message": "Unsupported request", "code": 100}}
        if planned := consumer.replies.get(request.action):
            reply = planned.pop(0)
            await asyncio.sleep(reply.after_s)
            if not reply.act:
                return reply.status, reply.body
        if request.action == "accept":
            return 200, {"success": True, "session": await consumer.answer(request.body["session"]["sdp"])}
        farewell = asyncio.create_task(self._say_farewell(consumer))
        self._chores.add(farewell)
        farewell.add_done_callback(self._chores.discard)
        return 200, {"success": True}

    async def _say_farewell(self, consumer: Consumer) -> None:
        """Send the webhook that follows our own `reject` or `terminate`; nobody may be left to take it."""
        with contextlib.suppress(httpx.HTTPError):
            await asyncio.to_thread(self.post, envelope(consumer.terminate))
        await consumer.close()
