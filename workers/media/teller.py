"""Tells Redis what happened to one call, in order, and what Graph is to be asked: until Redis has confirmed it."""

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared import actions
from shared.bus import Bus, Routed
from shared.calls import facts, orders
from shared.errors import RedisAway, RedisForgot
from shared.wire import AGAIN_AFTER_S

T = TypeVar("T")


class Teller:
    """Speaks for one call under one epoch."""

    def __init__(self, call_id: str, epoch: int, *, bus: Bus) -> None:
        self.call_id = call_id
        self.epoch = epoch
        self._bus = bus
        self._facts: asyncio.Queue[facts.Fact] = asyncio.Queue()
        self.lease_lost = asyncio.Event()
        self.forgotten = asyncio.Event()
        """Redis does not know the call any more."""

    def say(self, fact: facts.Fact) -> None:
        """Append a fact to the call's log, under this epoch and after those said before."""
        self._facts.put_nowait(facts.under(fact, self.epoch))

    async def insist(self, step: Callable[[], Awaitable[T]]) -> T:
        """Repeat a step until Redis has confirmed it, and note where it has forgotten the call: it has to be told."""
        while True:
            try:
                return await step()
            except RedisForgot:
                self.forgotten.set()
            except RedisAway:
                pass
            await asyncio.sleep(AGAIN_AFTER_S)

    async def post(self, order: orders.PostAction, page: str) -> None:
        """Give an action to the action worker, while it is of use."""
        while self._bus.now_ms() < order.deadline_ms:
            with contextlib.suppress(RedisAway):
                await actions.post(
                    self._bus,
                    call_id=self.call_id,
                    page=page,
                    action=order.action,
                    epoch=self.epoch,
                    deadline_ms=order.deadline_ms,
                    number=order.number,
                )
                return
            await asyncio.sleep(AGAIN_AFTER_S)

    async def tell_all(self) -> None:
        """Tell what is said, until another worker owns the call."""
        while True:
            fact = await self._facts.get()
            if await self.insist(functools.partial(self._bus.route, self.call_id, fact)) is Routed.STALE:
                self.lease_lost.set()
                return
