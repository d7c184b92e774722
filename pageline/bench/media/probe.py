"""One stack in one mode with so many calls: what each call received, and what it cost."""

import wave
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import psutil

from pageline.bench import stacks
from pageline.bench.figures import percentile
from pageline.bench.media import cores, pion, speech
from pageline.bench.media.contenders import MODES, OURS, PION, STOCK, Mode
from pageline.bench.media.handlers import BOT, CLIP
from pageline.bench.media.load import Load, calling
from pageline.bench.media.orders import Figures, Measure, Ring
from pageline.bench.processes import BenchFailed, Server, running
from shared.embedded import free_port

WARM_UP_CALLS: Final = 4
CALLS_PER_S: Final = 15.0
SETTLES_S: Final = 2.0
GLANCE_S: Final = 0.1
CLIP_S: Final = 60
EVERYBODY: Final = 1 << 16


class Probe(NamedTuple):
    """A stack with its load, warm and without calls."""

    load: Load
    mode: Mode
    media: Server
    base_rss_bytes: int
    redis_url: str

    def up(self) -> int:
        """Return how many calls are up."""
        return self.load.measure(Measure(GLANCE_S, self.media.pid)).calls

    def ring(self, calls: int, *, per_s: float = CALLS_PER_S) -> int:
        """Ring so many more, and wait until all has settled; return how many were connected."""
        rung = self.load.ring(Ring(calls, per_s, self.mode.speak))
        self.load.measure(Measure(SETTLES_S, self.media.pid))
        return rung.connected

    def look(self, asked: int, seconds: float, *, listen_to: int = 0) -> dict[str, Any]:
        """Look at all calls, of which there should be `asked`."""
        figures = self.load.measure(Measure(seconds, self.media.pid, listen_to))
        return summary(figures, asked, self.base_rss_bytes)


def summary(figures: Figures, asked: int, base_rss_bytes: int) -> dict[str, Any]:
    """Return a measurement as people read it."""
    numbers = msgspec.structs.asdict(figures)
    delays_ms = numbers.pop("echo_delays_ms")
    del numbers["call_missing"]
    if delays_ms:
        numbers |= {f"echo_delay_p{share}_ms": percentile(delays_ms, share) for share in (50, 95)}
        numbers["echoes"] = len(delays_ms)
    return {
        "asked": asked,
        **{name: _rounded(value) for name, value in numbers.items()},
        "rss_per_call_bytes": round((figures.rss_bytes - base_rss_bytes) / max(1, figures.calls)),
        "all_held": figures.held == figures.calls >= asked,
    }


def _rounded(value: float) -> float:
    return round(value, 4)


@contextmanager
def prepared(stack: "AbstractContextManager[stacks.Stack]", graph_port: int, mode: Mode) -> Iterator[Probe]:
    """Start the stack and the load, give the media process its core, and let a few calls come and go.

    Raises:
        BenchFailed: none of them connected.
    """
    with stack as under_way, calling(under_way.url, graph_port) as load:
        media = under_way.media
        assert media is not None
        cores.put_aside(media.pid)
        warmed = load.ring(Ring(WARM_UP_CALLS, CALLS_PER_S, mode.speak))
        load.measure(Measure(1.0, media.pid))
        load.hang_up(EVERYBODY)
        if not warmed.connected:
            raise BenchFailed(f"{under_way.name} connected no call. Its media process said:\n{media.said()}")
        yield Probe(load, mode, media, psutil.Process(media.pid).memory_info().rss, under_way.redis_url)
        load.hang_up(EVERYBODY)


def of(stack: str, mode: str, home: Path) -> "AbstractContextManager[Probe]":
    """Prepare one of `STACKS` in one of `MODES`.

    Raises:
        BenchFailed: it cannot do that.
    """
    chosen, graph_port = MODES[mode], free_port()
    name = f"{stack}-{mode}-{graph_port}"
    if stack == OURS and chosen.bot:
        started = with_bot(name, home, graph_port, chosen.handler)
    elif stack == OURS:
        settings = {"CALL_HANDLER": chosen.handler, CLIP: str(clip(home))}
        started = stacks.ours(name, home, graph_port=graph_port, settings=settings)
    elif stack == STOCK and mode in ("answer", "forward"):
        started = stacks.baseline("inline_answerer", home, graph_port=graph_port, settings={"ECHO": mode})
    elif stack == PION and mode == "forward":
        started = pion.echo(home, graph_port=graph_port)
    else:
        raise BenchFailed(f"{stack} has no mode {mode}")
    return prepared(started, graph_port, chosen)


@contextmanager
def with_bot(name: str, home: Path, graph_port: int, handler: str) -> Iterator[stacks.Stack]:
    """Start our processes beside a bot."""
    port = free_port()
    settings = {"CALL_HANDLER": handler, BOT: f"ws://127.0.0.1:{port}/"}
    with (
        running(f"{name}-echo", ["pageline.bench.bots.echo", str(port)], {}, home),
        stacks.ours(name, home, graph_port=graph_port, settings=settings) as stack,
    ):
        yield stack


def clip(home: Path) -> Path:
    """Return a minute of speech as a file."""
    path = home / "clip.wav"
    if not path.exists():
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(speech.RATE)
            file.writeframes((speech.sound(CLIP_S) * 32767).astype(np.int16).tobytes())
    return path
