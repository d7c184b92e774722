"""The simulated processes: the product's own code, each on a machine that starts it again when it ends."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ingress.webhook import Webhook
from shared.bus import Bus
from shared.errors import LeaseLost, RedisAway
from shared.outbound import Outbound
from shared.settings import Settings
from tests.simulation import scripts
from tests.simulation.cable import Cable, Line
from tests.simulation.graph import Request, SimGraph
from tests.simulation.postman import SECRET
from tests.simulation.queues import Pool, SimBus
from tests.simulation.virtual_loop import Process, current
from tests.simulation.watch import TICK_S
from tests.simulation.world import World
from workers.action.jobs import Desk, act
from workers.media.host import Host
from workers.media.worker import Worker

SETTINGS: Final = Settings(
    meta_app_secret=SECRET,
    meta_verify_token="simulated",
    page_tokens=",".join(f"{page}=token" for page in scripts.SCRIPTS),
    media_capacity=4,
    drain_seconds=8,
    lease_seconds=6,
)
THAWED_FOR_S: Final = 1.0

_job: contextvars.ContextVar[tuple[str, int]] = contextvars.ContextVar("job")


@dataclass(eq=False)
class Machine:
    """Keeps one process running, as `pageline up` does."""

    world: World
    name: str
    life: "Life"
    clock_off_ms: int = 0
    started: int = 0
    process: Process | None = None
    line: Line | None = None
    stop: asyncio.Event | None = None
    webhook: Webhook | None = None
    outbound: Outbound | None = None

    def start(self) -> None:
        """Start the process, unless it runs."""
        if self.process is not None:
            return
        self.started += 1
        self.process = Process(f"{self.name}.{self.started}", clock_off_ms=self.clock_off_ms)
        self.line = Line()
        self.stop = asyncio.Event()
        self.world.trace.note(f"starts {self.process}", who="machine")
        self.world.loop.spawn(self.process, self._live(self.process))

    def kill(self, why: str, *, again_after_s: float) -> None:
        """End the process as SIGKILL does, and start it again later."""
        if self.process is None or self.line is None:
            return
        self.world.trace.note(f"{self.process} is gone: {why}", who="machine")
        self.world.loop.kill(self.process)
        for cable in self.line.cables:
            cable.hang_up()
        self.process = self.webhook = self.outbound = None
        self.world.outside(again_after_s, self.start)

    def freeze(self) -> None:
        """Stop the process as SIGSTOP does."""
        if self.process is not None and not self.process.frozen:
            self.world.trace.note(f"{self.process} freezes", who="machine")
            self.world.loop.freeze(self.process)

    def thaw(self) -> None:
        """Let it go on."""
        if self.process is not None and self.process.frozen:
            self.world.trace.note(f"{self.process} thaws", who="machine")
            self.world.loop.thaw(self.process)

    def cable(self) -> Cable:
        """Make a connection of the process's to Redis."""
        assert self.line is not None
        world = self.world
        return Cable(world.server, world.loop, world.chance, world.weather, self.line)

    async def _live(self, process: Process) -> None:
        try:
            await self.life(self)
            ending = "it has ended"
        except* (LeaseLost, RedisAway) as errors:
            ending = f"{errors.exceptions[0]!r}"
        except* Exception as errors:
            ending = f"{errors.exceptions[0]!r}"
            self.world.trace.violated(f"nothing crashes: {process} {ending}")
        self.world.outside(0, self._ended, process, ending)

    def _ended(self, process: Process, ending: str) -> None:
        if self.process is process:
            self.kill(ending, again_after_s=self.world.chance.uniform(0.5, 2.0))


Life: TypeAlias = Callable[[Machine], Coroutine[Any, Any, None]]


async def web(machine: Machine) -> None:
    """Be an ingress process."""
    bus = SimBus(machine.cable())
    machine.webhook = machine.world.plant.webhook(bus, SETTINGS)
    machine.outbound = Outbound(bus)
    await bus.look_after(lease_ms=SETTINGS.lease_ms)


async def media(machine: Machine) -> None:
    """Be a media worker."""
    assert machine.process is not None
    assert machine.stop is not None
    loop = asyncio.get_running_loop()
    worker = Worker(
        SETTINGS,
        bus=machine.world.plant.bus(machine.cable()),
        inbox=Bus(machine.cable()),
        host=Host(loop, loop),
        casting=scripts.Casting(),
        make_leg=machine.world.air.leg,
        tick_s=TICK_S,
    )
    worker.name = machine.process.name
    await worker.run(machine.stop)


async def action(machine: Machine) -> None:
    """Be an action worker."""
    world, line = machine.world, machine.line
    assert line is not None
    watch = world.watch

    def sent(request: Request) -> None:
        thawed_s = current().thawed_s
        thawed = thawed_s >= 0 and world.loop.time() - thawed_s < THAWED_FOR_S
        watch.sent(request, thawed=thawed)

    graph = SimGraph(
        world.loop,
        world.meta,
        world.temper,
        world.chance,
        world.trace,
        job=_job.get,
        on_request=sent,
        on_arrival=line.burn,
        on_attempt=watch.concluded,
    )
    bus = SimBus(machine.cable())
    desk = Desk(bus=bus, graph=graph, tokens=SETTINGS.page_token_by_page)

    async def perform(args: list[Any]) -> str:
        _job.set((args[0], args[3]))
        return await act(desk, *args)

    pool = Pool(machine.cable(), perform, world.chance, world.trace)
    async with asyncio.TaskGroup() as group:
        group.create_task(bus.look_after(lease_ms=SETTINGS.lease_ms))
        group.create_task(pool.serve())
