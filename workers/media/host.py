"""Runs users' coroutines on an event loop in a thread of their own: one that blocks never stalls media or beats."""

import asyncio
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, Generic, TypeVar

import uvloop

from shared import log
from shared.clock import monotonic_s
from shared.handling import Call, CallEnded, Frame, Handler, Interrupted, Interruptible

STOP_GRACE_S: Final = 5.0
BLOCKED_AFTER_S: Final = 0.1
EAR_FRAMES: Final = 50
KEYPAD_DIGITS: Final = 100

T = TypeVar("T")


class Inlet(Generic[T]):
    """What comes in for one handler faster than it takes it; the oldest are dropped when too many wait."""

    def __init__(self, kept: int) -> None:
        self._waiting: deque[T] = deque(maxlen=kept)
        self._arrived = asyncio.Event()

    def put(self, item: T) -> None:
        """Take an item; called on the handlers' loop."""
        self._waiting.append(item)
        self._arrived.set()

    async def take(self) -> T:
        """Return the oldest item, waiting for one; if cancelled it has taken none."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()


class Ear(Inlet[Frame]):
    """Frames on their way to one `hear()`: a second's worth waits."""

    def __init__(self) -> None:
        super().__init__(EAR_FRAMES)


class Keypad(Inlet[str]):
    """Digits that a consumer pressed and nobody asked for yet."""

    def __init__(self) -> None:
        super().__init__(KEYPAD_DIGITS)


class Running:
    """One handler at work; made by `Host.start`, ended through `stop`."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self.task = task
        self.outcome: str | None = None

    def take_end(self) -> Interrupted | None:
        """Return the call's end, once, for the cancellation that means it."""
        outcome, self.outcome = self.outcome, None
        return None if outcome is None else Interrupted(outcome)


Ended = Callable[[str, str, str], None]
"""Called on the media loop with how (`returned`, `raised`, `cancelled`), the error in a line, and the traceback."""


class Host:
    """The handlers' thread. Its public methods are called on the media loop.

    With a loop given the handlers run there instead, and `open` and `close` are not called.
    """

    def __init__(self, media_loop: asyncio.AbstractEventLoop, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._media_loop = media_loop
        self._loop = loop or uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="handlers", daemon=True)
        self._handed_over_s = 0.0
        self._taken = True
        self._running: dict[str, Running] = {}
        self._log = log.get()

    def open(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread; handlers were stopped before."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_GRACE_S)

    def start(self, call: Call, handler: Handler, ended: Ended) -> None:
        """Run the handler for the call."""
        self._loop.call_soon_threadsafe(self._start, call, handler, ended)

    def stop(self, call_id: str, outcome: str) -> None:
        """Raise `CallEnded` at whatever the call's handler awaits; its `finally` blocks get `STOP_GRACE_S`."""
        self._loop.call_soon_threadsafe(self._stop, call_id, outcome)

    def deliver(self, heard: Iterable[tuple[Ear, Frame]]) -> None:
        """Hand over what was heard in one tick, for all calls together."""
        now_s = monotonic_s()
        if not self._taken and now_s - self._handed_over_s > BLOCKED_AFTER_S:
            self._report_blocked(now_s - self._handed_over_s)
        if self._taken:
            self._taken, self._handed_over_s = False, now_s
        self._loop.call_soon_threadsafe(self._deliver, tuple(heard))

    async def on_media_loop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await, from the handlers' loop, something that has to run on the media loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._media_loop))

    def soon_on_media_loop(self, function: Callable[..., object], *args: object) -> None:
        """Call a function on the media loop without waiting for it."""
        self._media_loop.call_soon_threadsafe(function, *args)

    def soon_on_handlers_loop(self, function: Callable[..., object], *args: object) -> None:
        """Call a function on the handlers' loop without waiting for it."""
        self._loop.call_soon_threadsafe(function, *args)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _start(self, call: Call, handler: Handler, ended: Ended) -> None:
        task = self._loop.create_task(self._guarded(call, handler), name=f"handler of {call.id}")
        running = self._running[call.id] = Running(task)
        task.add_done_callback(lambda _done: self._finish(call.id, running, ended))

    async def _guarded(self, call: Call, handler: Handler) -> None:
        await Interruptible(handler(call), self._running[call.id].take_end)

    def _stop(self, call_id: str, outcome: str) -> None:
        running = self._running.get(call_id)
        if running is None:
            return
        running.outcome = outcome
        running.task.cancel()
        self._loop.call_later(STOP_GRACE_S, running.task.cancel)

    def _finish(self, call_id: str, running: Running, ended: Ended) -> None:
        task = running.task
        if self._running.get(call_id) is running:
            del self._running[call_id]
        how, line, trace = "returned", "", ""
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if isinstance(error, CallEnded | asyncio.CancelledError) or _only_ended(error):
            how = "cancelled"
        elif error is not None:
            how, line = "raised", f"{type(error).__name__}: {error}"
            trace = "".join(traceback.format_exception(error))
        self._media_loop.call_soon_threadsafe(ended, how, line, trace)

    def _deliver(self, heard: tuple[tuple[Ear, Frame], ...]) -> None:
        self._taken = True
        for ear, frame in heard:
            ear.put(frame)

    def _report_blocked(self, for_s: float) -> None:
        frame = sys._current_frames().get(self._thread.ident or 0)
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        self._log.warning("handler.blocked", for_ms=int(for_s * 1000), stack=stack)
        self._taken = True


def _only_ended(error: BaseException | None) -> bool:
    return isinstance(error, BaseExceptionGroup) and error.split((CallEnded, asyncio.CancelledError))[1] is None
