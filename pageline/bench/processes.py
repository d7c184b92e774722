"""The processes of the bench: servers under measurement and the tools that load them, all tied to us."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import psutil

from shared.errors import PagelineError
from shared.parent import tied
from shared.settings import Settings

READY_WITHIN_S: Final = 30.0
STOP_WITHIN_S: Final = 15.0
LOOK_AGAIN_AFTER_S: Final = 0.02
SHOWN_LOG_LINES: Final = 12


class BenchFailed(PagelineError):
    """A server of the bench did not start, or did not do what is to be measured; the message holds its last words."""


@contextmanager
def running(
    name: str, arguments: Sequence[str], env: Mapping[str, str], logs: Path, *, module: bool = True
) -> Iterator["Server"]:
    """Run `python -m ARGUMENTS`, or a program, as long as the context; start it from the main thread.

    It gets our environment without pageline's settings, which are then those of `env` only.
    """
    server = start(name, arguments, env, logs, module=module)
    try:
        yield server
    finally:
        server.stop()


def start(name: str, arguments: Sequence[str], env: Mapping[str, str], logs: Path, *, module: bool = True) -> "Server":
    """Start what `running` runs, and leave the stopping to the caller; it ends with this process in any case."""
    path = logs / f"{name}.log"
    with path.open("ab") as output:
        return Server(name, spawn(arguments, output, output, env, module=module), path)


def lines_of(*arguments: str) -> Iterator[bytes]:
    """Run `python -m ARGUMENTS` to its end and yield what it prints, line by line.

    Raises:
        BenchFailed: it failed.
    """
    with tempfile.TemporaryFile() as complaints, spawn(arguments, subprocess.PIPE, complaints, {}) as process:
        assert process.stdout is not None
        try:
            yield from process.stdout
        except BaseException:  # nobody reads on: a second Ctrl-C should not be needed
            process.kill()
            raise
        if process.wait() != 0:
            complaints.seek(0)
            said = last_lines(complaints.read().decode(errors="replace"))
            raise BenchFailed(f"{arguments[0]} ended with status {process.returncode}. It said:\n{said}")


def spawn(
    arguments: Sequence[str],
    stdout: int | IO[bytes],
    stderr: IO[bytes],
    env: Mapping[str, str],
    *,
    stdin: int = subprocess.DEVNULL,
    module: bool = True,
) -> "subprocess.Popen[bytes]":
    """Start `python -m ARGUMENTS`, or a program, tied to us; of pageline's settings it gets only those of `env`."""
    ours = {name: value for name, value in os.environ.items() if name not in Settings.__struct_encode_fields__}
    return subprocess.Popen(
        tied([sys.executable, "-m", *arguments] if module else arguments),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env={**ours, **env},
        start_new_session=True,
    )


class Server:
    """A server process under measurement."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._log = log

    def await_answer(self, url: str, *, containing: str = "") -> None:
        """Wait until a GET is answered with a body that contains this text, whatever the status.

        Raises:
            BenchFailed: the process ended, or does not answer so in time.
        """
        deadline = time.monotonic() + READY_WITHIN_S
        while (body := _get(url)) is None or containing not in body:
            if self._process.poll() is not None:
                raise BenchFailed(f"{self.name} ended with status {self._process.returncode}. It said:\n{self.said()}")
            if time.monotonic() > deadline:
                raise BenchFailed(f"{self.name} is not ready after {READY_WITHIN_S:g} s. It said:\n{self.said()}")
            time.sleep(LOOK_AGAIN_AFTER_S)

    def said(self) -> str:
        """Return the last lines the process printed."""
        return last_lines(self._log.read_text(errors="replace"))

    @property
    def ended(self) -> int | None:
        """Return the exit status; none while the process runs."""
        return self._process.poll()

    def kill(self) -> None:
        """Kill the process with SIGKILL, as a crash or a full memory does."""
        self._process.kill()
        self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """Ask the process to end, and kill it when it does not."""
        self._process.terminate()
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def cpu_s(pid: int) -> float:
    """Return the CPU seconds, user and system, that a process has used so far; the kernel counts in steps of 10 ms."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def last_lines(text: str) -> str:
    """Return as much of a log as a person wants to read."""
    return "\n".join(text.splitlines()[-SHOWN_LOG_LINES:])


def _get(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:  # noqa: S310 - our own loopback address
            body: bytes = reply.read()
    except urllib.error.HTTPError as error:
        body = error.read()
    except OSError:
        return None
    return body.decode(errors="replace")
