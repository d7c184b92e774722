"""A small HTTP server that stands in for Graph as far as one request goes: it answers what a test lays out."""

import asyncio
import contextlib
import json
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

API: Final = Path(__file__).parent.parent / "fixtures" / "api"


class Request(NamedTuple):
    """What the server heard."""

    path: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"


class Reply(NamedTuple):
    """What the server says; a status of 0 is to hang up instead."""

    status: int
    body: bytes = b""
    headers: tuple[str, ...] = ()
    first: Callable[[], Awaitable[None]] | None = None
    """Happens between the request and the reply."""


HANGS_UP: Final = Reply(0)
DONE: Final = Reply(200, b'{"success":true}')
ANSWERS: Final = Reply(200, (API / "messenger-accept-response-strings.json").read_bytes())


def error(code: int, *, status: int = 400, retry_after_s: int | None = None, **more: Any) -> Reply:
    body = json.dumps(
        {"error": {"message": "no", "type": "OAuthException", "code": code, "fbtrace_id": "trace", **more}}
    )
    return Reply(status, body.encode(), () if retry_after_s is None else (f"Retry-After: {retry_after_s}",))


TRANSIENT: Final = error(2, is_transient=True)


class Server:
    """Answers from a list, one request after the other; listens once told to."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.replies: deque[Reply] = deque()
        self._for_ever = HANGS_UP
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._server: asyncio.Server | None = None
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=self._socket)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._socket.close()

    def will(self, *replies: Reply) -> None:
        self.replies.extend(replies)

    def will_for_ever(self, reply: Reply) -> None:
        self._for_ever = reply

    def reply_to(self, request: Request) -> Reply:
        return self.replies.popleft() if self.replies else self._for_ever

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = head[0].split()
                self.requests.append(Request(path, headers, body, method))
                reply = self.reply_to(self.requests[-1])
                if reply.first is not None:
                    await reply.first()
                if reply is HANGS_UP:
                    return
                lines = [f"HTTP/1.1 {reply.status} x", f"Content-Length: {len(reply.body)}", *reply.headers, "", ""]
                writer.write("\r\n".join(lines).encode() + reply.body)
                await writer.drain()
