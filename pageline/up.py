"""Runs all processes of the pipeline on one machine, until one Ctrl-C.

A process that dies is started again. On the first Ctrl-C, SIGTERM or hang-up each is asked to end (SIGTERM) and has
`stop_grace_s` to drain; a second Ctrl-C kills at once. When we are killed ourselves, the processes die with us.

Each runs in a session of its own, so that a terminal's Ctrl-C reaches only us. What they print is passed on line by
line in honcho's manner. Honcho's manager is not used: it ends all when one ends, and kills after five seconds.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TextIO

from honcho.colour import get_colours
from honcho.printer import Message, Printer

from shared.errors import NoValkey
from shared.parent import tied

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
HEALTHY_AFTER_S = 30.0  # a process that lived this long is restarted as promptly as at first
BAD_USAGE = 2  # the exit status of our command for settings and arguments that cannot work
GIVE_UP_AFTER = 3  # such exits in a row ...
GIVE_UP_WITHIN_S = 10.0  # ... each this soon after the start
LAST_OUTPUT_WITHIN_S = 1.0
REVIVE_EVERY_S = 1.0
LINE_BYTES = 1 << 16


def run(
    processes: Mapping[str, Sequence[str]],
    env: Mapping[str, str],
    *,
    printer: TextIO = sys.stderr,
    stop_grace_s: float,
    revive: Callable[[], bool] | None = None,
) -> int:
    """Run the named commands side by side until we are told to stop; return our exit status.

    The status is 0 after a stop that was asked for, and 2 when a process cannot run with the settings it got.
    `env` is added to our own environment. Call it from the main thread: signals arrive there. `revive` is called every
    second to start an embedded Valkey again that died, and tells whether it had.
    """
    return asyncio.run(Up(processes, env, Screen(printer, processes), stop_grace_s, revive).run())


class Pauses:
    """How long to wait before a process is started again: ever longer while it keeps dying young."""

    def __init__(self) -> None:
        self._next_s = FIRST_PAUSE_S

    def after(self, lived_s: float) -> float:
        """Return the pause after a life of this length."""
        pause_s = FIRST_PAUSE_S if lived_s >= HEALTHY_AFTER_S else self._next_s
        self._next_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return pause_s


class Screen:
    """Prints lines with the time and the coloured name of who said them."""

    def __init__(self, output: TextIO, names: Iterable[str]) -> None:
        self._colours: dict[str, str] = dict(zip(names, get_colours(), strict=False))
        width = max(len(name) for name in ["up", *self._colours])
        self._printer = Printer(output, width=width, colour="NO_COLOR" not in os.environ)

    def print(self, name: str, text: str | bytes) -> None:
        """Print what `name` said; where that fails the line is lost, as no log is worth a call."""
        message = Message("line", text, datetime.now(UTC).astimezone(), name, self._colours.get(name))
        try:
            self._printer.write(message)
        except BrokenPipeError:  # the reader has left for good; Python's own flush at exit would complain as well
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._printer.output.fileno())
        except OSError:
            return


class Lines(asyncio.Protocol):
    """Cuts what comes out of a pipe into lines, each handed on as soon as it is complete."""

    def __init__(self, hand_on: Callable[[bytes], None]) -> None:
        self._hand_on = hand_on
        self._begun = b""
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        """Hand on the lines that are complete; one without an end is cut."""
        *lines, self._begun = (self._begun + data).split(b"\n")
        if len(self._begun) > LINE_BYTES:
            lines.append(self._begun)
            self._begun = b""
        for line in lines:
            self._hand_on(line)

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand on a last line that was never ended."""
        if self._begun:
            self._hand_on(self._begun)
        self.ended.set()


class Up:
    """The processes that run side by side, and whether they shall."""

    def __init__(
        self,
        processes: Mapping[str, Sequence[str]],
        env: Mapping[str, str],
        screen: Screen,
        stop_grace_s: float,
        revive: Callable[[], bool] | None,
    ) -> None:
        self._commands = processes
        self._env = {**os.environ, "PYTHONUNBUFFERED": "1", **env}
        self._screen = screen
        self._stop_grace_s = stop_grace_s
        self._revive = revive
        self._status = 0
        self._stopping = asyncio.Event()
        self._killing = False
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._last_line: dict[str, str] = {}

    async def run(self) -> int:
        """Keep every process alive until told to stop; return the exit status."""
        loop = asyncio.get_running_loop()
        asked_by = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # somebody's nohup counts
            asked_by.append(signal.SIGHUP)
        for signal_number in asked_by:
            loop.add_signal_handler(signal_number, self._on_signal, signal_number)
        async with asyncio.TaskGroup() as keepers:
            for name, command in self._commands.items():
                keepers.create_task(self._keep(name, command))
            if self._revive is not None:
                keepers.create_task(self._keep_revived(self._revive))
        return self._status

    async def _keep_revived(self, revive: Callable[[], bool]) -> None:
        while not self._stopping.is_set():
            try:
                if revive():
                    self._say("the embedded Valkey had died; it is started again. Why: DATA_DIR/valkey/valkey.log")
            except NoValkey as error:
                self._say(str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REVIVE_EVERY_S):
                    await self._stopping.wait()

    async def _keep(self, name: str, command: Sequence[str]) -> None:
        """Run one command again and again, until told to stop."""
        pauses = Pauses()
        bad_usages = 0
        while not self._stopping.is_set():
            started_at_s = time.monotonic()
            status = await self._run_once(name, command)
            lived_s = time.monotonic() - started_at_s
            if self._stopping.is_set():
                self._say(f"{name} {how_it_ended(status)}")
                return
            bad_usages = bad_usages + 1 if status == BAD_USAGE and lived_s < GIVE_UP_WITHIN_S else 0
            if bad_usages == GIVE_UP_AFTER:
                self._give_up(name, status)
                return
            pause_s = pauses.after(lived_s)
            self._say(f"{name} {how_it_ended(status)}; starting it again in {pause_s:g} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()

    async def _run_once(self, name: str, command: Sequence[str]) -> int:
        """Run one command to its end and pass on what it prints; return its status."""
        # A pipe of our own, not asyncio's: the end of a process is then known even while a child of its holds the pipe.
        read_end, write_end = os.pipe()
        lines = Lines(lambda line: self._pass_on(name, line))
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: lines, os.fdopen(read_end, "rb", 0))
        try:
            process = await asyncio.create_subprocess_exec(
                *tied(command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                env=self._env,
                start_new_session=True,
            )
        finally:
            os.close(write_end)
        self._running[name] = process
        try:
            if self._stopping.is_set():  # it was asked for while the process was being made
                self._end(process)
            status = await process.wait()
        finally:
            del self._running[name]
            kill_session(process.pid)  # nothing that it started outlives it and keeps its port
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_OUTPUT_WITHIN_S):
                    await lines.ended.wait()
            pipe.close()
        return status

    # -- stopping

    def _on_signal(self, signal_number: signal.Signals) -> None:
        if not self._stopping.is_set():
            self._say(
                f"{signal_number.name}: asking all to end, for up to {self._stop_grace_s:g} s; Ctrl-C kills at once"
            )
            self._stop()
        elif signal_number == signal.SIGINT:
            self._kill("second Ctrl-C")
        else:
            self._say(f"{signal_number.name}: still waiting")

    def _give_up(self, name: str, status: int) -> None:
        self._status = status
        reason = self._last_line.get(name, "it said nothing")
        self._say(f"{name} ended {GIVE_UP_AFTER} times with status {status}, so all are stopped. Its reason: {reason}")
        self._stop()

    def _stop(self) -> None:
        self._stopping.set()
        for process in self._running.values():
            self._end(process)
        asyncio.get_running_loop().call_later(self._stop_grace_s, self._kill, f"{self._stop_grace_s:g} s have passed")

    def _kill(self, why: str) -> None:
        if self._running:
            self._say(f"{why}: killing {', '.join(self._running)}")
        self._killing = True
        for process in self._running.values():
            self._end(process)

    def _end(self, process: asyncio.subprocess.Process) -> None:
        if self._killing:
            kill_session(process.pid)
        else:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()

    # -- printing

    def _pass_on(self, name: str, line: bytes) -> None:
        if line.strip():
            self._last_line[name] = line.decode(errors="replace").strip()
        self._screen.print(name, line)

    def _say(self, text: str) -> None:
        self._screen.print("up", text)


def kill_session(leader_pid: int) -> None:
    """Kill a process that we started in a session of its own, and all that it started there."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader_pid, signal.SIGKILL)


def how_it_ended(status: int) -> str:
    """Say what an exit status means."""
    return f"ended with status {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"
