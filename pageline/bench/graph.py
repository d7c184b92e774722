"""A Graph that answers at once, and notes when each `accept` was there wholly."""

import asyncio
import time
from typing import Final, cast

import httptools
import msgspec

ANSWER: Final = "\r\n".join(
    [
        "v=0",
        "o=- 8436422327585670287 3 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "a=msid-semantic: WMS",
        "a=ice-lite",
        "m=audio {port} UDP/TLS/RTP/SAVPF 111",
        "c=IN IP4 127.0.0.1",
        "a=rtcp:9 IN IP4 0.0.0.0",
        "a=candidate:2958823651 1 udp 2122260224 127.0.0.1 {port} typ host generation 1",
        "a=ice-ufrag:EbT4cXksCyVKQMC/103",
        "a=ice-pwd:74O3IvX6AV9ulmb9udAmimux",
        "a=fingerprint:sha-256 " + ":".join(["4F"] * 32),
        "a=setup:passive",
        "a=mid:0",
        "a=sendrecv",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 maxaveragebitrate=20000;maxplaybackrate=16000;minptime=10;usedtx=1;useinbandfec=1",
        "",
    ]
)
"""Meta's documented answer, with an address where nobody speaks."""


class _Action(msgspec.Struct):
    call_id: str
    action: str


_decode = msgspec.json.Decoder(_Action).decode


class Graph:
    """What was asked for, and when, by the clock of `time.time`."""

    def __init__(self, media_port: int) -> None:
        session = {"sdp_type": "answer", "sdp_response": ANSWER.replace("{port}", str(media_port))}
        self._replies = {
            "accept": _reply(msgspec.json.encode({"success": True, "session": session})),
            "": _reply(b'{"success":true}'),
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


class GraphConnection(asyncio.Protocol):
    """One keep-alive connection to the Graph."""

    def __init__(self, graph: Graph) -> None:
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


def _reply(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body
