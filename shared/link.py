"""One connection to Redis as an asyncio protocol: commands go out together, replies are matched in order."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, TypeVar, cast

import hiredis

from shared.errors import RedisAway
from shared.redis_address import Address

Argument: TypeAlias = str | bytes | int | float
Reply: TypeAlias = Any
"""bytes, int, None, or a list of these; which one is the command's promise, so callers need not narrow it."""

UNFIT: Final = ("LOADING", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "UNBLOCKED")
"""Error replies of a server that cannot serve us now: still loading, or a replica after a failover."""

REFUSING: Final = ("OOM", "MISCONF", "NOREPLICAS", "BUSY ", "TRYAGAIN", "UNKILLABLE")
"""Error replies of a server that is there but takes no writes now: out of memory, disk full, a script that hangs."""

TEARDOWN_S: Final = 1.0

# hiredis declares a tuple of one argument and means one of any length.
pack = cast("Callable[[tuple[Argument, ...]], bytes]", hiredis.pack_command)


class ReplyError(Exception):
    """Redis answered a command with an error; the message is Redis's own, its first word the code."""


class Link(asyncio.Protocol):
    """One connection: what is to be written in this tick, and who waits for which reply."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(replyError=ReplyError, notEnoughData=NotImplemented)
        self._unsent: list[bytes] = []
        self._waiting: deque[tuple[asyncio.Future[Reply] | None, float]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport
        self.reason: Exception | None = None  # why it is over, or about to be
        self.lost = asyncio.Event()

    def submit(self, packed: bytes, future: asyncio.Future[Reply], skipped: int, timeout_s: float) -> None:
        """Write at the end of this tick; the first `skipped` replies are of no interest."""
        due = self._loop.time() + timeout_s
        if skipped:
            self._waiting.extend([(None, due)] * skipped)
        self._waiting.append((future, due))
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(packed)
        if self._watch is None:
            self._watch = self._loop.call_at(due, self._check)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent:
            self._transport.write(b"".join(unsent))

    def _check(self) -> None:
        """Give up the connection when its oldest reply is overdue; one timer serves all commands."""
        self._watch = None
        if not self._waiting:
            return
        _, due = self._waiting[0]
        if due <= self._loop.time():
            self.abort(TimeoutError("it did not answer in time"))
        else:
            self._watch = self._loop.call_at(due, self._check)

    def abort(self, reason: Exception) -> None:
        """Drop the connection; everything in flight fails."""
        self.reason = self.reason or reason
        self._transport.abort()

    async def close(self) -> None:
        """Write what is left and hang up."""
        self._flush()
        self.reason = ConnectionError("the wire was closed")
        self._transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TEARDOWN_S):
                await self.lost.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio calls this)."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Give each reply to whoever waits for it (asyncio calls this)."""
        reader, waiting = self._reader, self._waiting
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not NotImplemented:
                if isinstance(reply, ReplyError) and str(reply).startswith(UNFIT):
                    self.abort(reply)  # the one that waits for this reply fails like everything behind it
                    return
                future, _ = waiting.popleft()
                if future is None or future.done():
                    continue
                if isinstance(reply, ReplyError):
                    refusing = str(reply).startswith(REFUSING)
                    why = f"Redis at {self._address} takes no writes: {reply}"
                    future.set_exception(RedisAway(why) if refusing else reply)
                else:
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            self.abort(ConnectionError("it said something that is not Redis protocol, or that nobody asked for"))

    def connection_lost(self, error: Exception | None) -> None:
        """Fail everything in flight and say so (asyncio calls this)."""
        self.reason = reason = self.reason or error or ConnectionError("it closed the connection")
        if self._watch:
            self._watch.cancel()
        for future, _ in self._waiting:
            if future and not future.done():
                message = f"Redis at {self._address} went away before it confirmed ({reason}); the command may have run"
                future.set_exception(RedisAway(message))
        self._waiting.clear()
        self._unsent.clear()
        self.lost.set()


_L = TypeVar("_L", bound=Link)


async def dial(address: Address, link: _L) -> _L:
    """Connect a link; nothing was said yet.

    Raises:
        OSError: nobody is there.
    """
    loop = asyncio.get_running_loop()
    if address.path:
        await loop.create_unix_connection(lambda: link, address.path)
    else:
        await loop.create_connection(lambda: link, address.host, address.port, ssl=address.tls)
    return link


async def ask(link: Link, commands: Sequence[Sequence[Argument]], timeout_s: float) -> list[Reply]:
    """Send what introduces us, and return all replies; one that another command's error makes void, too.

    Raises:
        ReplyError: a command was refused, other than CLIENT, which some hosted servers forbid.
        RedisAway: the connection broke, or the time ran out.
    """
    futures: list[asyncio.Future[Reply]] = []
    for command in commands:
        futures.append(asyncio.get_running_loop().create_future())
        Link.submit(link, pack(tuple(command)), futures[-1], 0, timeout_s)  # no replica need confirm it
    replies = await asyncio.gather(*futures, return_exceptions=True)
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, BaseException) and command[0] != "CLIENT":
            raise reply
    return replies
