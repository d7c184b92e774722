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
from pageline.bench.media import cores, pion, speech
from pageline.bench.media.handlers import CLIP
from pageline.bench.media.load import Load, calling
from pageline.bench.media.orders import Figures
from pageline.bench.processes import BenchFailed, Server
from shared.embedded import free_port

WARM_UP_CALLS: Final = 4
CALLS_PER_S: Final = 15.0
SETTLES_S: Final = 2.0
CLIP_S: Final = 60
EVERYBODY: Final = 1 << 16


OURS, STOCK, PION = "pageline", "stock", "pion"
STACKS: Final = (OURS, STOCK, PION)


class Mode(NamedTuple):
    """What is done with the packets of a call."""

    handler: str
    speak: bool = True
    """Whether the consumers speak; who only listens sends what DTX leaves of silence."""


MODES: Final = {
    "answer": Mode("workers.handlers.echo:answer"),
    "forward": Mode("workers.handlers.echo:forward"),
    "bridge": Mode("pageline.bench.media.handlers:bridged"),
    "listen": Mode("pageline.bench.media.handlers:listen", speak=False),
}


class Probe(NamedTuple):
    """A stack with its load, warm and without calls."""

    load: Load
    media: Server
    base_rss_bytes: int

    def hold(self, calls: int, seconds: float, *, speak: bool = True, per_s: float = CALLS_PER_S) -> dict[str, Any]:
        """Ring so many more, wait until all has settled, and look."""
        rung = self.load.ring(calls, per_s, speak=speak)
        self.load.measure(SETTLES_S, self.media.pid)
        figures = self.load.measure(seconds, self.media.pid)
        return {**summary(figures, rung.asked, self.base_rss_bytes), "calls_asked": rung.asked}


def summary(figures: Figures, asked: int, base_rss_bytes: int) -> dict[str, Any]:
    """Return a measurement as people read it."""
    return {
        **{name: _rounded(value) for name, value in msgspec.structs.asdict(figures).items()},
        "rss_per_call_bytes": round((figures.rss_bytes - base_rss_bytes) / max(1, figures.calls)),
        "all_held": figures.held == figures.calls >= asked,
    }


def _rounded(value: float) -> float:
    return round(value, 4)


@contextmanager
def prepared(stack: "AbstractContextManager[stacks.Stack]", graph_port: int, *, speak: bool) -> Iterator[Probe]:
    """Start the stack and the load, give the media process its core, and let a few calls come and go.

    Raises:
        BenchFailed: none of them connected.
    """
    with stack as under_way, calling(under_way.url, graph_port) as load:
        media = under_way.media
        assert media is not None
        cores.put_aside(media.pid)
        warmed = load.ring(WARM_UP_CALLS, CALLS_PER_S, speak=speak)
        load.measure(1.0, media.pid)
        load.hang_up(WARM_UP_CALLS)
        if not warmed.connected:
            raise BenchFailed(f"{under_way.name} connected no call. Its media process said:\n{media.said()}")
        yield Probe(load, media, psutil.Process(media.pid).memory_info().rss)
        load.hang_up(EVERYBODY)


def of(stack: str, mode: str, home: Path) -> "AbstractContextManager[Probe]":
    """Prepare one of `STACKS` in one of `MODES`.

    Raises:
        BenchFailed: it cannot do that.
    """
    chosen, graph_port = MODES[mode], free_port()
    name = f"{stack}-{mode}-{graph_port}"
    if stack == OURS:
        settings = {"CALL_HANDLER": chosen.handler, CLIP: str(clip(home))}
        started = stacks.ours(name, home, graph_port=graph_port, settings=settings)
    elif stack == STOCK and mode in ("answer", "forward"):
        started = stacks.baseline("inline_answerer", home, graph_port=graph_port, settings={"ECHO": mode})
    elif stack == PION and mode == "forward":
        started = pion.echo(home, graph_port=graph_port)
    else:
        raise BenchFailed(f"{stack} has no mode {mode}")
    return prepared(started, graph_port, speak=chosen.speak)


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
