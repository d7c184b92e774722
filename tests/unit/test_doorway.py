"""How calls are let in."""

import asyncio

from shared.clock import monotonic_s
from workers.media.doorway import BETWEEN_S, Doorway


async def test_who_comes_alone_does_not_wait() -> None:
    others_ran = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(others_ran.set_result, None)
    await Doorway().enter()
    assert not others_ran.done()


async def test_of_a_rush_one_goes_in_after_the_other_in_order() -> None:
    doorway = Doorway()
    entered: list[tuple[int, float]] = []

    async def enter(guest: int) -> None:
        await doorway.enter()
        entered.append((guest, monotonic_s()))

    before_s = monotonic_s()
    await asyncio.gather(*(enter(guest) for guest in range(10)))
    assert [guest for guest, _ in entered] == list(range(10))
    for guest, at_s in entered:
        assert at_s - before_s >= guest * BETWEEN_S - 0.002, "timers count in whole milliseconds"
