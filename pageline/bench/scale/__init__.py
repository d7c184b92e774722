"""What a call, a sample and a worker cost Redis, and what becomes of it with many of them.

Two measurements, each over a Valkey with an append-only file. Short calls through all our processes, which hear a sound
and hang up, say what a whole call costs, RQ's work included. Light workers (`crew.py`), who say to Redis what media
workers say, by the same steps and over as many connections, say what many workers and many calls at once cost. The load
is one process for all workers, so its own share of a core is told beside Redis's.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from pageline.bench import figures, stacks
from pageline.bench.figures import percentile
from pageline.bench.media.load import calling
from pageline.bench.processes import BenchFailed, cpu_s, lines_of
from pageline.bench.scale.load import CALL_S, Step
from pageline.bench.show import Show
from shared.embedded import EmbeddedValkey, free_port
from shared.quality import SAMPLE_EVERY_S

STEPS: Final = ((50, 900), (334, 20_000), (1_000, 60_000), (1_667, 100_000))
"""Workers, and calls that they hold together: 60 on each in the end, as a core holds through PCM."""
CALLS_PER_WORKER: Final = 60
REAL_CALLS: Final = 200
REAL_PER_S: Final = 5.0
WARM_UP_CALLS: Final = 10
IDLE_S: Final = 10.0
SHOWN_MS: Final = 200
"""Of each step so many delays are kept in the report."""


def run(steps: Sequence[tuple[int, int]], seconds: float) -> dict[str, Any]:
    """Measure, print tables on stderr, and return the figures.

    Raises:
        BenchFailed: a process ended, or calls were not answered.
    """
    show = Show()
    report: dict[str, Any] = {"machine": figures.machine(), "seconds": seconds}
    show.machine(report["machine"])
    with tempfile.TemporaryDirectory(prefix="pageline-bench-") as folder:
        report["call"] = _whole_calls(Path(folder), show)
        report["steps"], report["kept_bytes"] = _light(Path(folder) / "light", steps, seconds, show)
    report["one_redis"] = one_redis(report["steps"], report["call"]["redis_us"])
    show.scale(report)
    return report


def _whole_calls(home: Path, show: Show) -> dict[str, Any]:
    """Return what a call through all processes costs Redis beyond what it costs to be there."""
    graph_port = free_port()
    settings = {"CALL_HANDLER": "workers.handlers.announce:answer"}
    with (
        show.busy(f"{REAL_CALLS} calls through all processes"),
        stacks.ours("calls", home, graph_port=graph_port, settings=settings) as stack,
        calling(stack.url, graph_port) as load,
    ):
        load.greet(WARM_UP_CALLS, REAL_PER_S)
        before_s, began_s = cpu_s(stack.valkey_pid), time.monotonic()
        time.sleep(IDLE_S)
        idle = (cpu_s(stack.valkey_pid) - before_s) / (time.monotonic() - began_s)
        before_s, began_s = cpu_s(stack.valkey_pid), time.monotonic()
        greeted = load.greet(REAL_CALLS, REAL_PER_S)
        time.sleep(IDLE_S)  # what follows a call
        used_s, took_s = cpu_s(stack.valkey_pid) - before_s, time.monotonic() - began_s
    if not greeted.first_sound_ms:
        raise BenchFailed("no call heard anything, so that none could be measured")
    return {
        "calls": len(greeted.first_sound_ms),
        "idle_share": round(idle, 5),
        "redis_us": round(1e6 * (used_s - idle * took_s) / greeted.asked),
    }


def _light(
    folder: Path, steps: Sequence[tuple[int, int]], seconds: float, show: Show
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return the steps, and what is kept of a call that has ended."""
    told: list[dict[str, Any]] = []
    kept: dict[str, int] = {}
    with EmbeddedValkey(folder) as valkey, show.progress("calls", max(calls for _, calls in steps)) as advance:
        pid = (valkey.home / "valkey.pid").read_text().split()[0]
        words = (valkey.url, pid, str(seconds), *(f"{workers}:{calls}" for workers, calls in steps))
        opened = 0
        for line in lines_of("pageline.bench.scale.load", *words):
            said = msgspec.json.decode(line)
            if "opened" in said:
                advance(said["opened"] - opened)
                opened = said["opened"]
            elif "weights" in said:
                kept = said["weights"]
            else:
                told.append(of_step(msgspec.convert(said, Step)))
    return told, kept


def of_step(step: Step) -> dict[str, Any]:
    """Return a step as people read it: shares of a core, and what one of each cost in it, microseconds."""
    delays = step.claimed_ms
    return {
        "workers": step.workers,
        "calls": step.calls,
        "redis_share": {"beats": step.beats.redis, "samples": step.samples.redis, "turnover": step.turnover.redis},
        "load_share": step.turnover.load,
        "worker_second_us": _us(step.beats.redis, step.workers),
        "sample_us": _us(step.samples.redis - step.beats.redis, step.samples_per_s),
        "calls_per_s": step.calls_per_s,
        "call_us": _us(step.turnover.redis - step.samples.redis, step.calls_per_s),
        "claimed_p50_ms": percentile(delays, 50) if delays else None,
        "claimed_p99_ms": percentile(delays, 99) if delays else None,
        "claimed_ms": sorted(delays)[:: max(1, len(delays) // SHOWN_MS)],
        "beat_late_ms": step.beat_late_ms,
        "memory_mb": round(step.memory_bytes / 1e6, 1),
        "open_call_kib": round(step.memory_bytes / step.calls / 1024, 1),
    }


def one_redis(steps: Sequence[dict[str, Any]], whole_call_us: float) -> dict[str, Any]:
    """Reckon with how many calls at once one core of Redis is busy all the time, by what they cost in the last step.

    A call takes `CALL_S`, and its worker holds `CALLS_PER_WORKER`. What a whole one costs beyond a light one, RQ's work
    above all, is told by the step with as many new calls a second as the whole ones came.
    """
    last, alike = steps[-1], min(steps, key=lambda step: abs(step["calls_per_s"] - REAL_PER_S))
    beside_us = max(0.0, whole_call_us - alike["call_us"])
    one_us = (
        (last["call_us"] + beside_us) / CALL_S
        + last["sample_us"] / SAMPLE_EVERY_S
        + last["worker_second_us"] / CALLS_PER_WORKER
    )
    return {
        "beside_us": round(beside_us),
        "us_per_second_of_a_call": round(one_us, 2),
        "calls_at_once": round(1e6 / one_us),
    }


def _us(share: float, per_s: float) -> float:
    return round(1e6 * max(0.0, share) / per_s, 1) if per_s else 0.0
