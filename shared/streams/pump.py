"""Moves sound between a call and a bot: what the consumer says goes out as it comes, what the bot says waits its turn.

A bot may say a minute in a second and take it back in the next. So all that it sends is read and kept here, up to five
minutes of it, and the call is given half a second at a time: whatever a bot takes back, at most that has to be dropped
elsewhere, which `Call.clear` does within 20 ms.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidHandshake, InvalidURI

from shared.handling import Call, Frame
from shared.outward import PORTS, resolve
from shared.streaming import StreamFailed

RATE: Final = 16000
"""At which the call is heard and spoken to; the highest that any bot gains by."""
FRAME_BYTES: Final = RATE // 50 * 2
AHEAD_FRAMES: Final = 25
"""The call is given this much at a time, half a second, before what it was given last is over."""
MOST_WAITING_BYTES: Final = 300 * RATE * 2
"""Five minutes: a bot that sends more is not read any further until some of it is played."""
MOST_UNREAD: Final = 250
"""A bot that reads nothing for five seconds misses what is said meanwhile."""
LARGEST_MESSAGE_BYTES: Final = 16 * 2**20
GOODBYE_WITHIN_S: Final = 1.0

Message = str | bytes


class Translator(Protocol):
    """A protocol: what is sent to a bot, and what is made of its messages."""

    def headers(self) -> dict[str, str]:
        """Return what the handshake carries."""

    def begin(self) -> list[Message]:
        """Return what is sent first."""

    def heard(self, pcm: bytes) -> Message:
        """Return the message for 20 ms of the consumer's, 16-bit at 16 kHz."""

    def pressed(self, digit: str) -> Message | None:
        """Return the message for a key."""

    def played(self, name: str) -> Message | None:
        """Return the message for a mark that was reached, or cleared."""

    def end(self) -> Message | None:
        """Return the message for the end of the call."""

    def take(self, message: Message, mouth: "Mouth") -> None:
        """Do what a message of the bot's asks for.

        Raises:
            StreamFailed: it ends the conversation.
        """


class Mouth:
    """What the bot says, from when it was received until it is played."""

    def __init__(self, call: Call, played: Callable[[str], None], tell: Callable[[Message], None]) -> None:
        self._call = call
        self._played = played
        self.tell = tell
        """Sends the bot a message, behind those that wait."""
        self._rest = bytearray()
        """What does not make a frame yet."""
        self._waiting: deque[bytes | str] = deque()
        """Frames, and names of marks."""
        self._waiting_bytes = 0
        self._given: deque[list[str]] = deque()
        """Marks that the call was given and that were not reached."""
        self._more = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def say(self, pcm: bytes) -> None:
        """Say sound, 16-bit mono at 16 kHz, of any length."""
        self._rest += pcm
        whole = len(self._rest) - len(self._rest) % FRAME_BYTES
        for start in range(0, whole, FRAME_BYTES):
            self._waiting.append(bytes(self._rest[start : start + FRAME_BYTES]))
        del self._rest[:whole]
        self._waiting_bytes += whole
        self._more.set()
        if self._waiting_bytes > MOST_WAITING_BYTES:
            self._room.clear()

    def mark(self, name: str) -> None:
        """Have the bot told when all that was said before is over."""
        self.finish()
        self._waiting.append(name)
        self._more.set()

    def finish(self) -> None:
        """Say what does not make a frame, with silence behind it: nothing follows for now."""
        if self._rest:
            self.say(bytes(FRAME_BYTES - len(self._rest)))

    def clear(self) -> float:
        """Say nothing of what was not heard yet, tell all marks, and return how many seconds were dropped."""
        dropped_s = self._call.clear() + (self._waiting_bytes + len(self._rest)) / (RATE * 2)
        marks = [*(name for (name,) in self._given), *(item for item in self._waiting if isinstance(item, str))]
        self._given.clear()
        self._waiting.clear()
        self._rest.clear()
        self._waiting_bytes = 0
        self._room.set()
        for name in marks:
            self._played(name)
        return dropped_s

    async def over(self) -> None:
        """Wait until all that was said has been heard."""
        self.finish()
        while self._waiting:
            await self._call.mark()
        await self._call.mark()

    async def room(self) -> None:
        """Wait until there is room for more."""
        await self._room.wait()

    async def speak(self) -> None:
        """Give the call what was said, in time and not much before it."""
        ahead: deque[asyncio.Future[bool]] = deque()
        while True:
            given = 0
            while self._waiting and given < AHEAD_FRAMES:
                item = self._waiting.popleft()
                if isinstance(item, str):
                    self._give_mark(item)
                else:
                    self._call.send(Frame(item, RATE))
                    self._waiting_bytes -= FRAME_BYTES
                    given += 1
            if self._waiting_bytes <= MOST_WAITING_BYTES:
                self._room.set()
            if given:
                ahead.append(self._call.mark())
            if len(ahead) > 1:
                await ahead.popleft()
            elif not self._waiting:
                self._more.clear()
                await self._more.wait()

    def _give_mark(self, name: str) -> None:
        mark = [name]
        self._given.append(mark)

        def reached(_played: "asyncio.Future[bool]") -> None:
            if self._given and self._given[0] is mark:  # else it was cleared, and told so
                self._given.popleft()
                self._played(name)

        self._call.mark().add_done_callback(reached)


async def pump(call: Call, url: str, translator: Translator, *, connect_timeout_s: float) -> None:
    """Connect, and move sound until the bot closes the connection or the call ends.

    Raises:
        StreamFailed: the bot cannot be reached, or the connection broke.
    """
    outbox: asyncio.Queue[Message] = asyncio.Queue()

    def tell(message: Message | None) -> None:
        if message is not None:
            outbox.put_nowait(message)

    mouth = Mouth(call, lambda name: tell(translator.played(name)), tell)
    async with _connected(call, url, translator, connect_timeout_s) as socket:
        try:
            for message in translator.begin():
                await socket.send(message)
            await _until_first(
                _read(call, socket, translator, mouth),
                _listen(call, translator, outbox),
                _take_keys(call, translator, tell),
                mouth.speak(),
                _write(socket, outbox),
            )
        except ConnectionClosed as closed:
            raise StreamFailed(f"call {call.id}: the bot at {named(url)} went away: {closed}") from closed
        finally:
            with suppress(ConnectionClosed, TimeoutError):
                async with asyncio.timeout(GOODBYE_WITHIN_S):
                    if (last := translator.end()) is not None:
                        await socket.send(last)


@asynccontextmanager
async def _connected(call: Call, url: str, translator: Translator, timeout_s: float) -> AsyncIterator[ClientConnection]:
    try:
        async with asyncio.timeout(timeout_s):
            socket = await _open(url, translator, timeout_s)
    except (ValueError, OSError, InvalidHandshake, InvalidURI) as error:  # one is a URL that leads where it may not
        cause = f"no answer within {timeout_s:g} s" if isinstance(error, TimeoutError) else str(error)
        raise StreamFailed(f"call {call.id}: no bot could be reached at {named(url)}: {cause}") from error
    try:
        yield socket
    finally:
        await socket.close()


async def _open(url: str, translator: Translator, timeout_s: float) -> ClientConnection:
    """Connect to the first of the bot's addresses that answers; no redirection leads from there to another host."""
    port = urlsplit(url).port or PORTS[urlsplit(url).scheme]
    *others, last = await resolve(url, "the bot's URL")
    for host in others:
        with suppress(OSError):
            return await _connect(url, host, port, translator, timeout_s)
    return await _connect(url, last, port, translator, timeout_s)


async def _connect(url: str, host: str, port: int, translator: Translator, timeout_s: float) -> ClientConnection:
    return await connect(
        url,
        host=host,
        port=port,
        additional_headers=translator.headers(),
        open_timeout=timeout_s,
        close_timeout=GOODBYE_WITHIN_S,
        compression=None,
        max_size=LARGEST_MESSAGE_BYTES,
        max_queue=64,
        user_agent_header="pageline",
        proxy=None,
    )


async def _until_first(*works: Awaitable[Any]) -> None:
    """Run all until one is over, and raise what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _read(call: Call, socket: ClientConnection, translator: Translator, mouth: Mouth) -> None:
    async for message in socket:
        translator.take(message, mouth)
        await mouth.room()
    call.log.info("stream.closed", code=socket.close_code)
    await mouth.over()


async def _listen(call: Call, translator: Translator, outbox: "asyncio.Queue[Message]") -> None:
    async for frame in call.hear(RATE):
        message = translator.heard(frame.pcm)
        if outbox.qsize() < MOST_UNREAD:
            outbox.put_nowait(message)


async def _take_keys(call: Call, translator: Translator, tell: Callable[[Message | None], None]) -> None:
    async for digit in call.digits():
        tell(translator.pressed(digit))


async def _write(socket: ClientConnection, outbox: "asyncio.Queue[Message]") -> None:
    with suppress(ConnectionClosedOK):  # a goodbye: `_read` waits until the last words are heard
        while True:
            await socket.send(await outbox.get())
    await asyncio.Event().wait()


def named(url: str) -> str:
    """Return a URL without what may be secret in it."""
    scheme, slashes, rest = url.partition("?")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"
