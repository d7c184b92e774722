"""One call's orders, carried out on a real Valkey."""

import asyncio
from pathlib import Path

import pytest

from shared.bus import Bus
from shared.calls import facts, orders, state
from shared.errors import HandlerUnusable
from shared.messenger import Messenger
from shared.wire import Wire
from workers.media.handler import Script
from workers.media.host import Host
from workers.media.leg import Leg
from workers.media.performer import Performer
from workers.media.spare_legs import SpareLegs

CALL = "c_1"


def gone(page: str, named: str) -> Script:
    raise HandlerUnusable(f"{named} is in no module that is configured")


@pytest.mark.parametrize("order", [orders.StartHandler(), orders.RunOnLost()], ids=lambda order: type(order).__name__)
async def test_a_handler_that_a_deploy_took_away_is_over_before_it_began(
    redis_url: str, tmp_path: Path, order: orders.Order
) -> None:
    loop = asyncio.get_running_loop()
    async with Wire.from_url(redis_url) as wire:
        bus = Bus(wire)
        await bus.beat("one", lease_ms=60_000, capacity=1, join=True)
        placed = facts.Placed(page="1", consumer="2", call_by_ms=bus.now_ms() + 60_000, handler="old:answer")
        await bus.route(CALL, placed)
        performer = Performer(
            CALL,
            1,
            bus=bus,
            worker="one",
            host=Host(loop, loop),
            script_of=gone,
            legs=SpareLegs(Leg),
            lives={},
            recordings=tmp_path,
            messenger=Messenger(bus),
        )
        await performer.perform(order, state.Call(page="1", handler="old:answer"), seq=2)
        ended = await end_of_handler(redis_url)
        assert ended.how == "raised"
        assert "old:answer" in ended.error
        await performer.finish()


async def end_of_handler(redis_url: str) -> facts.HandlerEnded:
    async with asyncio.timeout(5), Wire.from_url(redis_url) as ear:
        async for deliveries in Bus(ear).follow("one"):
            for delivery in deliveries:
                if isinstance(delivery.fact, facts.HandlerEnded):
                    return delivery.fact
    raise AssertionError("the inbox is followed without an end")
