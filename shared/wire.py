"""An asyncio client for Redis: the commands of one loop tick leave in one write, their replies come back in order.

A `Wire` is one connection that heals itself. It never repeats a command: when the connection breaks, or Redis is silent
for longer than the time limit, everything in flight fails with `RedisAway` and the caller decides. While the connection
is being restored, new commands wait for it a quarter of a second and then fail likewise.

Replies come back in order, so a blocking command (BLMOVE, XREAD BLOCK) belongs on a wire of its own with its own limit:
`await wire.call("XREAD", "BLOCK", 1000, ..., timeout_s=3)`.
"""

import asyncio
import contextlib
import hashlib
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self, TypeVar

from shared import log, sentinel
from shared.confirmed_link import ConfirmedLink
from shared.errors import RedisAway
from shared.link import Argument, Link, Reply, ReplyError, ask, dial, pack
from shared.redis_address import Address

__all__ = ["Argument", "Reply", "ReplyError", "Script", "Wire", "patiently"]

T = TypeVar("T")

AGAIN_AFTER_S: Final = 0.25

PATIENCE_S: Final = 0.25
"""How long a command waits for a connection that is being restored."""

FIRST_PAUSE_S: Final = 0.02
PAUSE_GROWS: Final = 1.5
"""Slowly, and to no long pause: leases run on while a wire looks whether the server is there again."""
LONGEST_PAUSE_S: Final = 1.0

_MULTI: Final = pack(("MULTI",))
_EXEC: Final = pack(("EXEC",))

_log = log.get()


class Wire:
    """One self-healing connection to Redis that any number of tasks share."""

    def __init__(self, address: Address, *, timeout_s: float = 2.0, name: str = "pageline") -> None:
        self.address = address
        self.name = name
        self.client_id: int | None = None
        """The server's number for this connection, for CLIENT UNBLOCK; None if it does not tell."""
        self._timeout_s = timeout_s
        self._link: Link | None = None
        self._parked: deque[_Parked] = deque()
        self._keeper: asyncio.Task[None] | None = None
        self._usable = asyncio.Event()
        self._cause: Exception | None = None
        self._loop: asyncio.AbstractEventLoop

    @classmethod
    def from_url(cls, url: str, *, timeout_s: float = 2.0, name: str = "pageline", only_reads: bool = False) -> "Wire":
        """Return a wire that is not connected yet; `name` shows in CLIENT LIST.

        One that `only_reads` waits for no replicas, whatever the URL says.
        """
        address = Address.from_url(url)
        return cls(replace(address, replicas=0) if only_reads else address, timeout_s=timeout_s, name=name)

    @property
    def connected(self) -> bool:
        """Whether a command would leave at once."""
        return self._link is not None and self._link.reason is None

    async def restored(self, within_s: float) -> None:
        """Wait until a connection that is lost is there again, but no longer than so."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._usable.wait()

    async def connect(self) -> None:
        """Connect, once; from then on the wire reconnects by itself.

        Raises:
            RedisAway: Redis is not there or refuses us; `connect` may be called again.
        """
        self._loop = asyncio.get_running_loop()
        try:
            link = await self._open()
        except (OSError, ReplyError) as error:
            raise self._away(error) from error
        self._keeper = self._loop.create_task(self._keep(link), name=f"wire to {self.address}")
        self._use(link)

    async def close(self) -> None:
        """Send what is still buffered and hang up; commands without an answer fail with `RedisAway`."""
        if self._keeper:
            self._keeper.cancel()
            await asyncio.wait((self._keeper,))
            self._keeper = None
        link, self._link = self._link, None
        if link:
            await link.close()
        self._cause = ConnectionError("the wire was closed")
        while self._parked:
            self._fail(self._parked.popleft().future)

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def send(self, *args: Argument, timeout_s: float | None = None) -> asyncio.Future[Reply]:
        """Queue a command for this tick's write and return its coming reply.

        The future ends with `RedisAway` when the command may not have been carried out, and with `ReplyError` when
        Redis refused it.
        """
        return self._submit(pack(args), 0, timeout_s)

    async def call(self, *args: Argument, timeout_s: float | None = None) -> Reply:
        """Send a command and return its reply; see `send`."""
        return await self._submit(pack(args), 0, timeout_s)

    async def transaction(
        self, commands: Sequence[Iterable[Argument]], *, timeout_s: float | None = None
    ) -> list[Reply]:
        """Carry out all commands or none, with nothing of others in between, and return their replies.

        Raises:
            ReplyError: Redis refused one of them. One that failed while running (a wrong type) does not undo the rest.
            RedisAway: all of them were carried out, or none.
        """
        packed = b"".join((_MULTI, *(pack(tuple(command)) for command in commands), _EXEC))
        replies: list[Reply] = await self._submit(packed, len(commands) + 1, timeout_s)
        for reply in replies:
            if isinstance(reply, ReplyError):
                raise reply
        return replies

    def _submit(self, packed: bytes, skipped: int, timeout_s: float | None) -> asyncio.Future[Reply]:
        """Hand over bytes whose first `skipped` replies are of no interest and whose next one is the answer."""
        if self._keeper is None:
            raise RedisAway(f"not connected to Redis at {self.address}: await connect() first, and not after close()")
        future: asyncio.Future[Reply] = self._loop.create_future()
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        if self._link and not self._link.reason:
            self._link.submit(packed, future, skipped, limit_s)
        else:
            self._parked.append(_Parked(packed, future, skipped, limit_s))
            self._loop.call_later(PATIENCE_S, self._lose_patience, future)
        return future

    def _lose_patience(self, future: asyncio.Future[Reply]) -> None:
        if self._parked and self._parked[0].future is future:  # all wait equally long, so the oldest is due first
            self._parked.popleft()
            self._fail(future)

    def _fail(self, future: asyncio.Future[Reply]) -> None:
        if not future.done():
            future.set_exception(self._away(self._cause))

    def _away(self, cause: Exception | None) -> RedisAway:
        because = f": {str(cause).rstrip('.') or 'it did not answer in time'}" if cause else ""
        return RedisAway(f"Redis at {self.address} cannot be used{because}. {self.address.remedy_for(cause)}")

    def _use(self, link: Link) -> None:
        self._link, self._cause = link, None
        self._usable.set()
        while self._parked and not link.reason:
            parked = self._parked.popleft()
            if not parked.future.done():
                link.submit(parked.packed, parked.future, parked.skipped, parked.timeout_s)

    async def _keep(self, link: Link) -> None:
        """Notice that the connection is lost and make another, for ever; slower, if they do not last."""
        pause_s = FIRST_PAUSE_S
        while True:
            since_s = self._loop.time()
            await link.lost.wait()
            lasted = self._loop.time() - since_s > LONGEST_PAUSE_S
            pause_s = FIRST_PAUSE_S if lasted else min(pause_s * PAUSE_GROWS, LONGEST_PAUSE_S)
            self._cause = link.reason
            self._link = None
            self._usable.clear()
            _log.warning("redis.lost", wire=self.name, address=str(self.address), cause=str(self._cause))
            link = await self._reopen(pause_s)
            self._use(link)
            _log.info("redis.returned", wire=self.name, address=str(self.address))

    async def _reopen(self, pause_s: float) -> Link:
        while True:
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(pause_s * PAUSE_GROWS, LONGEST_PAUSE_S)
            try:
                return await self._open()
            except (OSError, ReplyError) as error:  # RedisAway and TimeoutError are OSErrors, too
                self._cause = error

    async def _open(self) -> Link:
        """Connect and introduce ourselves; a server that is not ready to serve counts as not there."""
        address = self.address
        async with asyncio.timeout(self._timeout_s):
            if address.sentinels is None:
                return await self._open_at(address)
            cause: Exception = ConnectionError("no Sentinel was asked")
            for host in await sentinel.primaries(address):
                try:
                    return await self._open_at(address.at(host))
                except (OSError, ReplyError) as error:
                    cause = error
            raise cause

    async def _open_at(self, address: Address) -> Link:
        here = str(address)
        link = await dial(address, ConfirmedLink(here, address.replicas) if address.replicas else Link(here))
        try:
            await self._greet(link, address)
        except BaseException:
            link.abort(ConnectionError("the greeting failed"))
            raise
        return link

    async def _greet(self, link: Link, who: Address) -> None:
        greeting: list[tuple[Argument, ...]] = [*who.credentials]
        if who.database:
            greeting.append(("SELECT", who.database))
        if who.sentinels:
            greeting.append(("ROLE",))
        greeting += [("PING",), ("CLIENT", "SETNAME", self.name), ("CLIENT", "ID")]
        *_, number = replies = await ask(link, greeting, self._timeout_s)
        if who.sentinels and replies[greeting.index(("ROLE",))][0] != b"master":
            raise ConnectionError(f"{who}, which Sentinel names, is a replica: a fail-over is under way")
        self.client_id = number if isinstance(number, int) else None


class Script:
    """A Lua script that is sent once per server and called by its hash from then on."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def run(self, wire: Wire, keys: Sequence[Argument], args: Sequence[Argument] = ()) -> Reply:
        """Run the script; a server that does not know it (new, restarted, failed over) is taught it on the way."""
        command = ("EVALSHA", self.sha, len(keys), *keys, *args)
        try:
            return await wire.send(*command)
        except ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        _, reply = await asyncio.gather(wire.send("SCRIPT", "LOAD", self.source), wire.send(*command))
        return reply


@dataclass(slots=True)
class _Parked:
    """A command that waits for the connection to return."""

    packed: bytes
    future: asyncio.Future[Reply]
    skipped: int
    timeout_s: float


async def patiently(step: Callable[[], Awaitable[T]], *, pause_s: float = AGAIN_AFTER_S) -> T:
    """Repeat a step until Redis is there and has confirmed it; the step must bear repeating."""
    while True:
        try:
            return await step()
        except RedisAway:
            await asyncio.sleep(pause_s)
