"""An event loop on virtual time: a timeout of an hour is over at once, where nothing happens before it."""

import asyncio
import selectors
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LOOK_EVERY_S: Final = 0.05
OUTSIDE_WITHIN_S: Final = 30.0
"""So long, in real seconds, may a thread of the handler's work before whoever tests it is told."""


class Clock(selectors.DefaultSelector):
    """Moves on to what is due next where nothing is left to do now; what threads and sockets do takes real time."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.until_s = 0.0
        self.threads = 0
        self.own = 0
        """How many of the files watched are the loop's own."""
        self.rest: Callable[[], None] = lambda: None
        """Called when all is done that happens until `until_s`."""
        self.waited_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what happened outside; if that is nothing, let time pass."""
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        ahead_s = self.until_s - self.now_s
        if self.threads or (len(self.get_map()) > self.own and ahead_s > 0):
            return self._look_outside(LOOK_EVERY_S if timeout is None else min(timeout, LOOK_EVERY_S))
        if timeout is None or timeout > ahead_s:
            self.now_s = self.until_s
            self.rest()
        else:
            self.now_s += timeout
        return []

    def _look_outside(self, for_s: float) -> list[tuple[selectors.SelectorKey, int]]:
        began_s = time.monotonic()
        events = super().select(for_s)
        passed_s = time.monotonic() - began_s
        self.now_s = min(self.until_s, self.now_s + passed_s)
        self.waited_s = 0.0 if events else self.waited_s + passed_s
        if self.waited_s > OUTSIDE_WITHIN_S:
            raise TimeoutError(f"the handler has waited for a thread or a socket for {OUTSIDE_WITHIN_S:g} real seconds")
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs in steps, from whichever thread `run_for` is called."""

    def __init__(self) -> None:
        self.clock: Final = Clock()
        super().__init__(self.clock)
        self.clock.own = len(self.clock.get_map())
        self.clock.rest = self.stop

    def time(self) -> float:
        """Return the virtual time, in seconds from the beginning."""
        return self.clock.now_s

    def run_for(self, seconds: float) -> None:
        """Let so many virtual seconds pass, or fewer where `stop` is called; with 0 do what can be done now."""
        self.clock.until_s = self.clock.now_s + seconds
        self.clock.waited_s = 0.0
        self.run_forever()

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run it in a thread; no time is skipped meanwhile."""
        future = super().run_in_executor(executor, func, *args)
        self.clock.threads += 1
        future.add_done_callback(self._joined)
        return future

    def _joined(self, _future: object) -> None:
        self.clock.threads -= 1
