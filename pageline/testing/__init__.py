"""Run a handler without Redis or WebRTC, on virtual time: press digits, hear prompts, speak, hang up midway.

    async with Conversation(answer) as talk:
        await talk.hears("menu.ogg")
        await talk.press("1")
        await talk.hears("hours.ogg")
        assert await talk.ended() == "completed"

Time stands still unless the test lets it pass, and an hour of it takes no real time. Only what the handler itself does
in threads and with sockets takes the time it takes.
"""

import asyncio
import contextlib
import math
import tempfile
from array import array
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from pageline.testing.clock import VirtualLoop
from pageline.testing.desk import AtTheDesk
from pageline.testing.telephone import KEYS, SILENCE, TICK_S, Placed, Telephone, Written
from shared.handling import NO_OPTIONS, AnswerRefused, Call, Frame, Handler
from shared.line import line
from shared.video import Image, Showing
from workers.media.host import STOP_GRACE_S, Host

__all__ = ["Conversation", "Placed", "Written"]

HUM_HZ: Final = 400.0
HUM: Final = array("h", (int(8000 * math.sin(2 * math.pi * HUM_HZ * n / 48000)) for n in range(960))).tobytes()
"""20 ms, which are 8 periods: any number of them is one tone."""


class Conversation(AtTheDesk):
    """A call between a handler and a consumer whom the test plays; its coroutines let time pass.

    What the handler raises is raised by whichever of them is awaited then, or where the block is left. Leaving it hangs
    up, and the handler's `finally` blocks get five (virtual) seconds.

    Args:
        handler: what answers.
        caller: the consumer's PSID.
        page: the Page's id.
        direction: `user_initiated` or `business_initiated`.
        refuse: what `call.answer()` raises.
        recordings: where recordings without a path go; a folder that is removed afterwards unless one is given.
        staffed: whether somebody has the desk open from the beginning.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        caller: str = "1",
        page: str = "2",
        direction: Literal["user_initiated", "business_initiated"] = "user_initiated",
        refuse: AnswerRefused | None = None,
        recordings: Path | None = None,
        staffed: bool = False,
        options: Mapping[str, str] = NO_OPTIONS,
    ) -> None:
        self._handler = handler
        self._options = options
        self._known = {"page": page, "caller": caller, "direction": direction}
        self._thread = ThreadPoolExecutor(1, "handler")
        self._stack = contextlib.ExitStack()
        folder = recordings or Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._loop = VirtualLoop()
        self._host = Host(self._loop, self._loop)
        self._telephone = Telephone(self._loop, folder, refuse, lambda outcome: self._host.stop("c_test", outcome))
        self._desk = self._telephone.desk
        self._desk.staffed = staffed
        self._error: BaseException | None = None
        self._over = False
        self._condition: Callable[[], bool] = _never
        self._telephone.on_heard = self._look
        self.transferred: list[str] = []
        """Whom the call was given to by `call.transfer`, in turn."""
        self._awaited = 0
        """So many sounds were heard, and waited for."""

    async def __aenter__(self) -> Self:
        """Let it ring; the handler has done what it does at once."""
        self._stack.callback(line.bind, line.bind(self._telephone))
        self._start(self._handler, self._options)
        await self._run(self._loop.run_for, 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up, and let the handler come to its end."""
        try:
            self._telephone.end(self._gone)
            with contextlib.suppress(Exception) if error else contextlib.nullcontext():
                await self._until(lambda: self._over, 2 * STOP_GRACE_S)
        finally:
            await self._run(self._close)
            self._thread.shutdown()
            self._stack.close()

    # -- what the consumer does --------------------------------------------------------------------------------------

    async def press(self, keys: str) -> None:
        """Press keys: 0-9, `*`, `#`, A-D."""
        self._telephone.sounding()
        if not set(keys) <= set(KEYS):
            raise ValueError(f"{keys!r} holds what no telephone has as a key")
        for key in keys:
            self._telephone.keypad.put(key)
        await self._pass(0)

    async def speak(self, seconds: float = 1.0, pcm: bytes = b"") -> None:
        """Hum for so long, or say the given sound, 16-bit mono at 48 kHz; return when it was said."""
        said = pcm or HUM * round(seconds / TICK_S)
        first = self._telephone.tick + 1
        for number, start in enumerate(range(0, len(said), len(SILENCE))):
            self._telephone.voice[first + number] = said[start : start + len(SILENCE)].ljust(len(SILENCE), b"\0")
        await self._pass(math.ceil(len(said) / len(SILENCE)) * TICK_S)

    async def film(self, *images: Image) -> None:
        """Let the camera see pictures, one after the other."""
        for image in images:
            self._telephone.camera.put(image)
            await self._pass(0)

    async def hang_up(self) -> None:
        """Hang up, or give up where nobody answered."""
        self._telephone.end(self._gone)
        await self._pass(0)

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        await self._pass(seconds)

    async def hears(self, sound: str | bytes, *, within_s: float = 60.0) -> None:
        """Wait until a sound begins, or find that it did since the last one that was waited for.

        A file is known by the end of its path: `menu.ogg` is also `sounds/menu.ogg`.

        Raises:
            AssertionError: it did not.
        """

        def begun() -> bool:
            return any(_is(sound, heard) for heard in self.heard[self._awaited :])

        if not await self._until(begun, within_s):
            raise AssertionError(
                f"{sound!r} was not played within {within_s:g} s; heard since the last one waited for: "
                f"{self.heard[self._awaited :]}, before: {self.heard[: self._awaited]}"
            )
        while not _is(sound, self.heard[self._awaited]):
            self._awaited += 1
        self._awaited += 1

    async def ended(self, *, within_s: float = 3600.0) -> str:
        """Wait until the handler has ended and return the call's outcome, a word of docs/vocabulary.md.

        Raises:
            AssertionError: it goes on.
        """
        if not await self._until(lambda: self._over, within_s):
            raise AssertionError(f"the handler goes on after {within_s:g} s; heard: {self.heard}")
        return self._telephone.outcome

    # -- what came of it ---------------------------------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        """Return how long ago it began to ring."""
        return self._loop.time()

    @property
    def answered(self) -> bool:
        """Whether the handler has answered."""
        return self._telephone.answered

    @property
    def outcome(self) -> str:
        """Return how the call ended, or "" while it goes on."""
        return self._telephone.outcome

    @property
    def heard(self) -> list[str | bytes]:
        """Return the sounds that were begun, in order: their paths as the handler gave them, or their bytes."""
        return self._telephone.heard

    @property
    def frames(self) -> list[Frame]:
        """Return the frames that the handler sent."""
        return self._telephone.frames

    @property
    def digits(self) -> str:
        """Return the keys that the handler sent."""
        return self._telephone.digits

    @property
    def messages(self) -> list[Written]:
        """Return what the handler wrote, to this consumer or another."""
        return self._telephone.messages

    @property
    def placed(self) -> list[Placed]:
        """Return the calls that the handler placed."""
        return self._telephone.placed

    @property
    def recordings(self) -> list[str]:
        """Return the files that the handler recorded to; each is there once its `record` was left."""
        return self._telephone.recordings

    @property
    def held(self) -> bool:
        """Whether the consumer is on hold and hears music."""
        return self._telephone.held

    @property
    def muted(self) -> bool:
        """Whether the consumer sees that we are muted."""
        return self._telephone.muted

    @property
    def showing(self) -> Showing:
        """Return whether the consumer sees a `camera`, a `screen` or `nothing`."""
        return self._telephone.showing

    @property
    def shown(self) -> list[Image]:
        """Return the pictures that were shown."""
        return self._telephone.shown

    # -- how time passes ---------------------------------------------------------------------------------------------

    @property
    def _gone(self) -> str:
        if self.answered:
            return "completed"
        return "unreached" if self._known["direction"] == "business_initiated" else "cancelled"

    def _start(self, handler: Handler, options: Mapping[str, str]) -> None:
        call = Call(self._telephone, call_id="c_test", epoch=1, options=options, **self._known)

        async def watched(call: Call) -> None:
            try:
                await handler(call)
            except BaseException as error:
                self._error = error
                raise

        self._host.start(call, watched, self._ended)

    def _ended(self, how: str, _error: str, _traceback: str) -> None:
        given_to = self._telephone.take_over()
        if given_to is not None and how != "raised" and not self._telephone.outcome:
            self._error = None
            self.transferred.append(given_to.name)
            self._start(given_to.handler, given_to.options)
            return
        if how != "raised":
            self._error = None
        failed = how == "raised" or self._telephone.refused
        self._telephone.outcome = self._telephone.outcome or (
            "completed" if self.answered else "failed" if failed else "declined"
        )
        self._over = True
        if self._condition is not _never:
            self._loop.stop()

    async def _until(self, condition: Callable[[], bool], within_s: float) -> bool:
        """Let time pass until something is so, or the handler has ended, and tell whether it came to be."""
        self._condition = condition
        if not condition() and not self._over:
            await self._run(self._loop.run_for, within_s)
        self._condition = _never
        self._raise_what_the_handler_raised()
        return condition()

    def _look(self) -> None:
        if self._condition():
            self._loop.stop()

    async def _pass(self, seconds: float) -> None:
        await self._run(self._loop.run_for, seconds)
        self._raise_what_the_handler_raised()

    def _raise_what_the_handler_raised(self) -> None:
        if self._over and self._error is not None:
            error, self._error = self._error, None
            raise error

    async def _run(self, function: Callable[..., None], *arguments: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def _close(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_for(0)
        closing = self._loop.create_task(self._loop.shutdown_asyncgens())
        self._loop.run_for(0)
        closing.cancel()
        self._loop.close()


def _never() -> bool:
    return False


def _is(wanted: str | bytes, heard: str | bytes) -> bool:
    if isinstance(wanted, bytes) or isinstance(heard, bytes):
        return wanted == heard
    parts = Path(wanted).parts
    return Path(heard).parts[-len(parts) :] == parts
