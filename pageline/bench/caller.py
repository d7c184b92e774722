"""Rings at a steady rate and hosts the Graph that is told to accept, so that one clock times both ends.

A process of its own: `python -m pageline.bench.caller WEBHOOK_URL GRAPH_PORT CALLS CALLS_PER_S TAG`. It prints a line
of JSON per call that was accepted, and ends when all were, or when nothing more is to be expected.
"""

import asyncio
import contextlib
import random
import socket
import sys
import time
from collections import deque
from typing import Final, NamedTuple, cast

import msgspec
import uvloop

from pageline.bench import events
from pageline.bench.graph import Graph, GraphConnection

ACCEPT_WITHIN_S: Final = 10.0
TALK_S: Final = 0.5
LAST_WORDS_S: Final = 1.0


class Rung(NamedTuple):
    """One call; times are Unix seconds, none where nothing came."""

    call_id: str
    sent_at_s: float
    confirmed_at_s: float | None
    accepted_at_s: float | None


class Poster(asyncio.Protocol):
    """A keep-alive connection to the webhook; replies are small and come whole."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[float]] = deque()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @property
    def closed(self) -> bool:
        """Whether the server has closed the connection, as it does when nothing came for some seconds."""
        return self._transport.is_closing()

    def post(self, request: bytes) -> "asyncio.Future[float]":
        """Write the request; return the coming time of its 200."""
        confirmed: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.append(confirmed)
        self._transport.write(request)
        return confirmed

    def data_received(self, data: bytes) -> None:
        now_s = time.time()
        for _ in range(data.count(b"HTTP/1.1 200")):
            self._waiting.popleft().set_result(now_s)


async def ring(url: str, graph_port: int, calls: int, calls_per_s: float, tag: str) -> None:
    """Place the calls, the gaps between them half to one and a half times the mean."""
    loop = asyncio.get_running_loop()
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.bind(("127.0.0.1", 0))
    graph = Graph(sink.getsockname()[1])
    server = await loop.create_server(lambda: GraphConnection(graph), "127.0.0.1", graph_port)
    connections = [await loop.create_connection(Poster, *events.host_and_port(url)) for _ in range(2)]
    to_ring, to_end = (poster for _, poster in connections)
    gaps = random.Random(tag)
    next_at_s = loop.time() + 0.05
    under_way = []
    for number in range(calls):
        await asyncio.sleep(next_at_s - loop.time())
        next_at_s += gaps.uniform(0.5, 1.5) / calls_per_s
        under_way.append(loop.create_task(_one(url, graph, to_ring, to_end, f"c_bench_{tag}_{number}")))
    await asyncio.gather(*under_way)
    await asyncio.sleep(LAST_WORDS_S)  # for what a stack still says after the last hang-up
    for transport, _ in connections:
        transport.close()
    server.close()
    sink.close()


async def _one(url: str, graph: Graph, to_ring: Poster, to_end: Poster, call_id: str) -> None:
    accepted = graph.expect(call_id)
    request = events.request(url, events.connect(call_id))
    sent_at_s = time.time()
    confirmed = to_ring.post(request)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ACCEPT_WITHIN_S):
            await asyncio.gather(asyncio.shield(confirmed), asyncio.shield(accepted))
    rung = Rung(call_id, sent_at_s, _time_of(confirmed), _time_of(accepted))
    sys.stdout.buffer.write(msgspec.json.encode(rung) + b"\n")
    sys.stdout.buffer.flush()
    await asyncio.sleep(TALK_S)
    await to_end.post(events.request(url, events.terminate(call_id)))


def _time_of(noted: "asyncio.Future[float]") -> float | None:
    return noted.result() if noted.done() else None


if __name__ == "__main__":
    _, url_, graph_port_, calls_, calls_per_s_, tag_ = sys.argv
    uvloop.run(ring(url_, int(graph_port_), int(calls_), float(calls_per_s_), tag_))
