"""A bot that returns what it hears: `python -m pageline.bench.bots.echo PORT`, over Media Streams or as PCM."""

import asyncio
import sys

import msgspec
import uvloop
from websockets.asyncio.server import ServerConnection, serve


class _Media(msgspec.Struct):
    payload: str


class _Told(msgspec.Struct):
    event: str
    media: _Media | None = None


_decode = msgspec.json.Decoder(_Told).decode


async def behave(socket: ServerConnection) -> None:
    """Return every sound at once."""
    async for message in socket:
        if isinstance(message, bytes):
            await socket.send(message)
        elif (media := _decode(message).media) is not None:
            await socket.send(msgspec.json.encode({"event": "media", "media": {"payload": media.payload}}).decode())


async def run(port: int) -> None:
    """Serve until the process is ended."""
    async with serve(behave, "127.0.0.1", port, compression=None):
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(run(int(sys.argv[1])))
