"""The processes of the Procfile, started for real around one Valkey and one stand-in for Meta."""

import asyncio
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, Self, TypeVar

import httpx
import numpy as np
import rq

from shared import redis_client
from shared.bus import Bus
from shared.calls import facts
from shared.embedded import EmbeddedValkey
from shared.parent import tied
from shared.wire import Wire
from tests.acceptance.standin import PAGE, RATE_HZ, SECRET, Consumer, until

ROOT: Final = Path(__file__).parents[2]
PROCFILE: Final = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
COMMANDS: Final = str(Path(sys.executable).parent)
PIPELINE: Final = ("web", "media", "action")
VERIFY_TOKEN: Final = "v3rify"
DRAIN_SECONDS: Final = 4
END_WITHIN_S: Final = 15.0

PAGES: Final = {
    "forward": "108812345678901",
    "announce": "108812345678902",
    "record": "108812345678903",
    "duet": "108812345678904",
    "witness": "108812345678905",
    "stumble": "108812345678906",
    "menu": "108812345678907",
    "minutes": "108812345678908",
    "write": "108812345678919",
    "conference": "108812345678909",
    "supervise": "108812345678910",
    "intrude": "108812345678911",
    "mirror": "108812345678912",
    "echo": PAGE,
}
"""Pages by what answers there."""

HANDLERS: Final = {
    "forward": "workers.handlers.echo:forward",
    "announce": "workers.handlers.announce:answer",
    "record": "workers.handlers.announce:record",
    "duet": "reception:duet",
    "witness": "reception:witness",
    "stumble": "reception:stumble",
    "menu": "reception:menu",
    "minutes": "reception:minutes",
    "write": "reception:write",
    "conference": "conference:answer",
    "supervise": "conference:supervise",
    "intrude": "reception:intrude",
    "mirror": "mirror:answer",
    "echo": "workers.handlers.echo:answer",
}
TOKENLESS_PAGE: Final = "108812345678999"

F = TypeVar("F", bound=facts.Fact)


class Process:
    """A process of ours whose words go to a file; it ends with the tests, whatever ends those."""

    started: ClassVar[list["Process"]] = []

    def __init__(self, command: list[str], *, home: Path, env: Mapping[str, str], name: str = "") -> None:
        self.name = name or command[-1]
        self._log = home / f"{self.name}.log"
        self._shown_bytes = 0
        path = {"PATH": os.pathsep.join((COMMANDS, os.environ["PATH"])), "HOME": str(home)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                tied(command), cwd=home, env={**path, **env}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.pid = self._process.pid
        Process.started.append(self)

    @property
    def said(self) -> str:
        """Return everything it said."""
        return self._log.read_text(errors="replace")

    def news(self) -> str:
        """Return what it said since this was last asked."""
        fresh = self._log.read_bytes()[self._shown_bytes :]
        self._shown_bytes += len(fresh)
        return fresh.decode(errors="replace")

    @property
    def ended(self) -> bool:
        """Whether it has come to an end."""
        return self._process.poll() is not None

    def wait(self, timeout_s: float = END_WITHIN_S) -> int:
        """Wait for the end and return the exit status."""
        return self._process.wait(timeout_s)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def stop(self) -> int:
        """Ask it to end and wait; kill it if it does not."""
        self.signal(signal.SIGTERM)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise


class HasUrls(Protocol):
    """What stands in for Meta."""

    url: str
    webhook_url: str


class Known(Protocol):
    """A call, by its id."""

    @property
    def call_id(self) -> str: ...


class Line:
    """A pipeline in a folder of its own: which settings its processes get, and what became of its calls."""

    def __init__(self, home: Path, meta: HasUrls, **settings: str) -> None:
        self.home = home
        self.meta = meta
        self.processes: dict[str, Process] = {}
        self.valkey = EmbeddedValkey(home)
        self.base = f"http://127.0.0.1:{free_port()}"
        meta.webhook_url = f"{self.base}/webhook"
        self.settings = {
            "META_APP_SECRET": SECRET,
            "META_VERIFY_TOKEN": VERIFY_TOKEN,
            "PAGES_FILE": "pages.toml",
            "GRAPH_URL": meta.url,
            "GRAPH_VERSION": "v23.0",
            "CALL_HANDLER": HANDLERS["echo"],
            "HOST": "127.0.0.1",
            "PORT": self.base.rpartition(":")[2],
            "MEDIA_ADDRESSES": "127.0.0.1",
            "DATA_DIR": str(home),
            "DRAIN_SECONDS": str(DRAIN_SECONDS),
            **settings,
        }
        tables = (f'[{page}]\ntoken = "token-{name}"\nhandler = "{HANDLERS[name]}"\n' for name, page in PAGES.items())
        (home / "pages.toml").write_text("\n".join(tables))
        shutil.copy(Path(__file__).with_name("reception.py"), home)
        for name in ("conference.py", "mirror.py"):
            (home / name).write_text(example(name))
        shutil.copy(ROOT / "workers" / "handlers" / "sounds" / "goodbye.ogg", home)
        write_tone(home / "tone.wav", hz=440, seconds=1.5)

    def __enter__(self) -> Self:
        if "REDIS_URL" not in self.settings:
            self.valkey.start()
            self.settings["REDIS_URL"] = self.valkey.url
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.signal(signal.SIGTERM)
        for process in self.processes.values():
            process.stop()
        self.valkey.stop()

    @property
    def redis_url(self) -> str:
        """Where everything is kept: a Valkey of our own, or what REDIS_URL says."""
        return self.settings["REDIS_URL"]

    def start(self, *names: str, **settings: str) -> None:
        """Start these processes as the Procfile says; `media.2` is another `media`."""
        for name in names:
            command = shlex.split(PROCFILE[name.partition(".")[0]])
            self.processes[name] = Process(command, home=self.home, env={**self.settings, **settings}, name=name)

    def await_ready(self, status: str = "ready") -> Self:
        """Wait until calls would be answered: `/readyz` says so and the action worker has registered with RQ."""
        until(lambda: readiness(self.base) == status, f"{self.base}/readyz says {status}", timeout_s=60)
        if "action" in self.processes:
            with redis_client.connect(self.redis_url) as client:
                until(lambda: rq.Worker.all(client), "an RQ worker", timeout_s=60)
        return self

    # -- what became of calls

    def log_of(self, call_id: str) -> list[facts.Fact]:
        """Return the facts of a call."""

        async def read() -> list[facts.Fact]:
            async with Wire.from_url(self.redis_url, name="acceptance") as wire:
                return [entry.fact for entry in await Bus(wire).read_log(call_id)]

        return asyncio.run(read())

    def await_fact(self, consumer: Known, kind: type[F]) -> F:
        """Wait until such a fact is in the call's log, and return the first one."""
        found = until(
            lambda: [fact for fact in self.log_of(consumer.call_id) if isinstance(fact, kind)],
            f"{kind.__name__} of {consumer.call_id}",
            timeout_s=30,
        )
        return found[0]

    def outcome_of(self, consumer: Known) -> str:
        """Wait until the call is closed and return how it ended."""
        return self.await_fact(consumer, facts.Closed).outcome

    def story_of(self, consumer: Consumer) -> dict[str, Any]:
        """Return what `pageline call ID --json` prints."""
        told = subprocess.run(
            [sys.executable, "-m", "pageline", "call", consumer.call_id, "--json"],
            env={**os.environ, **self.settings},
            cwd=self.home,
            capture_output=True,
            check=True,
            timeout=20,
        )
        story: dict[str, Any] = json.loads(told.stdout)
        return story

    def queued(self) -> int:
        """Return how many jobs RQ was ever given and still knows: those that wait, run, or are over."""
        with redis_client.connect(self.redis_url) as client:
            return sum(1 for _ in client.scan_iter("rq:job:*", count=1000))

    def dead_letters(self) -> dict[str, int]:
        """Return how many dead letters there are, by reason, as /metrics shows them."""
        shown = httpx.get(f"{self.base}/metrics").text.splitlines()
        counted = (line.partition(" ") for line in shown if line.startswith("pageline_dead_letters_total{"))
        return {name.split('"')[1]: int(float(count)) for name, _, count in counted}


def example(name: str) -> str:
    """Return a handler that docs/handlers.md shows."""
    shown = (ROOT / "docs" / "handlers.md").read_text()
    return shown.split(f"```python\n# {name}\n")[1].partition("```")[0]


def readiness(base: str) -> str:
    """Return what `/readyz` says, or why it says nothing."""
    try:
        return str(httpx.get(f"{base}/readyz", timeout=2).json()["status"])
    except httpx.HTTPError as error:
        return type(error).__name__


def write_tone(path: Path, *, hz: int, seconds: float) -> None:
    """Write a sound file with one tone."""
    samples = 8000 * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
