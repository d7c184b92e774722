"""An asyncio event loop on virtual time, in which simulated processes run, freeze and die.

Every callback belongs to the process whose context it was scheduled in. Among processes that have something to do a
seeded choice decides who goes next; within a process callbacks keep their order, as on a loop of its own. Time moves
only when nobody has anything left to do now.

A killed process's callbacks are dropped for ever: no `finally` of it runs, as after SIGKILL. A frozen one's wait.
"""

import asyncio
import contextlib
import contextvars
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START_UNIX_S = 1_800_000_000.0


class Process:
    """Something that can be killed and frozen on its own; the world outside is one, too."""

    def __init__(self, name: str, *, clock_off_ms: int = 0) -> None:
        self.name = name
        self.clock_off_ms = clock_off_ms
        self.alive = True
        self.frozen = False
        self.froze_s = self.thawed_s = -1.0
        self.context = contextvars.Context()
        self.context.run(_current.set, self)
        self.ready: deque[asyncio.Handle] = deque()
        self.tasks: dict[Task[Any], None] = {}
        """Kept alive: a task that is garbage-collected would run its `finally`."""

    def __repr__(self) -> str:
        return self.name


_current: contextvars.ContextVar[Process] = contextvars.ContextVar("process")


def current() -> Process:
    """Return the process whose code runs."""
    return _current.get()


class Task(asyncio.Task[T]):
    """A task whose hash is its number, so that sets of tasks have the same order in every run."""

    _log_destroy_pending: bool

    def __init__(self, coro: Generator[Any, None, T] | Coroutine[Any, Any, T], *, number: int, **options: Any) -> None:
        self._number = number
        self._steps = coro
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._number

    def disown(self) -> None:
        """Give up a task that will never end, in silence."""
        self._log_destroy_pending = False
        with contextlib.suppress(BaseException):  # a `finally` that awaits, or one that meets what is gone already
            self._steps.close()


class Stuck(Exception):
    """The simulation would go on for ever."""


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.outside = Process("outside")
        self.steps = 0
        self.on_error: Callable[[Process, dict[str, Any]], None] | None = None
        self._chance = chance
        self._now_s = 0.0
        self._waiting: dict[Process, None] = {}
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self._processes: list[Process] = [self.outside]
        self._buried = False

    # -- processes ---------------------------------------------------------------------------------------------------

    def spawn(self, process: Process, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start a coroutine as (part of) a process."""
        if process not in self._processes:
            self._processes.append(process)
        return self.create_task(work, context=process.context.copy())

    def kill(self, process: Process) -> None:
        """End a process as SIGKILL does."""
        process.alive = False
        process.ready.clear()
        self._waiting.pop(process, None)

    def freeze(self, process: Process) -> None:
        """Stop a process as SIGSTOP does."""
        process.frozen, process.froze_s = True, self._now_s
        self._waiting.pop(process, None)

    def thaw(self, process: Process) -> None:
        """Let it go on as SIGCONT does."""
        process.frozen, process.thawed_s = False, self._now_s
        if process.alive and process.ready:
            self._waiting[process] = None

    # -- running -----------------------------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, T], *, at_most_steps: int) -> T:
        """Run until `work`, which happens outside of all processes, is done.

        Raises:
            Stuck: it is not after so many steps, or nothing is left that could happen.
        """
        asyncio._set_running_loop(self)
        try:
            done = self.spawn(self.outside, work)
            while not done.done():
                if not self._waiting and not self._advance():
                    raise Stuck("nothing is left that could happen")
                if self.steps >= at_most_steps:
                    raise Stuck(f"not done after {at_most_steps} steps")
                self._step()
            return done.result()
        finally:
            asyncio._set_running_loop(None)

    def _step(self) -> None:
        waiting = self._waiting
        if len(waiting) == 1:
            (process,) = waiting
        else:
            process = self._chance.choice(list(waiting))
        handle = process.ready.popleft()
        if not process.ready:
            del waiting[process]
        if not handle.cancelled():
            self.steps += 1
            handle._run()

    def _advance(self) -> bool:
        """Move to the next moment at which something is due."""
        while self._timers and not self._waiting:
            due_s, _, timer = heapq.heappop(self._timers)
            if timer.cancelled():
                continue
            self._now_s = max(self._now_s, due_s)
            self._enqueue(timer)
            while self._timers and self._timers[0][0] <= self._now_s:
                self._enqueue(heapq.heappop(self._timers)[2])
        return bool(self._waiting)

    def _enqueue(self, handle: Any) -> None:
        process: Process = handle._context.get(_current, self.outside)
        if not process.alive or handle.cancelled():
            return
        process.ready.append(handle)
        if not process.frozen:
            self._waiting[process] = None

    def bury(self) -> None:
        """Let go of everything that is still pending, in silence."""
        self._buried = True
        self._timers.clear()
        for process in self._processes:
            process.ready.clear()
            for task in tuple(process.tasks):
                task.disown()
            process.tasks.clear()

    # -- what asyncio asks of a loop ---------------------------------------------------------------------------------

    def time(self) -> float:
        """Return the virtual time, in seconds from the beginning."""
        return self._now_s

    def is_closed(self) -> bool:
        """Tell whether nothing can happen any more."""
        return self._buried

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        """Start a task in the running process, or in the one whose context is given."""
        number = next(self._numbers)
        task = Task(coro, number=number, loop=self, name=str(name or f"task {number}"), context=context)
        process = (context or contextvars.copy_context()).get(_current, self.outside)
        process.tasks[task] = None
        task.add_done_callback(process.tasks.pop, context=self.outside.context)
        return task

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Queue a callback behind those of its process."""
        handle = asyncio.Handle(callback, args, self, context)
        if not self._buried:
            self._enqueue(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Queue a callback: there are no threads here."""
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back after some virtual seconds."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back at a virtual time."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        if not self._buried:
            heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: a cancelled timer is skipped when it is due."""

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Call it here and now: what a thread does takes no virtual time."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tell whoever watches of an error that nobody caught."""
        if self.on_error is not None and not self._buried:
            self.on_error(_current.get(self.outside), context)
