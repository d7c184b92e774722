"""A far end in a process of its own: one JSON command per line in, one line out (tests/interop/peers)."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
PEERS: Final = HERE / "peers"
CACHE: Final = HERE / ".cache"
REPLY_WITHIN_S: Final = 15.0


class Program:
    """A `Peer` that a program plays; `ask` takes the commands that it alone knows."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send one command and return the reply to it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        async with asyncio.timeout(REPLY_WITHIN_S):
            line = await self._process.stdout.readline()
        assert line, f"the peer's program ended instead of its answer to {do}"
        reply: dict[str, Any] = json.loads(line)
        assert not reply.get("error"), f"{do}: {reply['error']}"
        return reply

    async def answer(self, offer: str) -> str:
        return str((await self.ask("answer", sdp=offer))["sdp"])

    async def offer(self, **wishes: bool) -> str:
        return str((await self.ask("offer", **wishes))["sdp"])

    async def take(self, answer: str) -> None:
        await self.ask("take", sdp=answer)


@contextlib.asynccontextmanager
async def running(*command: str | Path) -> AsyncIterator[Program]:
    """Run a peer's program; it ends when its input does, or is killed."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*map(str, command), stdin=pipe, stdout=pipe, limit=1 << 20)
    try:
        yield Program(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(3):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
