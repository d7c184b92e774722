"""Spare legs: a caller never waits for an offer that could have been made before."""

import asyncio

from workers.media.leg import Leg
from workers.media.spare_legs import KEPT, SpareLegs


class Made:
    """Counts the legs that were made and those that are still open."""

    def __init__(self) -> None:
        self.legs: list[Leg] = []

    def leg(self) -> Leg:
        self.legs.append(Leg(addresses=("127.0.0.1",)))
        return self.legs[-1]

    async def count(self, number: int) -> None:
        async with asyncio.timeout(5):
            while len(self.legs) < number:  # noqa: ASYNC110 legs are counted where they are made
                await asyncio.sleep(0.01)


async def test_a_leg_is_there_before_it_is_wanted_and_is_made_up_for() -> None:
    made = Made()
    spares = SpareLegs(made.leg)
    filling = asyncio.create_task(spares.refill())
    await made.count(KEPT)
    taken = await spares.take()
    assert taken.leg in made.legs[:KEPT]
    assert "a=candidate:" in taken.offer
    await made.count(KEPT + 1)
    filling.cancel()
    await asyncio.wait([filling])
    await taken.leg.close()


async def test_without_spares_a_leg_is_made_at_once() -> None:
    made = Made()
    taken = await SpareLegs(made.leg).take()
    assert made.legs == [taken.leg]
    await taken.leg.close()
