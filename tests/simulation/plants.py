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
    lua: tuple[tuple[str, str], ...] = ()
    bus: type[SimBus] = SimBus
    """What media workers use."""
    webhook: type[Webhook] = Webhook

    def edit(self, source: bytes) -> bytes:
        """Return a script with the bug in it."""
        for sound, broken in self.lua:
            source = source.replace(sound.encode(), broken.encode())
        return source


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
    Plant("a fence that grants twice", lua=(("if h[3] ~= token then return 'refused' end", "h[3] = token"),)),
    Plant("a fence that forgets epochs", lua=(("if h[1] ~= epoch or h[4]", "if h[4]"),)),
    Plant(
        "a beat that loses the calls of the dead",
        lua=(("      place(call)\n    end\n  end\n  if", "    end\n  end\n  if"),),
    ),
    Plant(
        "a route that takes what old epochs say", lua=(("if epoch ~= '0' and epoch ~= current then", "if false then"),)
    ),
    Plant(
        "deadlines that never pass", lua=(("if h[1] == 'open' then\n    local fact", "if false then\n    local fact"),)
    ),
    Plant(
        "a close that keeps the slot",
        lua=(("redis.call('SREM', owned(worker), call)\nredis.call('ZREM'", "redis.call('ZREM'"),),
    ),
    Plant("a worker that ignores its lease", bus=Deaf),
    Plant("an ingress that says 200 too early", webhook=Polite),
)
