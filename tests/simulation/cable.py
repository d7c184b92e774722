"""A process's connection to the memory server, with the troubles of a real one.

Commands arrive in order and are answered in order, each after its own delay. A connection that breaks fails everything
in flight; what had arrived was carried out, what had not was not - or, rarely, still is, later, when its sender has
long given it up. A cut line is silent: nobody knows before the time limit.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.errors import RedisAway
from shared.wire import LONGEST_PAUSE_S, PATIENCE_S, Reply
from tests.simulation.memory_redis import GiveUp, MemoryRedis
from tests.simulation.memory_wire import MemoryWire, Step, settle
from tests.simulation.virtual_loop import VirtualLoop

TIMEOUT_S = 2.0
HEALED_S = 0.05
"""After a cut, what was held up arrives."""


@dataclass
class Weather:
    """How much goes wrong between processes and Redis, each rate per command."""

    lost_request: float = 0.0
    lost_reply: float = 0.0
    arrives_late: float = 0.0
    slow: float = 0.0
    slowest_s: float = 0.0
    down_until_s: float = 0.0
    """Redis itself is away until then."""


@dataclass
class Line:
    """The way between one process and Redis."""

    cut_until_s: float = 0.0
    cables: list["Cable"] = field(default_factory=list)
    fuse: int = 0
    """After so many more of its steps are done - the reply not yet there - the process meets its fate."""
    on_burnt: Callable[[], None] = lambda: None

    def burn(self) -> None:
        """Count a step."""
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                self.on_burnt()


class _Item:
    """A command on its way."""

    __slots__ = ("arrived", "connection", "future", "give_up", "limit", "step")

    def __init__(self, step: Step, future: asyncio.Future[Reply], connection: int) -> None:
        self.step = step
        self.future = future
        self.connection = connection
        self.arrived = False
        self.limit: asyncio.TimerHandle | None = None
        self.give_up: GiveUp | None = None


class Cable(MemoryWire):
    """See the module."""

    def __init__(
        self, server: MemoryRedis, loop: VirtualLoop, chance: random.Random, weather: Weather, line: Line
    ) -> None:
        super().__init__(server)
        self._virtual = loop
        self._chance = chance
        self._weather = weather
        self._line = line
        self._connection = 0
        self._back_s = 0.0
        self._last_out_s = self._last_in_s = 0.0
        self._in_flight: dict[_Item, None] = {}
        line.cables.append(self)

    @property
    def connected(self) -> bool:
        """See `Wire`."""
        return self._virtual.time() >= self._back_s

    async def restored(self, within_s: float) -> None:
        """See `Wire`."""
        await asyncio.sleep(min(within_s, max(0.0, self._back_s - self._virtual.time())))

    def carry(self, step: Step, future: asyncio.Future[Reply], timeout_s: float | None) -> None:
        """Bring a step to the server and its answer back."""
        now_s, limit_s = self._virtual.time(), timeout_s or TIMEOUT_S
        if now_s >= self._back_s:
            self._send_off(step, future, limit_s)
        elif now_s + PATIENCE_S >= self._back_s:
            self._virtual.call_at(self._back_s, self.carry, step, future, limit_s)
        else:
            self._virtual.call_later(PATIENCE_S, _give_up, future, "the connection is being restored")

    def hang_up(self) -> None:
        """Break the connection: everything in flight fails."""
        now_s, outside = self._virtual.time(), self._virtual.outside.context
        self._connection += 1
        self._back_s = max(now_s, self._line.cut_until_s, self._weather.down_until_s) + self._chance.uniform(
            0.02, LONGEST_PAUSE_S
        )
        self._last_out_s = self._last_in_s = self._back_s
        for item in tuple(self._in_flight):
            self._forget(item)
            if item.give_up is not None:
                item.give_up()
            if not item.arrived and self._chance.random() < self._weather.arrives_late:
                late_s = self._chance.uniform(0.1, 4.0)
                self._virtual.call_later(late_s, item.step, _nobody_listens, context=outside)
            _give_up(item.future, "the connection broke")

    def _send_off(self, step: Step, future: asyncio.Future[Reply], limit_s: float) -> None:
        item = _Item(step, future, self._connection)
        self._in_flight[item] = None
        self._last_out_s = max(self._last_out_s, self._virtual.time() + self._delay_s())
        item.limit = self._virtual.call_later(limit_s, self._overdue, item)
        self._virtual.call_at(self._last_out_s, self._arrive, item, context=self._virtual.outside.context)

    def _arrive(self, item: _Item) -> None:
        if item.connection != self._connection:
            return
        if self._virtual.time() < self._line.cut_until_s:
            healed_s = self._line.cut_until_s + HEALED_S
            self._virtual.call_at(healed_s, self._arrive, item, context=self._virtual.outside.context)
        elif self._chance.random() < self._weather.lost_request:
            self.hang_up()
        else:
            item.arrived = True
            item.give_up = item.step(lambda reply: self._send_back(item, reply))
            self._line.burn()

    def _send_back(self, item: _Item, reply: Reply | Exception) -> None:
        if item.connection != self._connection:
            return
        if self._chance.random() < self._weather.lost_reply:
            self.hang_up()
            return
        self._last_in_s = max(self._last_in_s, self._virtual.time() + self._delay_s())
        self._virtual.call_at(self._last_in_s, self._deliver, item, reply, context=self._virtual.outside.context)

    def _deliver(self, item: _Item, reply: Reply | Exception) -> None:
        if item.connection != self._connection:
            return
        if self._virtual.time() < self._line.cut_until_s:
            healed_s = self._line.cut_until_s + HEALED_S
            self._virtual.call_at(healed_s, self._deliver, item, reply, context=self._virtual.outside.context)
            return
        self._forget(item)
        settle(item.future, reply)

    def _overdue(self, item: _Item) -> None:
        if item.connection == self._connection and item in self._in_flight:
            self.hang_up()

    def _forget(self, item: _Item) -> None:
        self._in_flight.pop(item, None)
        if item.limit is not None:
            item.limit.cancel()

    def _delay_s(self) -> float:
        if self._chance.random() < self._weather.slow:
            return self._chance.uniform(0.0, self._weather.slowest_s)
        return self._chance.uniform(0.0002, 0.002)


def _give_up(future: asyncio.Future[Reply], why: str) -> None:
    if not future.done():
        future.set_exception(RedisAway(f"simulated Redis: {why}"))


def _nobody_listens(_reply: Reply | Exception) -> None:
    """The connection on which this would go back is gone."""
