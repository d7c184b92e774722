"""The storm's Graph: answers, is slow, refuses and breaks off; and keeps a record of every `accept`, from outside.

It shares none of the pipeline's logic. What it may receive is judged by one rule of the design (`is_double`): `accept`
is sent again only after a reply that allows it, or once, with the same offer, where the sender cannot know what became
of the first.
"""

import asyncio
import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final, cast

import httptools

from pageline.bench.graph import ANSWER


class Reply(StrEnum):
    """How an action fares."""

    DONE = "done"
    SLOW = "slow"
    BUSY = "busy"  # an error that says: try again
    OVER = "over"  # an error that says: the call has ended
    BROKEN = "broken"  # HTTP 500 without a word of Graph's
    CUT = "cut"  # the connection breaks before the reply


WEIGHTS: Final = {Reply.DONE: 84, Reply.SLOW: 6, Reply.BUSY: 4, Reply.OVER: 1, Reply.BROKEN: 2, Reply.CUT: 3}
SLOW_S: Final = (0.1, 3.0)
_ERRORS: Final = {
    Reply.BUSY: {"message": "Service temporarily unavailable", "code": 2, "is_transient": True, "fbtrace_id": "storm"},
    Reply.OVER: {"message": "Cannot join ended call", "code": 2018396, "fbtrace_id": "storm"},
}


@dataclass
class Accept:
    """One `accept` as it was received."""

    offer: str
    reply: Reply
    sender_knows: bool = False
    """Whether, when the next one came, its reply must have been read: the connection it came by still stood, or had
    brought another request since."""


def is_double(accepts: Sequence[Accept]) -> bool:
    """Tell whether more was sent than the design allows."""
    probed = False
    for before, after in pairwise(accepts):
        if probed or after.offer != before.offer:
            return True
        if before.reply is Reply.BUSY and before.sender_knows:
            continue
        if before.sender_knows and before.reply in (Reply.DONE, Reply.SLOW, Reply.OVER):
            return True
        probed = True
    return False


@dataclass
class Graph:
    """What was asked for, call by call."""

    seed: int
    media_port: int
    accepts: dict[str, list[Accept]] = field(default_factory=dict)
    requests: int = 0
    _told: dict[tuple[str, str], asyncio.Event] = field(default_factory=dict)
    _came_by: dict[str, tuple["_Connection", int]] = field(default_factory=dict)
    """The connection of a call's last `accept`, and which of its requests it was."""

    def __post_init__(self) -> None:
        self.dice = random.Random(f"graph {self.seed}")
        session = {"sdp_type": "answer", "sdp_response": ANSWER.replace("{port}", str(self.media_port))}
        self._answer = _response(200, {"success": True, "session": session})
        self._success = _response(200, {"success": True})

    def told(self, call_id: str, action: str) -> asyncio.Event:
        """Return what is set once an action on a call was asked for; `end` stands for `reject` and `terminate`."""
        return self._told.setdefault((call_id, action), asyncio.Event())

    def take(self, body: bytes, connection: "_Connection") -> tuple[Reply, bytes]:
        """Note an action, and return how it fares and what to write."""
        asked = json.loads(body)
        call_id, action = asked["call_id"], asked["action"]
        self.requests += 1
        reply = self.dice.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))[0]
        if action == "accept":
            self._note(call_id, asked["session"]["sdp"], reply, connection)
        self.told(call_id, action if action == "accept" else "end").set()
        if reply in _ERRORS:
            return reply, _response(400, {"error": _ERRORS[reply]})
        if reply is Reply.BROKEN:
            return reply, _response(500, {})
        return reply, self._answer if action == "accept" else self._success

    def _note(self, call_id: str, offer: str, reply: Reply, connection: "_Connection") -> None:
        accepts = self.accepts.setdefault(call_id, [])
        if accepts:
            earlier, number = self._came_by[call_id]
            accepts[-1].sender_knows = earlier.requests > number or (earlier.stands and not earlier.owes)
        accepts.append(Accept(hashlib.sha256(offer.encode()).hexdigest(), reply))
        self._came_by[call_id] = connection, connection.requests


class _Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._transport: asyncio.Transport
        self._writing: asyncio.TimerHandle | None = None
        self.stands = True
        self.requests = 0

    @property
    def owes(self) -> bool:
        """Whether a reply was not written yet."""
        return self._writing is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.stands = False
        if self._writing is not None:
            self._writing.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        """Collect (httptools calls this)."""
        self._body += data

    def on_message_complete(self) -> None:
        """Answer (httptools calls this)."""
        body, self._body = self._body, b""
        self.requests += 1
        reply, response = self._graph.take(body, self)
        if reply is Reply.CUT:
            self.stands = False
            self._transport.abort()
        elif reply is Reply.SLOW:
            wait_s = self._graph.dice.uniform(*SLOW_S)
            self._writing = asyncio.get_running_loop().call_later(wait_s, self._write, response)
        else:
            self._write(response)

    def _write(self, response: bytes) -> None:
        self._writing = None
        self._transport.write(response)


async def serve(graph: Graph, port: int) -> asyncio.Server:
    """Listen on 127.0.0.1."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _Connection(graph), "127.0.0.1", port, backlog=1024)


def _response(status: int, value: Any) -> bytes:
    body = json.dumps(value, separators=(",", ":")).encode() if value else b""
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body
