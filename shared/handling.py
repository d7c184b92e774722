"""What a handler author meets: a call as an object with verbs. `pageline` re-exports it.

A handler is one coroutine, and its lifetime is the call's: when it returns, pageline hangs up; when the consumer goes,
`CallEnded` is raised at whatever it awaits, and its `finally` blocks get five seconds. It runs on an event loop in a
thread of its own, so one that blocks never stalls anybody's media.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, Protocol

import structlog

from shared.attending import Attended, AttendedHolder
from shared.listening import Listening, level_db
from shared.passing import Passing, PassingHolder
from shared.recording import Recorded, RecordingHolder
from shared.speaking import Speaking, Spoken
from shared.streaming import StreamHolder, Streaming
from shared.video import Seeing, VideoHolder
from shared.writing import Writing, WritingHolder

FRAME_MS: Final = 20

Rate = Literal[16000, 48000]
RATES: Final = (16000, 48000)
Sound = str | os.PathLike[str] | bytes | Spoken
"""A sound to play: the path of a WAV, MP3 or Ogg file, such a file's bytes, or a text."""


NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})


class CallEnded(Exception):
    """The call is over: the consumer hung up, or it was ended for us. `outcome` says how."""

    def __init__(self, outcome: str) -> None:
        super().__init__(f"the call has ended: {outcome}")
        self.outcome = outcome


class AnswerRefused(Exception):
    """Graph did not take our `accept`; `code`, `subcode` and `fbtrace_id` are Graph's, where it gave them."""

    def __init__(
        self, message: str, *, code: int | None = None, subcode: int | None = None, fbtrace_id: str | None = None
    ) -> None:
        named = (("code", code), ("subcode", subcode), ("fbtrace_id", fbtrace_id))
        where = "".join(f", {name} {value}" for name, value in named if value)
        super().__init__(f"{message}{where}")
        self.code = code
        self.subcode = subcode
        self.fbtrace_id = fbtrace_id


class Frame(NamedTuple):
    """20 ms of sound: mono, signed 16 bit, little endian."""

    pcm: bytes
    rate: Rate = 48000

    @property
    def samples(self) -> int:
        """Return the number of samples, 960 or 320."""
        return len(self.pcm) // 2

    @property
    def level_db(self) -> float:
        """Return how loud it is, from -96 to 0 dB of full scale."""
        return level_db(self.pcm)


class Holder(VideoHolder, AttendedHolder, StreamHolder, WritingHolder, RecordingHolder, PassingHolder, Protocol):
    """What a `Call` needs of the worker that holds it; every method is called on the handler's event loop."""

    def answer(self) -> Awaitable[None]: ...
    def reject(self, reason: str) -> Awaitable[None]: ...
    def hang_up(self) -> Awaitable[None]: ...
    def play(self, sound: Sound) -> Awaitable[None]: ...
    def hear(self, rate: Rate) -> AsyncIterator[Frame]: ...
    def next_digit(self) -> Awaitable[str]: ...
    def send_digits(self, digits: str) -> Awaitable[None]: ...
    def send(self, frame: Frame) -> None: ...
    def bridge(self, other: "Call") -> Awaitable[None]: ...
    def join(self, room: "Room", *, listen_only: bool) -> AbstractAsyncContextManager[None]: ...


class Room:
    """Where calls of one media worker talk together (a conference): each hears all others that have joined.

    It is there for as long as anybody knows of it, and costs nothing while it is empty.

    Args:
        rate: at which its sound is mixed, Hz; calls that are heard meanwhile are heard at it, too.
    """

    def __init__(self, rate: Rate = 48000) -> None:
        if rate not in RATES:
            raise ValueError(f"a room has 48000 or 16000 Hz, not {rate}")
        self.rate: Final[Rate] = rate
        self.mixer: object = None
        """What the worker of its calls has made for it."""


class Call(Seeing, Listening, Speaking, Streaming, Attended, Writing, Recorded, Passing):
    """One call with a consumer. Everything that waits raises `CallEnded` when the call is over."""

    def __init__(
        self,
        holder: Holder,
        *,
        call_id: str,
        page: str,
        caller: str,
        direction: str,
        epoch: int,
        options: Mapping[str, str] = NO_OPTIONS,
        log: Any = None,
    ) -> None:
        self.id: Final = call_id
        """Meta's id of the call; of one that we place, ours (`o_...`)."""
        self.page: Final = page
        """The Page's id."""
        self.caller: Final = caller
        """The consumer's Page-scoped id (PSID)."""
        self.direction: Final = direction
        """`user_initiated` or `business_initiated`."""
        self.epoch: Final = epoch
        """1 for the first worker that holds the call; more after a worker died with it before the answer."""
        self.options = options
        """What `PAGES_FILE` tells the handler beside its name; read-only."""
        self.log: Final = log or structlog.get_logger()
        """A logger bound to this call."""
        self.holder: Holder = holder

    @property
    def _parties(self) -> tuple[str, str]:
        return self.page, self.caller

    async def answer(self) -> None:
        """Answer, and return once both sides can speak; in a call that we place, wait until the consumer picks up.

        Raises:
            AnswerRefused: Graph did not take it.
            CallEnded: the consumer gave up, or the media connection failed.
        """
        await self.holder.answer()

    async def reject(self, reason: str = "") -> None:
        """Decline a call that was not answered; the reason stays on pageline's record, Meta takes none."""
        await self.holder.reject(reason)

    async def hang_up(self) -> None:
        """End the call. Returning from the handler does the same."""
        await self.holder.hang_up()

    async def play(self, *sounds: Sound) -> None:
        """Play the sounds one after the other, and return when the last one was sent wholly.

        Raises:
            FileNotFoundError, ValueError: a sound is missing or no sound.
        """
        for sound in sounds:
            await self.holder.play(sound)

    def hear(self, rate: Rate = 48000) -> AsyncIterator[Frame]:
        """Iterate over what the consumer says, one frame per 20 ms; frames nobody takes for a second are dropped.

        Raises:
            ValueError: the call is heard at another rate just now.
        """
        return self.holder.hear(rate)

    async def digits(self) -> AsyncIterator[str]:
        """Iterate over the keys the consumer presses, 0-9, `*`, `#` and A-D, each as it is let go.

        Keys are kept from the answer on until `digits` or `ask` takes them: nothing is lost that was pressed early.
        """
        while True:
            yield await self.holder.next_digit()

    async def ask(self, *sounds: Sound, digits: int = 1, timeout_s: float = 5.0, finish_on: str = "#") -> str:
        """Play the sounds, fall silent at the first key, and return the keys pressed, or "" if none was.

        It returns when so many `digits` were pressed, or a key of `finish_on` (which is left out), or none for
        `timeout_s` seconds after the sounds or the last key. What was pressed before the question counts.

        Raises:
            FileNotFoundError, ValueError: a sound is missing or no sound.
        """
        pressed = await self._first_digit(sounds, timeout_s)
        with contextlib.suppress(TimeoutError):
            while pressed and pressed[-1] not in finish_on and len(pressed) < digits:
                async with asyncio.timeout(timeout_s):
                    pressed += await self.holder.next_digit()
        return pressed.rstrip(finish_on)

    async def _first_digit(self, sounds: tuple[Sound, ...], timeout_s: float) -> str:
        now_s = asyncio.get_running_loop().time
        patience = asyncio.timeout(None)

        async def play() -> None:
            try:
                await self.play(*sounds)
            except Exception:
                patience.reschedule(now_s())
                raise
            patience.reschedule(now_s() + timeout_s)

        playing = asyncio.create_task(play())  # it begins once a digit is waited for, and not if one is there
        try:
            async with patience:
                # In no task of its own, which could take a key and not be asked for it: a timeout may be the caller's.
                return await self.holder.next_digit()
        except TimeoutError:
            playing.result()
            return ""
        finally:
            playing.cancel()

    async def send_digits(self, digits: str) -> None:
        """Press keys for the other side to hear: 0-9, `*`, `#`, A-D; `,` waits for half a second.

        They take the place of what else is sent, and it returns when the last one was let go.

        Raises:
            ValueError: no telephone has such keys.
            RuntimeError: the other side takes no digits, or none any more.
        """
        await self.holder.send_digits(digits)

    def send(self, frame: Frame) -> None:
        """Queue a frame for the consumer; it leaves at the next 20 ms tick, after those queued before.

        It waits while a clip is played, and is dropped while keys or a bridged call are sent in its place.

        Raises:
            ValueError: it is not 20 ms of 16-bit mono at 48 or 16 kHz.
            BufferError: a minute of sound, 3,000 frames, waits already.
        """
        if frame.rate not in RATES or frame.samples * 1000 != frame.rate * FRAME_MS or len(frame.pcm) % 2:
            raise ValueError(
                f"call {self.id}: a frame of {len(frame.pcm)} bytes at {frame.rate} Hz is not 20 ms of 16-bit mono; "
                "send 1920 bytes at 48000 Hz or 640 at 16000"
            )
        self.holder.send(frame)

    async def bridge(self, other: "Call") -> None:
        """Pass the sound of both calls to each other, packet by packet and undecoded, until one of them ends.

        A call bridged with itself is an echo.

        Raises:
            RuntimeError: one of them is bridged already, be it with the other, or in a room.
        """
        await self.holder.bridge(other)

    def join(self, room: Room, *, listen_only: bool = False) -> AbstractAsyncContextManager[None]:
        """Talk with all others in the room while the returned context is open; `listen_only` hears and is not heard.

        The room takes the place of frames that `send` brings. A clip or keys take its place, for this call alone.

        Raises:
            RuntimeError: the call is in a room already, or bridged.
            ValueError: it is heard at another rate than the room's just now.
            TypeError: the room is one of another media worker.
        """
        return self.holder.join(room, listen_only=listen_only)


class Interrupted(CallEnded, asyncio.CancelledError):
    """`CallEnded` as it is thrown into a handler: also a cancellation, so that a task group ends its children first."""


Handler = Callable[[Call], Coroutine[Any, Any, None]]


class Interruptible:
    """Runs a coroutine so that one cancellation of its task is raised as `CallEnded` at whatever it awaits.

    `ended` says whether the cancellation is the call's end. Other cancellations are the coroutine's own - a timeout, a
    task group - and pass through.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, None], ended: Callable[[], Interrupted | None]) -> None:
        self._coroutine = coroutine
        self._ended = ended

    def __await__(self) -> Generator[Any, Any, None]:
        steps = self._coroutine.__await__()
        resume: Callable[[Any], Any] = steps.send
        given: Any = None
        while True:
            try:
                wanted = resume(given)
            except StopIteration:
                return
            try:
                given, resume = (yield wanted), steps.send
            except asyncio.CancelledError as cancelled:
                given, resume = self._translated(cancelled), steps.throw
            except BaseException as error:  # noqa: BLE001 whatever is thrown in belongs to the coroutine
                given, resume = error, steps.throw

    def _translated(self, cancelled: asyncio.CancelledError) -> asyncio.CancelledError:
        ended = self._ended()
        task = asyncio.current_task()
        if ended is None or task is None:
            return cancelled
        task.uncancel()
        return ended
