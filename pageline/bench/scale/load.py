"""The load as a process: so many light workers with so many calls, step by step; prints a line of JSON after each.

python -m pageline.bench.scale.load REDIS_URL VALKEY_PID SECONDS WORKERS:CALLS ...
"""

import asyncio
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import uvloop

from pageline.bench.processes import cpu_s
from pageline.bench.scale.crew import RETENTION_HOURS, SAMPLE, Crew, Held
from shared import quality
from shared.bus import PREFIX, hash_of
from shared.errors import PagelineError
from shared.wire import Wire

CALL_S: Final = 180.0
"""How long a conversation is, by which calls at once and new ones a second belong together."""
MOST_PER_S: Final = 300.0
"""More calls than that, and this process would be measured, not Redis."""
AT_ONCE: Final = 100
"""Calls that are opened together before a step is measured."""


class Used(msgspec.Struct, frozen=True):
    """Processor time while it was looked, as a share of one core."""

    redis: float
    load: float


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """So many workers that hold so many calls."""

    workers: int
    calls: int
    beats: Used
    """While nothing happened but that workers lived."""
    samples: Used
    """While the calls sounded besides."""
    samples_per_s: float
    turnover: Used
    """While calls came and went besides."""
    calls_per_s: float
    """Of the turnover."""
    claimed_ms: list[float]
    """From the webhook's event to its claim in a worker's inbox, of each call of the turnover."""
    beat_late_ms: float
    """The longest that a beat was late."""
    memory_bytes: int


class Weights(msgspec.Struct, frozen=True):
    """What Redis keeps of one call of `CALL_S` that has ended, bytes."""

    log: int
    samples: int
    marks: int
    """By what its webhooks are known."""


class Scale:
    """The steps, one after the other, in one Redis."""

    def __init__(self, crew: Crew, wire: Wire, valkey_pid: int, seconds: float) -> None:
        self._crew = crew
        self._wire = wire
        self._valkey_pid = valkey_pid
        self._seconds = seconds
        self._open: deque[tuple[str, Held]] = deque()
        self._rung = 0

    async def step(self, workers: int, calls: int, told: Callable[[int], None]) -> Step:
        """Grow to so many workers and calls, and look at them; `told` is called with how many calls are open."""
        crew = self._crew
        crew.samples = False
        await crew.grow(workers)
        while (missing := calls - len(self._open)) > 0:
            await asyncio.gather(*(self._ring() for _ in range(min(AT_ONCE, missing))))
            told(len(self._open))
        for worker in crew.workers:
            worker.late_s = 0.0
        beats = await self._used(asyncio.sleep(self._seconds))
        memory = await self._memory_bytes()
        crew.samples = True
        await asyncio.sleep(min(self._seconds, 5.0))  # until all of them have begun
        written = crew.samples_written
        samples = await self._used(asyncio.sleep(self._seconds))
        written = crew.samples_written - written
        claimed_ms: list[float] = []
        per_s = min(calls / CALL_S, MOST_PER_S)
        turnover = await self._used(self._turn_over(per_s, claimed_ms))
        return Step(
            workers=workers,
            calls=calls,
            beats=beats,
            samples=samples,
            samples_per_s=round(written / self._seconds, 1),
            turnover=turnover,
            calls_per_s=round(len(claimed_ms) / self._seconds, 2),
            claimed_ms=[round(each, 2) for each in claimed_ms],
            beat_late_ms=round(1000 * max(worker.late_s for worker in crew.workers), 1),
            memory_bytes=memory,
        )

    async def weigh(self) -> Weights:
        """Let a call sound for `CALL_S`, by its samples, and end; return what is kept of it."""
        call_id, held = self._open.popleft()
        for _ in range(round(CALL_S / quality.SAMPLE_EVERY_S)):
            await quality.add(self._wire, {call_id: SAMPLE}, Counter(), kept_hours=RETENTION_HOURS)
        await self._crew.hang_up(call_id, held)
        keys = (f"{PREFIX}log:{call_id}", quality.PREFIX + call_id, hash_of(call_id))
        log, samples, marks = [await self._wire.call("MEMORY", "USAGE", key, "SAMPLES", 0) for key in keys]
        return Weights(log, samples, marks)

    async def _turn_over(self, per_s: float, claimed_ms: list[float]) -> None:
        """Let the oldest calls end and new ones come, at a steady rate."""
        began_s, turns = time.monotonic(), set[asyncio.Task[None]]()
        for number in range(round(per_s * self._seconds)):
            await asyncio.sleep(max(0.0, began_s + number / per_s - time.monotonic()))
            turns.add(asyncio.create_task(self._turn(claimed_ms)))
        await asyncio.gather(*turns)
        await asyncio.sleep(max(0.0, began_s + self._seconds - time.monotonic()))

    async def _turn(self, claimed_ms: list[float]) -> None:
        oldest, held = self._open.popleft()
        _, after_s = await asyncio.gather(self._crew.hang_up(oldest, held), self._ring())
        claimed_ms.append(after_s * 1000)

    async def _ring(self) -> float:
        self._rung += 1
        call_id = f"c_scale_{self._rung:08d}"
        held, after_s = await self._crew.ring(call_id)
        self._open.append((call_id, held))
        return after_s

    async def _used(self, meanwhile: Awaitable[None]) -> Used:
        before, began_s = self._cpu_s(), time.monotonic()
        await meanwhile
        took_s, after = time.monotonic() - began_s, self._cpu_s()
        redis, load = ((end - begin) / took_s for begin, end in zip(before, after, strict=True))
        return Used(round(redis, 5), round(load, 5))

    def _cpu_s(self) -> tuple[float, float]:
        return cpu_s(self._valkey_pid), cpu_s(os.getpid())

    async def _memory_bytes(self) -> int:
        lines = (await self._wire.call("INFO", "memory")).decode().splitlines()
        return next(int(line.partition(":")[2]) for line in lines if line.startswith("used_memory:"))


async def main(url: str, valkey_pid: int, seconds: float, steps: list[tuple[int, int]]) -> None:
    """Take the steps."""

    def told(calls: int) -> None:
        print(msgspec.json.encode({"opened": calls}).decode(), flush=True)

    capacity = max(-(-calls // workers) for workers, calls in steps) + 10
    async with Wire.from_url(url, timeout_s=10.0, name="scale") as wire, Crew(url, capacity) as crew:
        scale = Scale(crew, wire, valkey_pid, seconds)
        for workers, calls in steps:
            print(msgspec.json.encode(await scale.step(workers, calls, told)).decode(), flush=True)
        print(msgspec.json.encode({"weights": await scale.weigh()}).decode(), flush=True)


if __name__ == "__main__":
    _, url_, pid_, seconds_, *steps_ = sys.argv
    pairs = [(int(workers), int(calls)) for workers, calls in (step.split(":") for step in steps_)]
    try:
        uvloop.run(main(url_, int(pid_), float(seconds_), pairs))
    except PagelineError as error:
        sys.exit(f"the load: {error}")
