"""The load as a process that is told what to do, and what it saw."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec

from pageline.bench.media.orders import Figures, Greet, Greeted, HangUp, Measure, Order, Ring, Rung
from pageline.bench.processes import BenchFailed, last_lines, spawn

T = TypeVar("T")


class Load:
    """Consumers who call one stack."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def ring(self, order: Ring) -> Rung:
        """Let more consumers call."""
        return self._ask(order, Rung)

    def greet(self, calls: int, per_s: float) -> Greeted:
        """Let consumers call who only want to hear something."""
        return self._ask(Greet(calls, per_s), Greeted)

    def measure(self, order: Measure) -> Figures:
        """Look at all calls, and at a process."""
        return self._ask(order, Figures)

    def hang_up(self, calls: int) -> None:
        """Let the youngest calls end."""
        self._ask(HangUp(calls), None)

    def _ask(self, order: Order, kind: type[T] | None) -> T:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise BenchFailed("the load ended before it was told to")
        return msgspec.json.decode(line, type=kind)


@contextmanager
def calling(url: str, graph_port: int) -> Iterator[Load]:
    """Run the load against the stack at this URL as long as the context.

    Raises:
        BenchFailed: it ended by itself; the message holds its last words.
    """
    arguments = ("pageline.bench.media.consumers", url, str(graph_port))
    with tempfile.TemporaryFile() as complaints:
        process = spawn(arguments, subprocess.PIPE, complaints, {}, stdin=subprocess.PIPE)
        try:
            yield Load(process)
        except BenchFailed as failed:
            complaints.seek(0)
            raise BenchFailed(f"{failed}. It said:\n{last_lines(complaints.read().decode(errors='replace'))}") from None
        finally:
            process.kill()
            process.wait()
