"""What only a call that we place asks of Redis: the shelf, the withdrawal, and what became of its `connect`."""

import functools

from shared.bus import Bus, Fenced
from shared.calls import facts, state
from shared.outbound import Outbound
from workers.media.teller import Teller


class Placer(Teller):
    """Carries out those orders for one call under one epoch."""

    def __init__(self, call_id: str, epoch: int, *, bus: Bus, worker: str) -> None:
        super().__init__(call_id, epoch, bus=bus)
        self._worker = worker
        self._outbound = Outbound(bus)
        self.shelved = False

    async def shelve(self, seq: int, deadline_ms: int) -> None:
        """Let go of the call, unless something happened to it since entry `seq` of its log."""
        shelve = functools.partial(self._outbound.shelve, seq=seq, deadline_ms=deadline_ms)
        self.shelved = await self.insist(lambda: shelve(self.call_id, self._worker, self.epoch))
        if self.shelved:
            self.lease_lost.set()

    async def withdraw(self) -> None:
        """Bar our `connect`; where it was granted before, that fact is in the log already."""
        fenced = await self.insist(lambda: self._bus.fence(self.call_id, self.epoch, "withdraw", "withdraw"))
        if fenced is Fenced.GO:
            self.say(facts.ActionSettled(action="withdraw"))

    async def seek(self, call: state.Call, for_ms: int) -> None:
        """Find the call that Meta may have made of our `connect`, now or when it shows."""
        seek = functools.partial(self._outbound.seek, self.call_id, call.page, call.consumer, for_ms=for_ms)
        await self.insist(seek)
