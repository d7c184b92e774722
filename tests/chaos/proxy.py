"""A network that fails on demand: a TCP proxy for one process, in front of Redis or Graph.

Each fault lasts as long as its `with` block and is mended at its end. Bytes are never altered and never lost on a
connection that lives: what is held back arrives late, as it does on a real network.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote, urlsplit

from shared.redis_address import Address

PIECE_BYTES: Final = 1 << 16
SLICE_PAUSE_S: Final = 0.001
"""Between two slices, so that they reach the other side as reads of their own."""
NO_LINGER: Final = struct.pack("ii", 1, 0)
"""Closing a socket with this answers with RST instead of FIN (socket(7), SO_LINGER)."""

T = TypeVar("T")


class FaultProxy:
    """Passes TCP on to where a `redis://`, `unix://` or `http://` URL leads; `url` leads here instead."""

    def __init__(self, url: str) -> None:
        self._upstream = _Upstream(url)
        self._latency_s = 0.0
        self._slice_bytes = PIECE_BYTES
        self._connections: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._passing = asyncio.Event()
        self._passing.set()
        self._port = 0
        self._server: asyncio.Server

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    @property
    def url(self) -> str:
        """The URL for the process that is to come this way."""
        return self._upstream.url_by(self._port)

    # -- faults

    @contextlib.contextmanager
    def slow(self, latency_s: float) -> Iterator[None]:
        """Hold everything back for a while, either way."""
        self._latency_s = latency_s
        try:
            yield
        finally:
            self._latency_s = 0.0

    @contextlib.contextmanager
    def sliced(self, slice_bytes: int) -> Iterator[None]:
        """Pass so few bytes at a time."""
        self._slice_bytes = slice_bytes
        try:
            yield
        finally:
            self._slice_bytes = PIECE_BYTES

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Pass nothing and say nothing: connections hang, new ones too. What is under way arrives when it is over."""
        self._loop.call_soon_threadsafe(self._passing.clear)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._passing.set)

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Reset every connection and refuse new ones."""
        self._server.close()
        self.reset()
        try:
            yield
        finally:
            self._run(self._listen())

    def reset(self) -> None:
        """Reset every connection, once."""
        self._run(self._reset())

    # -- on the proxy's loop

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _reset(self) -> None:
        for writer in tuple(self._connections):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self._connections.add(writer)
        ends = [writer]
        try:
            await self._passing.wait()
            far_reader, far_writer = await self._upstream.connect()
            ends.append(far_writer)
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # either side is gone, or the proxy is: so is the connection
        finally:
            for end in ends:
                end.close()
            self._connections.discard(writer)
            self._serving.discard(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(PIECE_BYTES):
            await asyncio.sleep(self._latency_s)
            size = self._slice_bytes
            for start in range(0, len(data), size):
                await self._passing.wait()
                sink.write(data[start : start + size])
                await sink.drain()
                if start + size < len(data):
                    await asyncio.sleep(SLICE_PAUSE_S)
        sink.close()


class _Upstream:
    """Where the proxy leads, and what its own URL must then look like."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._scheme = "http" if parts.scheme == "http" else "redis"
        self._address = (
            Address(parts.hostname or "", parts.port or 80) if self._scheme == "http" else Address.from_url(url)
        )

    def url_by(self, port: int) -> str:
        login = f":{quote(self._address.password)}@" if self._address.password else ""
        return f"{self._scheme}://{login}127.0.0.1:{port}"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._address.path:
            return await asyncio.open_unix_connection(self._address.path)
        return await asyncio.open_connection(self._address.host, self._address.port)
