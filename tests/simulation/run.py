"""One run of one seed: a world, its processes, consumers that call, troubles that come and go, and the verdict."""

import asyncio
import gc
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import structlog

from shared import clock
from shared.bus import Bus
from shared.calls import facts
from tests.simulation import processes, scripts
from tests.simulation.faults import OUTAGES, Troubles
from tests.simulation.memory_wire import MemoryWire
from tests.simulation.outgoing import RING_S
from tests.simulation.plants import NOTHING, Plant
from tests.simulation.processes import Machine
from tests.simulation.trace import MARK
from tests.simulation.virtual_loop import START_UNIX_S, Stuck
from tests.simulation.world import World, WorldClock

TROUBLED_FOR_S: Final = 48.0
CALLS_BEGIN_WITHIN_S: Final = 32.0
SETTLED_WITHIN_S: Final = 900.0
"""A farewell that was lost with its job is given up after ten minutes."""
AT_MOST_STEPS: Final = 2_000_000
SOUNDS_ON_S: Final = 6.0
"""A leg may sound that long after its call was closed: it is being closed itself, or its worker does not know yet."""


@dataclass
class Result:
    """What became of a run."""

    seed: int
    violations: list[str]
    trace: list[str]
    outcomes: dict[str, int] = field(default_factory=dict)
    lasted_s: float = 0.0
    steps: int = 0

    def report(self, *, tail: int = 60) -> str:
        """Say what was broken, how it came to that, and how to see it again."""
        broken = "\n".join(f"  {violation}" for violation in self.violations)
        until = next((number for number, line in enumerate(self.trace) if MARK in line), len(self.trace)) + 5
        shown = "\n".join(self.trace[max(0, until - tail) : until])
        return (
            f"seed {self.seed} broke:\n{broken}\nits trace until then:\n{shown}\nagain: make simulate SEED={self.seed}"
        )


class Run:
    """See the module."""

    def __init__(self, seed: int, plant: Plant) -> None:
        self.world = World(seed, self._post, plant)
        chance = self.world.chance
        lives = [("web", processes.web)] * 2 + [("media", processes.media)] * 3 + [("action", processes.action)] * 2
        self.machines = [
            Machine(self.world, f"{kind}{number}", life, clock_off_ms=chance.randint(-1500, 1500))
            for number, (kind, life) in enumerate(lives, 1)
        ]
        self.placed: list[str] = []
        """Calls that somebody was told we will make."""
        self.placing = 0
        self.troubles = Troubles(self.world, self.machines)
        self.world.meta.on_end = lambda call: self.world.watch.ended(call, self.troubles.excuse_until_s())

    def go(self) -> Result:
        """Run to the end."""
        world, trace = self.world, self.world.trace
        try:
            world.loop.run(self._live(), at_most_steps=AT_MOST_STEPS)
        except Stuck as stuck:
            trace.violated(f"everything comes to an end: {stuck}")
        finally:
            trace.over = True
            world.loop.bury()
        outcomes: dict[str, int] = {}
        for _, story in sorted(world.watch.stories.items()):
            if story.closed_s is None and story.epoch == 0:
                continue  # what was heard under Meta's id of a call that we placed
            outcomes[story.outcome] = outcomes.get(story.outcome, 0) + 1
        return Result(world.seed, trace.violations, trace.lines, outcomes, world.loop.time(), world.loop.steps)

    async def _live(self) -> None:
        world, chance = self.world, self.world.chance
        for machine in self.machines:
            world.outside(chance.uniform(0.0, 1.0), machine.start)
        moments_s = [chance.uniform(0.0, CALLS_BEGIN_WITHIN_S) for _ in range(chance.randint(3, 9))]
        for moment_s in moments_s:
            world.outside(moment_s, self._call)
        for _ in range(chance.choice((0, 1, 2, 4))):
            moments_s.append(chance.uniform(0.0, CALLS_BEGIN_WITHIN_S))
            world.outside(moments_s[-1], self._place)
        self.troubles.plan(TROUBLED_FOR_S, moments_s)
        while world.loop.time() < TROUBLED_FOR_S:
            await asyncio.sleep(1)  # virtual seconds
            self._look_at_legs()
        self.troubles.end()
        census = Bus(MemoryWire(world.server))
        while not await self._is_quiet(census):
            if world.loop.time() > TROUBLED_FOR_S + SETTLED_WITHIN_S:
                self._say_what_is_left()
                return
            await asyncio.sleep(1)  # virtual seconds
            self._look_at_legs()
        await asyncio.sleep(SOUNDS_ON_S + 1)
        self._look_at_legs()
        world.watch.check_in_the_end(world.postman.taken)
        if self.troubles.kind == OUTAGES:
            world.watch.check_nobody_is_lost()

    def _call(self) -> None:
        chance = self.world.chance
        page = chance.choice(scripts.PAGES)
        if self.world.plant.handler and chance.random() < 0.7:
            page = scripts.page_of(self.world.plant.handler)
        patience_s = chance.choice((0.0, chance.uniform(0.0, 1.5), chance.uniform(2.0, 30.0), 90.0, 90.0, 90.0))
        self.world.meta.ring(page, patience_s=patience_s, talks_for_s=chance.uniform(1.0, 25.0))

    def _place(self) -> None:
        """Want a consumer called, until somebody has confirmed that it is wanted."""
        world, chance = self.world, self.world.chance
        page = scripts.page_of(world.plant.handler or chance.choice(scripts.CALLERS))
        callee = world.meta.expect(page)
        placed = facts.Placed(
            page=page,
            consumer=callee.psid,
            call_by_ms=int((START_UNIX_S + world.loop.time() + chance.choice((20.0, 90.0))) * 1000),
            ask_permission=chance.random() < 0.7,
            ring_s=RING_S,
        )
        world.loop.spawn(world.loop.outside, self._insist(placed))

    async def _insist(self, placed: facts.Placed) -> None:
        self.placing += 1
        while True:
            machine = self.world.chance.choice([each for each in self.machines if each.life is processes.web])
            if machine.process is not None and machine.outbound is not None:
                asked = machine.outbound.place(placed, key=placed.consumer)
                task = self.world.loop.spawn(machine.process, asked)
                await asyncio.wait([task], timeout=5)
                if task.done() and task.exception() is None:
                    self.placed.append(task.result())
                    self.placing -= 1
                    return
            await asyncio.sleep(1)  # virtual seconds

    async def _post(self, body: bytes, signature: bytes) -> int | None:
        """Bring a webhook to an ingress process, as a proxy in front of them would; none where no answer came."""
        world = self.world
        machine = world.chance.choice([each for each in self.machines if each.life is processes.web])
        await asyncio.sleep(world.chance.uniform(0.002, 0.05))
        if machine.process is None or machine.webhook is None:
            return None
        task = world.loop.spawn(machine.process, machine.webhook.take(body, signature))
        await asyncio.wait([task], timeout=5)
        if not task.done():
            return None
        if world.chance.random() < world.postman.manners.lost_answer:
            return None
        return task.result()

    # -- liveness ----------------------------------------------------------------------------------------------------

    async def _is_quiet(self, bus: Bus) -> bool:
        world = self.world
        if not (world.postman.idle and not world.queues.unfinished):
            return False
        if self.placing or any(self._left()):
            return False
        census = await bus.census()
        return not census.waiting and not any(worker.held for worker in census.workers)

    def _left(self) -> Iterator[str]:
        """Say of each call what it waits for."""
        world = self.world
        for call in world.meta.calls.values():
            if not call.over:
                yield f"{call.id}: Meta has every call over: it is {call.state}"
            if world.watch.story_of(call).closed_s is None:
                yield f"{call.id}: every call is closed in the end"
        for call_id in self.placed:
            if world.watch.stories[call_id].closed_s is None:
                yield f"{call_id}: every call is closed in the end"

    def _say_what_is_left(self) -> None:
        world, trace = self.world, self.world.trace
        for promise in self._left():
            trace.violated(promise)
        for job_id in world.queues.unfinished:
            trace.violated(f"no job is left: {job_id}")
        if not world.postman.idle:
            trace.violated("every webhook is taken in the end")
        trace.violated("nothing is owned and nothing waits in the end")

    def _look_at_legs(self) -> None:
        world = self.world
        for leg in world.air.legs:
            if leg.live and leg.call is not None and leg.process.alive and not leg.process.frozen:
                closed_s = world.watch.story_of(leg.call).closed_s
                if closed_s is not None and world.loop.time() - closed_s > SOUNDS_ON_S:
                    world.trace.violated(f"{leg.call.id}: a closed call makes no sound")


def run(seed: int, plant: Plant = NOTHING) -> Result:
    """Run one seed, alone in this process meanwhile: the clock, the product's log and chance are the run's."""
    gc.disable()  # a collection at another moment would be another run
    try:
        return _run(seed, plant)
    finally:
        gc.enable()
        gc.collect(0)  # everything the run made is young


def _run(seed: int, plant: Plant) -> Result:
    before = structlog.get_config()
    state = random.getstate()
    try:
        random.seed(seed)
        this = Run(seed, plant)
        clock.use(WorldClock(this.world.loop))
        structlog.configure(processors=[this.world.trace.take_event], cache_logger_on_first_use=False)
        return this.go()
    finally:
        clock.use(clock.SystemClock())
        structlog.configure(**before)
        random.setstate(state)
