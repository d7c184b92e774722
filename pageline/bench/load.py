"""Posts prebuilt signed webhooks as fast as they are confirmed, and reads what that cost the servers.

A process of its own: `python -m pageline.bench.load URL REQUESTS CONNECTIONS TAG PID…`. It prints one line of JSON. The
requests of one connection follow each other without a pause; the events of a call stay in order because they share one.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Final, cast

import msgspec
import uvloop

from pageline.bench import events
from pageline.bench.processes import cpu_s

LIMIT_S: Final = 60.0


class Burst(msgspec.Struct, frozen=True):
    """What one burst took."""

    confirmed: int
    refused: int
    took_s: float
    cpu_s: list[float]
    """User and system time of each process asked about, seconds."""


class _Connection(asyncio.Protocol):
    """One keep-alive connection with its requests; the next one leaves when the reply to the last is whole."""

    def __init__(self, requests: list[bytes]) -> None:
        self._requests = iter(requests)
        self._read = b""
        self._transport: asyncio.Transport
        self.confirmed = self.refused = 0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, end, body = self._read.partition(b"\r\n\r\n")
        if not end or len(body) < _content_bytes(head):
            return
        self._read = b""
        if head.startswith(b"HTTP/1.1 200 "):
            self.confirmed += 1
        else:
            self.refused += 1
        self.send_next()

    def send_next(self) -> None:
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)
        elif not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed the connection"))


async def burst(url: str, requests: int, connections: int, tag: str, pids: list[int]) -> Burst:
    """Post that many webhooks over that many connections.

    Raises:
        ConnectionError: the server closed a connection.
        TimeoutError: not all were answered within `LIMIT_S`.
    """
    loop = asyncio.get_running_loop()
    host, port = events.host_and_port(url)
    open_connections = []
    for number in range(connections):
        prebuilt = list(_requests(url, requests // connections, f"{tag}_{number}"))
        open_connections.append(await loop.create_connection(partial(_Connection, prebuilt), host, port))
    before_s, began_s = [cpu_s(pid) for pid in pids], time.perf_counter()
    for _, connection in open_connections:
        connection.send_next()
    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(*(connection.done for _, connection in open_connections))
    took_s, after_s = time.perf_counter() - began_s, [cpu_s(pid) for pid in pids]
    for transport, _ in open_connections:
        transport.close()
    return Burst(
        confirmed=sum(connection.confirmed for _, connection in open_connections),
        refused=sum(connection.refused for _, connection in open_connections),
        took_s=took_s,
        cpu_s=[after - before for after, before in zip(after_s, before_s, strict=True)],
    )


def _content_bytes(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0])


def _requests(url: str, count: int, tag: str) -> Iterator[bytes]:
    elements = (element for call in range(count) for element in _life(f"c_{tag}_{call}", call))
    for _, element in zip(range(count), elements, strict=False):
        yield events.request(url, element, body_bytes=events.BODY_BYTES)


def _life(call_id: str, number: int) -> list[dict[str, object]]:
    """Return a call's events: of four calls three ring here, and one we placed rings, is accepted and ends."""
    if number % 4:
        return [events.connect(call_id), events.terminate(call_id)]
    statuses = [events.call_status(call_id, status) for status in ("RINGING", "ACCEPTED")]
    return [*statuses, events.terminate(call_id)]


if __name__ == "__main__":
    _, url_, requests_, connections_, tag_, *pids_ = sys.argv
    took = uvloop.run(burst(url_, int(requests_), int(connections_), tag_, [int(pid) for pid in pids_]))
    sys.stdout.buffer.write(msgspec.json.encode(took))
