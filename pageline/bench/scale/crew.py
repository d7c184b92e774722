"""Light media workers: what real ones say to Redis, by the same steps, without any sound."""

import asyncio
import contextlib
import random
import resource
import time
from collections import Counter
from typing import Final, NamedTuple, Self

from pageline.bench.console.planted import SDP
from shared import quality
from shared.bus import Bus
from shared.calls import facts
from shared.quality import SAMPLE_EVERY_S, Sample
from shared.wire import Wire

LEASE_MS: Final = 6_000
BEAT_EVERY_S: Final = 1.0
PAGE: Final = "106378625516323"
DESCRIPTORS_PER_WORKER: Final = 2
SPARE_DESCRIPTORS: Final = 256
TIMEOUT_S: Final = 10.0
SAMPLES_AT_ONCE: Final = 25
RETENTION_HOURS: Final = 48

SAMPLE: Final = Sample(
    packets_received=250.0,
    packets_lost=1.0,
    packets_sent=250.0,
    jitter_ms=4.1,
    round_trip_ms=62.0,
    jitter_buffer_ms=41.0,
    played_ms=5000.0,
    concealed_ms=20.0,
    peer_lost=0.0,
    peer_lost_of=250.0,
    mos_estimate=4.31,
    sent_mos_estimate=4.36,
)


class Held(NamedTuple):
    """A call that a worker of the crew owns."""

    worker: "Worker"
    epoch: int
    at_s: float
    """When its claim arrived, on the clock of `time.monotonic`."""


class Worker:
    """One of the crew: two connections, a beat each second, an inbox that it follows."""

    def __init__(self, name: str, crew: "Crew") -> None:
        self.name = name
        self._crew = crew
        self.calls: set[str] = set()
        self.late_s = 0.0
        """The longest between two beats that were confirmed, beyond what is meant."""
        self._wire = Wire.from_url(crew.url, timeout_s=TIMEOUT_S, name=name)
        self._inbox = Wire.from_url(crew.url, timeout_s=TIMEOUT_S, name=name, only_reads=True)
        self._tasks: list[asyncio.Task[None]] = []
        self._handled = ""
        self.bus = Bus(self._wire, retention_hours=RETENTION_HOURS)

    async def join(self) -> Self:
        """Connect, and take calls from now on."""
        await asyncio.gather(self._wire.connect(), self._inbox.connect())
        await self.bus.beat(self.name, lease_ms=LEASE_MS, capacity=self._crew.capacity, join=True)
        self._tasks = [asyncio.create_task(self._beat()), asyncio.create_task(self._follow())]
        self._tasks.append(asyncio.create_task(self._sample()))
        return self

    async def leave(self) -> None:
        """Stop; what a task failed of is raised."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.gather(self._wire.close(), self._inbox.close())

    async def _beat(self) -> None:
        await asyncio.sleep(random.uniform(0, BEAT_EVERY_S))
        last_s = time.monotonic()
        while True:
            await self.bus.beat(self.name, lease_ms=LEASE_MS, capacity=self._crew.capacity, handled=self._handled)
            now_s = time.monotonic()
            self.late_s, last_s = max(self.late_s, now_s - last_s - BEAT_EVERY_S), now_s
            await asyncio.sleep(BEAT_EVERY_S)

    async def _follow(self) -> None:
        async for deliveries in Bus(self._inbox).follow(self.name):
            for delivery in deliveries:
                self._handled = delivery.id
                if isinstance(delivery.fact, facts.Claimed):
                    self.calls.add(delivery.call_id)
                    held = Held(self, delivery.fact.epoch, time.monotonic())
                    self._crew.claimed[delivery.call_id].set_result(held)

    async def _sample(self) -> None:
        await asyncio.sleep(random.uniform(0, SAMPLE_EVERY_S))
        while True:
            calls = list(self.calls) if self._crew.samples else []
            for first in range(0, len(calls), SAMPLES_AT_ONCE):
                taken = dict.fromkeys(calls[first : first + SAMPLES_AT_ONCE], SAMPLE)
                await quality.add(self._wire, taken, Counter(), kept_hours=RETENTION_HOURS)
                self._crew.samples_written += len(taken)
            await asyncio.sleep(SAMPLE_EVERY_S)


class Crew:
    """Workers, and the calls that come to them."""

    def __init__(self, url: str, capacity: int) -> None:
        self.workers: list[Worker] = []
        self.samples = False
        """Whether workers write how their calls sound."""
        self.samples_written = 0
        self.url = url
        self.capacity = capacity
        self.claimed: dict[str, asyncio.Future[Held]] = {}
        self._web = Wire.from_url(url, timeout_s=TIMEOUT_S, name="scale-web")
        self._action = Wire.from_url(url, timeout_s=TIMEOUT_S, name="scale-action")
        self._meta = Bus(self._web, retention_hours=RETENTION_HOURS)
        self._fence = Bus(self._action, retention_hours=RETENTION_HOURS)

    async def __aenter__(self) -> Self:
        await asyncio.gather(self._web.connect(), self._action.connect())
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(worker.leave() for worker in self.workers))
        await asyncio.gather(self._web.close(), self._action.close())

    async def grow(self, size: int) -> None:
        """Let workers join until there are so many."""
        names = [f"scale-{number}" for number in range(len(self.workers), size)]
        wanted = DESCRIPTORS_PER_WORKER * size + SPARE_DESCRIPTORS
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(wanted, hard)), hard))
        for name in names:
            self.workers.append(await Worker(name, self).join())

    async def ring(self, call_id: str) -> tuple[Held, float]:
        """Let a call come and be talked over; return who holds it, and after how many seconds it was claimed."""
        claimed = self.claimed[call_id] = asyncio.get_running_loop().create_future()
        began_s = time.monotonic()
        now_ms = self._meta.now_ms()
        arrived = facts.Arrived(
            page=PAGE,
            consumer=f"52{abs(hash(call_id)) % 10**14:014d}",
            direction="user_initiated",
            sent_at_ms=now_ms,
            answer_by_ms=now_ms + 55_000,
        )
        await self._meta.route(call_id, arrived, identity="connect")
        held = await claimed
        bus, epoch = held.worker.bus, held.epoch
        await bus.route(call_id, facts.HandlerStarted(handler="scale", epoch=epoch))
        await bus.route(call_id, facts.OfferMade(sdp=SDP, epoch=epoch))
        await self._fence.fence(call_id, epoch, "accept", call_id)
        await self._fence.route(call_id, facts.AnswerReceived(sdp=SDP, renegotiation=SDP, graph_ms=250, epoch=epoch))
        await bus.arm(call_id, held.worker.name, epoch, now_ms + 600_000, seq=6)
        await bus.route(call_id, facts.LegConnected(setup_ms=120, epoch=epoch))
        return held, held.at_s - began_s

    async def hang_up(self, call_id: str, held: Held) -> None:
        """Let the consumer of a call hang up, and its worker close it."""
        await self._meta.route(call_id, facts.Terminated(status="completed", duration_s=180), identity="terminate")
        bus, worker, epoch = held.worker.bus, held.worker, held.epoch
        worker.calls.discard(call_id)
        await bus.route(call_id, facts.HandlerEnded(how="cancelled", epoch=epoch))
        await bus.route(call_id, facts.LegClosed(packets_received=9000, packets_sent=9000, epoch=epoch))
        await bus.done(call_id, worker.name, epoch, "completed", owes_metrics=True, answer_ms=370)
        del self.claimed[call_id]
