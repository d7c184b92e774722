"""Bugs to plant, each of which the checkers must find: a simulation that finds nothing proves nothing otherwise."""

import contextlib
from dataclasses import dataclass
from typing import Final

from ingress.webhook import Webhook
from shared.errors import LeaseLost
from tests.simulation.queues import SimBus


@dataclass(frozen=True)
class Plant:
    """A change to the product: Lua text replaced, or a class that misbehaves."""

    name: str
    kind: str = ""
    """The troubles that bring it to light soonest (`faults.KINDS`); any where it is empty."""
    handler: str = ""
    """The handler (`scripts`) that brings it to light soonest; most calls are for it."""
    lua: tuple[str, str] = ("", "")
    """Text of a step, and what stands there instead."""
    bus: type[SimBus] = SimBus
    """What media workers use."""
    webhook: type[Webhook] = Webhook

    def edit(self, source: bytes) -> bytes:
        """Return a script with the bug in it."""
        sound, broken = self.lua
        return source.replace(sound.encode(), broken.encode()) if sound else source


class Deaf(SimBus):
    """Does not hear that its worker lost its lease."""

    async def beat(
        self, worker: str = "", *, lease_ms: int, capacity: int | None = None, join: bool = False, handled: str = ""
    ) -> int:
        """See `Bus.beat`."""
        with contextlib.suppress(LeaseLost):
            return await super().beat(worker, lease_ms=lease_ms, capacity=capacity, join=join, handled=handled)
        return self.now_ms()


class Polite(Webhook):
    """Says 200 whatever happened."""

    async def take(self, body: bytes, signed: bytes | None) -> int:
        """See `Webhook.take`."""
        await super().take(body, signed)
        return 200


NOTHING: Final = Plant("nothing")

PLANTS: Final = (
    Plant("a fence that grants twice", kind="graph", lua=("redis.call('HSET', key, 'accept', token)", "")),
    Plant(
        "a farewell that bars no accept",
        kind="graph",
        handler="lose_patience",
        lua=("redis.call('HSET', key, 'accept', 'barred')", "redis.call('HSETNX', key, 'accept', 'barred')"),
    ),
    Plant("a fence that forgets epochs", kind="orphans", lua=("if h[1] ~= epoch or h[4]", "if h[4]")),
    Plant(
        "a beat that loses the calls of the dead", kind="media", lua=("      place(call)\n    end\n  end", "end end")
    ),
    Plant(
        "a route that takes what old epochs say",
        kind="media",
        lua=("if epoch ~= '0' and epoch ~=", "if epoch == nil and epoch ~="),
    ),
    Plant(
        "deadlines that never pass",
        kind="calm",
        handler="sleep",
        lua=("if h[1] == 'open' then\n    local", "if nil then local"),
    ),
    Plant(
        "a close that keeps the slot",
        kind="calm",
        lua=("leave_slot(worker, call)\nredis.call('ZREM', P .. 'due'", "redis.call('ZREM', P .. 'due'"),
    ),
    Plant(
        "a close that forgets what is owed", kind="calm", handler="talk", lua=("redis.call('ZADD', P .. 'owed'", "--")
    ),
    Plant("a worker that ignores its lease", kind="frozen", handler="talk", bus=Deaf),
    Plant(
        "a shelf that no deadline reaches",
        kind="calm",
        handler="talk",
        lua=("redis.call('ZADD', P .. 'due', ARGV[6], call)", "redis.call('ZREM', P .. 'due', call)"),
    ),
    Plant(
        "a search that finds nobody",
        kind="doubt",
        handler="talk",
        lua=("return h[1] == 'open' and not h[3]", "return nil and not h[3]"),
    ),
    Plant("an id that is not bound", kind="calm", handler="talk", lua=("redis.call('HSET', alias, 'as', call)", "")),
    Plant(
        "an adoption that forgets what was heard before",
        kind="calm",
        handler="talk",
        lua=("tell(call, said, 0)\n      joined", "joined"),
    ),
    Plant("an ingress that says 200 too early", kind="redis", webhook=Polite),
)
