"""A line whose processes are there to be killed, frozen, cut off and drained: real processes, real signals."""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from shared.calls import facts
from tests.acceptance.line import HasUrls, Known, Line, Process
from tests.acceptance.standin import Consumer, dominant_hz, until

LEASE_S: Final = 3
SUCCESSOR_WITHIN_MS: Final = (LEASE_S + 2) * 1000
DEAD_AIR_AT_MOST_S: Final = 10
DRAIN_S: Final = 6
LAST_WORDS_HZ: Final = 440
"""The pilot tone under the words; consumers hum another one, which a conversation gives back."""

CONVERSE, FORWARD, HESITATE, ANNOUNCE, OBEY = "1001", "1002", "1003", "1004", "1005"
"""Pages, by what their handler does."""
_HANDLERS: Final = {
    CONVERSE: "converse",
    FORWARD: "forward",
    HESITATE: "hesitate",
    ANNOUNCE: "announce",
    OBEY: "hang_up_when_told",
}


class Exchange(Line):
    """A line with short leases and the handlers of `switchboard.py`; times are Unix milliseconds, as in the logs."""

    def __init__(self, home: Path, meta: HasUrls, **settings: str) -> None:
        ours = {"LEASE_SECONDS": str(LEASE_S), "DRAIN_SECONDS": str(DRAIN_S), "PAGES_FILE": "switchboard.toml"}
        super().__init__(home, meta, **{**ours, **settings})
        shutil.copy(Path(__file__).with_name("switchboard.py"), home)
        tables = (f'[{page}]\ntoken = "x"\nhandler = "switchboard:{name}"\n' for page, name in _HANDLERS.items())
        (home / "switchboard.toml").write_text("\n".join(tables))

    def open(self, *names: str, **settings: str) -> None:
        """Start these processes and wait until calls would be answered by each of them."""
        self.meta.webhook_url = f"{self.base}/webhook"
        self.start(*names, **settings)
        self.await_ready()
        joining = [self.processes[name] for name in names if name.startswith("media")]
        until(
            lambda: all("worker.joined" in process.said for process in joining),
            "the media workers' joining",
            timeout_s=60,
        )

    # -- what happens to processes

    def holder(self, consumer: Known) -> str:
        """Return the name of the process that owns the call."""
        pid = int(self.claims(consumer)[-1].worker.split("-")[-2])
        return next(name for name, process in self.processes.items() if process.pid == pid)

    def kill(self, *names: str) -> int:
        """Kill processes outright, at once, and return when."""
        dying = [self.processes.pop(name) for name in names]
        for process in dying:
            process.signal(signal.SIGKILL)
        killed_ms = now_ms()
        for process in dying:
            process.wait()
        return killed_ms

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[Process]:
        """Stop a process where it stands; it wakes at the end of the block."""
        process = self.processes[name]
        process.signal(signal.SIGSTOP)
        try:
            yield process
        finally:
            process.signal(signal.SIGCONT)

    @contextlib.contextmanager
    def valkey_frozen(self) -> Iterator[None]:
        """Let Redis stand still for everybody."""
        os.kill(self.valkey_pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.valkey_pid, signal.SIGCONT)

    @property
    def valkey_pid(self) -> int:
        """The server's process id."""
        return int((self.valkey.home / "valkey.pid").read_text().split()[0])

    def kill_valkey(self) -> None:
        """Kill the server outright."""
        os.kill(self.valkey_pid, signal.SIGKILL)

    def empty_valkey(self) -> None:
        """Take a dead server's data away, but for its password."""
        shutil.rmtree(self.valkey.home / "appendonlydir")

    def revive_valkey(self) -> int:
        """Start the server anew on the data that is left, at the same address, and return when it served."""
        before = self.valkey.url
        self.valkey.stop()
        self.valkey.start()
        assert self.valkey.url == before, "its folder's path is too long for a socket, and its port has changed"
        return now_ms()

    # -- what became of calls

    def claims(self, consumer: Known) -> list[facts.Claimed]:
        """Return who has owned the call, the first owner first."""
        return [fact for fact in self.log_of(consumer.call_id) if isinstance(fact, facts.Claimed)]

    def await_successor(self, consumer: Known, *, since_ms: int) -> None:
        """Wait for the second owner, and see that it came as soon after its predecessor's end as was promised."""
        what, timeout_s = f"a successor for {consumer.call_id}", SUCCESSOR_WITHIN_MS / 1000 + 5
        second = until(lambda: self.claims(consumer)[1:], what, timeout_s=timeout_s)[0]
        assert 0 <= second.at_ms - since_ms <= SUCCESSOR_WITHIN_MS

    def knows_it_lost(self, consumer: Known) -> bool:
        """Tell whether the handler's `on_lost` ran."""
        return (self.home / f"{consumer.call_id}.lost").exists()


def now_ms() -> int:
    """Return the wall clock, which is also that of the server, on this machine."""
    return time.time_ns() // 1_000_000


def assert_ended_at_meta(consumer: Consumer) -> None:
    """See that the consumer was hung up on, by us, once, before the silence got too long."""
    assert consumer.gone.wait(DEAD_AIR_AT_MOST_S + 5), "the consumer still listens to nothing"
    assert consumer.silence_s <= DEAD_AIR_AT_MOST_S
    assert len(consumer.actions("terminate")) == 1


def heard_last_words(consumer: Consumer) -> bool:
    """Tell whether the last that the consumer heard was that the call has to end."""
    return abs(dominant_hz(consumer.sound(last_s=1.5)) - LAST_WORDS_HZ) <= 5
