"""Everything that is not a process of ours: time, Redis, Meta, the postman, the weather between them."""

import random
from collections.abc import Callable
from typing import Any

from shared.clock import Clock
from tests.simulation.cable import Weather
from tests.simulation.callees import Callees
from tests.simulation.graph import Temper
from tests.simulation.media import Air
from tests.simulation.memory_redis import MemoryRedis
from tests.simulation.meta import Event
from tests.simulation.plants import Plant
from tests.simulation.postman import Postman
from tests.simulation.queues import Queues
from tests.simulation.trace import Trace
from tests.simulation.virtual_loop import START_UNIX_S, VirtualLoop, current
from tests.simulation.watch import Watch


class World:
    """What a seed makes of the world; nothing in it happens without `loop`."""

    def __init__(self, seed: int, post: Callable[[bytes, bytes], Any], plant: Plant) -> None:
        self.seed = seed
        self.plant = plant
        self.chance = random.Random(seed)
        self.loop = VirtualLoop(self.chance)
        self.trace = Trace(self.loop.time, current)
        self.loop.on_error = self.trace.take_error
        self.server = MemoryRedis(lambda: int((START_UNIX_S + self.loop.time()) * 1_000_000), edit=plant.edit)
        self.queues = Queues(self.server, self.loop.time, self.trace)
        self.weather = Weather()
        self.temper = Temper()
        self.postman = Postman(self.loop, self.chance, self.trace, post)
        self.meta = Callees(self.loop, self.chance, self.trace, self._send)
        self.air = Air(self.loop, self.meta, self.chance)
        self.watch = Watch(self.server, self.trace, self.meta)
        self.postman.on_post = self.watch.posted
        self.air.on_packet = self.watch.packet

    def outside(self, after_s: float, do: Callable[..., None], *args: Any) -> None:
        """Have something done by nobody's process."""
        self.loop.call_later(after_s, do, *args, context=self.loop.outside.context)

    def _send(self, event: Event, page: str) -> None:
        self.postman.send(event, page)


class WorldClock(Clock):
    """The time in the simulation, as the process that asks sees it: wall clocks differ."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def unix_ms(self) -> int:
        """See `Clock`."""
        return int((START_UNIX_S + self._loop.time()) * 1000) + current().clock_off_ms

    def boot_ms(self) -> int:
        """See `Clock`."""
        return int(self._loop.time() * 1000)

    def monotonic_s(self) -> float:
        """See `Clock`."""
        return self._loop.time()
