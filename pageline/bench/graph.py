"""A Graph that answers at once, and notes when each `accept` was there wholly."""

import asyncio
import time
from typing import Final, Protocol, cast

import httptools
import msgspec

ANSWER: Final = (
    "v=0\r\n"
    "o=- 8436422327585670287 3 IN IP4 127.0.0.1\r\n"
    "s=-\r\n"
    "t=0 0\r\n"
    "a=group:BUNDLE {mid}\r\n"
    "a=msid-semantic: WMS\r\n"
    "a=ice-lite\r\n"
    "m=audio {port} UDP/TLS/RTP/SAVPF {opus}\r\n"
    "c=IN IP4 127.0.0.1\r\n"
    "a=rtcp:9 IN IP4 0.0.0.0\r\n"
    "a=candidate:2958823651 1 udp 2122260224 127.0.0.1 {port} typ host generation 1\r\n"
    "a=ice-ufrag:{name}\r\n"
    "a=ice-pwd:{password}\r\n"
    "a=fingerprint:sha-256 {fingerprint}\r\n"
    "a=setup:passive\r\n"
    "a=mid:{mid}\r\n"
    "a=sendrecv\r\n"
    "a=rtcp-mux\r\n"
    "a=rtpmap:{opus} opus/48000/2\r\n"
    "a=fmtp:{opus} maxaveragebitrate=20000;maxplaybackrate=16000;minptime=10;usedtx=1;useinbandfec=1\r\n"
)
"""Meta's documented answer."""
NOBODY: Final = {
    "name": "EbT4cXksCyVKQMC/103",
    "password": "74O3IvX6AV9ulmb9udAmimux",
    "fingerprint": ":".join(["4F"] * 32),
    "mid": "0",
    "opus": 111,
}
"""What it holds where nobody speaks at the address."""


class _Action(msgspec.Struct):
    call_id: str
    action: str


_decode = msgspec.json.Decoder(_Action).decode


class Graph:
    """What was asked for, and when, by the clock of `time.time`."""

    def __init__(self, media_port: int) -> None:
        session = {"sdp_type": "answer", "sdp_response": ANSWER.format(port=media_port, **NOBODY)}
        self._replies = {
            "accept": reply(msgspec.json.encode({"success": True, "session": session})),
            "": reply(b'{"success":true}'),
        }
        self.accepts: dict[str, asyncio.Future[float]] = {}

    def expect(self, call_id: str) -> "asyncio.Future[float]":
        """Return the coming time, Unix seconds, of the call's first `accept`."""
        self.accepts[call_id] = asyncio.get_running_loop().create_future()
        return self.accepts[call_id]

    def take(self, body: bytes, at_s: float) -> bytes:
        """Note an action and return the whole reply."""
        asked = _decode(body)
        if asked.action == "accept" and (noted := self.accepts.get(asked.call_id)) and not noted.done():
            noted.set_result(at_s)
        return self._replies.get(asked.action, self._replies[""])


class TakesActions(Protocol):
    """Who is told of the actions."""

    def take(self, body: bytes, at_s: float) -> bytes:
        """Note an action that was there wholly at this Unix time, and return the whole reply."""
        ...


class GraphConnection(asyncio.Protocol):
    """One keep-alive connection to the Graph."""

    def __init__(self, graph: TakesActions) -> None:
        self._graph = graph
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._read_at_s = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio calls this)."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Note the time and read on (asyncio calls this)."""
        self._read_at_s = time.time()
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        """Collect (httptools calls this)."""
        self._body += data

    def on_message_complete(self) -> None:
        """Answer (httptools calls this)."""
        body, self._body = self._body, b""
        self._transport.write(self._graph.take(body, self._read_at_s))


def reply(body: bytes) -> bytes:
    """Return a whole reply with this JSON."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body
