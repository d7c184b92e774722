"""What RQ and our pool worker promise of jobs, without either: unique ids, urgent first, at least once and once more.

A job whose worker died, or could not say that it lives, is enqueued again within seconds, as long as it has a
retry left (`workers/action/pool.py`). The state is the server's; the action worker reaches it through its wire, like
everything else.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from shared.bus import Bus
from shared.errors import RedisAway
from shared.jobs import QUEUES, RETRIES
from shared.wire import Reply, Wire, patiently
from tests.simulation.memory_redis import MemoryRedis
from tests.simulation.memory_wire import TAKE_BLOCK_S
from tests.simulation.trace import Trace

BEAT_EVERY_S: Final = 1.0
ALIVE_FOR_S: Final = 4.0
MAINTAINED_EVERY_S: Final = 2.0
PAUSE_S: Final = 0.1


def ignore(_call_id: str) -> None:
    """Do nothing about a new job."""


@dataclass
class Job:
    """One job, from when it was enqueued."""

    id: str
    queue: str
    args: list[str | int]
    retries_left: int
    waiting: bool = True
    beaten_s: float = 0.0


class Queues:
    """The server's side: commands for the memory server."""

    def __init__(self, server: MemoryRedis, time_s: Callable[[], float], trace: Trace) -> None:
        self.jobs: dict[str, Job] = {}
        self.unfinished: dict[str, Job] = {}
        self.failed: list[str] = []
        self.on_order: Callable[[str], None] = ignore
        """Told of each new job's call."""
        self._server = server
        self._time_s = time_s
        self._trace = trace
        for command in (self.enqueue, self.take, self.beat, self.finish, self.fail, self.maintain):
            server.learn(f"job.{command.__name__}", command)

    def enqueue(self, queue: bytes, job_id: bytes, args: bytes) -> Reply:
        """Enqueue a job, unless its id is known."""
        name = job_id.decode()
        if name in self.jobs:
            return 0
        self.jobs[name] = self.unfinished[name] = Job(
            name, queue.decode(), msgspec.json.decode(args), RETRIES[queue.decode()]
        )
        self._server.ring(b"job.take")
        self.on_order(str(self.jobs[name].args[0]))
        return 1

    def take(self) -> Reply:
        """Give out the most urgent job."""
        for queue in QUEUES:
            for job in self.unfinished.values():
                if job.waiting and job.queue == queue:
                    job.waiting, job.beaten_s = False, self._time_s()
                    return [job.id.encode(), msgspec.json.encode(job.args)]
        return None

    def beat(self, *job_ids: bytes) -> Reply:
        """Note that these are still being worked on."""
        for job_id in job_ids:
            if (job := self.unfinished.get(job_id.decode())) is not None:
                job.beaten_s = self._time_s()
        return len(job_ids)

    def finish(self, job_id: bytes) -> Reply:
        """Note that a job is done."""
        return int(self.unfinished.pop(job_id.decode(), None) is not None)

    def fail(self, job_id: bytes) -> Reply:
        """Note that a job raised: it is enqueued again at once, or kept as failed."""
        return self._again(job_id.decode(), "it raised")

    def maintain(self) -> Reply:
        """Enqueue the jobs of dead workers again."""
        dead = [j for j in self.unfinished.values() if not j.waiting and self._time_s() - j.beaten_s > ALIVE_FOR_S]
        return sum(self._again(job.id, "its worker died") for job in dead)

    def _again(self, job_id: str, because: str) -> int:
        job = self.unfinished.pop(job_id, None)
        if job is None:
            return 0
        if not job.retries_left:
            self._trace.note(f"job {job_id} failed for good: {because}", who="queues")
            self.failed.append(job_id)
            return 0
        self._trace.note(f"job {job_id} again: {because}", who="queues")
        job.retries_left -= 1
        job.waiting = True
        self.unfinished[job_id] = job
        self._server.ring(b"job.take")
        return 1


class SimBus(Bus):
    """The bus, with jobs going to `Queues`."""

    async def enqueue(
        self, queue: str, function: str, args: Sequence[str | int], *, job_id: str, within_s: int
    ) -> None:
        """See `Bus.enqueue`."""
        await self.wire.call("job.enqueue", queue, job_id, msgspec.json.encode(list(args)))


class Pool:
    """The worker's side: takes jobs and runs each as a task, as `workers.action.pool` does."""

    def __init__(
        self, wire: Wire, perform: Callable[[list[str | int]], Awaitable[str]], chance: random.Random, trace: Trace
    ) -> None:
        self._wire = wire
        self._perform = perform
        self._chance = chance
        self._trace = trace
        self._running: dict[str, asyncio.Task[None]] = {}

    async def serve(self) -> None:
        """Work for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(self._maintain())
            await self._fetch()

    async def _fetch(self) -> None:
        while True:
            try:
                taken = await self._wire.call("job.take", timeout_s=TAKE_BLOCK_S + 2)
            except RedisAway:
                continue  # the next command waits for the wire to return
            if taken is None:
                continue
            job_id, args = taken[0].decode(), msgspec.json.decode(taken[1])
            if job_id not in self._running:
                self._running[job_id] = asyncio.create_task(self._run(job_id, args))

    async def _run(self, job_id: str, args: list[str | int]) -> None:
        try:
            verdict, ending = await self._perform(args), "job.finish"
        except Exception as error:
            self._trace.note(f"error job.raised {job_id} {error!r}")
            self._trace.violated(f"nothing crashes: job.raised {job_id} {error!r}")
            verdict, ending = "raised", "job.fail"
        self._trace.note(f"job {job_id} {verdict}")
        await patiently(lambda: self._wire.call(ending, job_id), pause_s=PAUSE_S)
        del self._running[job_id]

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_EVERY_S)
            with contextlib.suppress(RedisAway):
                await self._wire.call("job.beat", *self._running)

    async def _maintain(self) -> None:
        while True:
            with contextlib.suppress(RedisAway):
                await self._wire.call("job.beat", *self._running)
                await self._wire.call("job.maintain")
            await asyncio.sleep(MAINTAINED_EVERY_S * self._chance.uniform(0.75, 1.25))
