"""One call's orders, carried out on a real Valkey."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, TypeVar

import pytest

from shared.bus import Bus
from shared.calls import facts, orders, state
from shared.errors import HandlerUnusable
from shared.messenger import Messenger
from shared.wire import Wire
from tests.integration.roaming import Roamer
from tests.integration.test_leg import LOOPBACK, until
from workers.media.archive import Archive
from workers.media.casting import Cast
from workers.media.handler import Script
from workers.media.host import Host
from workers.media.leg import Leg
from workers.media.performer import Performer
from workers.media.spare_legs import SpareLegs

Kind = TypeVar("Kind", bound=facts.Fact)

CALL: Final = "o_1"
WITHIN_S: Final = 5
PLACED: Final = state.Call(page="1", handler="old:answer", placed=True, ring_ms=45_000)


class Gone:
    """Knows the handler of a call no more."""

    def of(self, call: state.Call) -> Cast:
        return Cast((call.handler,))

    def script(self, name: str, options: object) -> Script:
        raise HandlerUnusable(f"{name} is in no module that is configured")


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    async with Wire.from_url(redis_url) as wire:
        bus = Bus(wire)
        await bus.beat("one", lease_ms=60_000, capacity=1, join=True)
        placed = facts.Placed(page="1", consumer="2", call_by_ms=bus.now_ms() + 60_000, handler="old:answer")
        await bus.route(CALL, placed)
        yield bus


@pytest.fixture
async def performer(bus: Bus, tmp_path: Path) -> AsyncIterator[Performer]:
    """Holds the call that was placed, with a handler that there is no more."""
    loop = asyncio.get_running_loop()
    performer = Performer(
        CALL,
        1,
        bus=bus,
        worker="one",
        host=Host(loop, loop),
        casting=Gone(),
        legs=SpareLegs(lambda: Leg(addresses=LOOPBACK)),
        lives={},
        archive=Archive(tmp_path, "", bus.route),
        messenger=Messenger(bus),
    )
    yield performer
    await performer.finish()


async def heard(redis_url: str, kind: type[Kind]) -> Kind:
    """Return the first fact of this kind in the worker's inbox."""
    async with asyncio.timeout(WITHIN_S), Wire.from_url(redis_url) as ear:
        async for deliveries in Bus(ear).follow("one"):
            for delivery in deliveries:
                if isinstance(delivery.fact, kind):
                    return delivery.fact
    raise AssertionError("the inbox is followed without an end")


@pytest.mark.parametrize("order", [orders.StartHandler(), orders.RunOnLost()], ids=lambda order: type(order).__name__)
async def test_a_handler_that_a_deploy_took_away_is_over_before_it_began(
    redis_url: str, performer: Performer, order: orders.Order
) -> None:
    await performer.perform(order, PLACED, seq=2)
    ended = await heard(redis_url, facts.HandlerEnded)
    assert ended.how == "raised"
    assert "old:answer" in ended.error


async def test_an_offer_that_comes_before_media_is_connected_may_be_what_connects_it(
    redis_url: str, performer: Performer
) -> None:
    """UNKNOWN where Meta sends the media of a call that we place until the consumer picks up; here it goes nowhere."""
    far = Roamer()
    await performer.perform(orders.MakeOffer(), PLACED, seq=2)
    answer = await far.answer((await heard(redis_url, facts.OfferMade)).sdp)
    assert performer.live is not None
    path = performer.live.leg._peer.path
    first = path.local_username
    nowhere = answer.replace(far.ice.local_username, "gone").replace(far.ice.local_password, "g" * 22)
    await performer.perform(orders.ApplyAnswer(nowhere, None), PLACED, seq=3)
    await performer.perform(orders.ApplyOffer(far.renegotiation(far.answer_again())), PLACED, seq=4)
    await until(lambda: path.local_username != first)
    far.ice.remote_username, far.ice.remote_password = path.local_username, path.local_password
    far.ice._remote_candidates.clear()
    await heard(redis_url, facts.LegConnected)
    await far.close()
