"""What becomes of calls when Redis is emptied under their owners."""

import pytest

from shared.bus import Bus, Fenced, Routed
from shared.calls import facts
from shared.errors import LeaseLost, RedisForgot
from shared.wire import Wire
from tests.contract.test_bus import (
    CALL,
    LEASE_MS,
    bus,
    claims,
    hang_up_at_meta,
    inbox,
    inbox_wire,
    join,
    kinds,
    look_after,
    ring,
    until,
)

__all__ = ["bus", "inbox_wire"]


async def empty(bus: Bus) -> None:
    await bus.wire.call("FLUSHALL")


async def test_a_worker_learns_that_redis_was_emptied(bus: Bus) -> None:
    await join(bus, "one")
    await bus.beat("one", lease_ms=LEASE_MS, capacity=10)
    await empty(bus)
    with pytest.raises(RedisForgot):
        await bus.beat("one", lease_ms=LEASE_MS, capacity=10)
    await join(bus, "one")
    await bus.beat("one", lease_ms=LEASE_MS, capacity=10)


async def test_a_worker_that_was_reaped_is_not_told_that_redis_was_emptied(bus: Bus) -> None:
    await join(bus, "one", lease_ms=LEASE_MS)
    await join(bus, "two")

    async def reaped() -> bool:
        return [each.worker for each in (await bus.census()).workers] == ["two"]

    await until(reaped, bus)
    await look_after(bus)
    with pytest.raises(LeaseLost):
        await bus.beat("one", lease_ms=LEASE_MS, capacity=10)


async def test_an_emptied_redis_takes_no_step_of_an_owner_for_a_stale_one(bus: Bus) -> None:
    await join(bus, "one")
    await ring(bus)
    await empty(bus)
    with pytest.raises(RedisForgot):
        await bus.route(CALL, facts.OfferMade(sdp="v=0", epoch=1))
    with pytest.raises(RedisForgot):
        await bus.arm(CALL, "one", 1, None, seq=2)
    with pytest.raises(RedisForgot):
        await bus.done(CALL, "one", 1, "completed")
    assert await bus.fence(CALL, 1, "accept", "job") is Fenced.STALE
    assert await bus.read_log(CALL) == []


async def test_a_restored_call_is_its_owner_s_as_before_with_its_whole_log(bus: Bus, inbox_wire: Wire) -> None:
    await join(bus, "one")
    await ring(bus)
    await bus.route(CALL, facts.OfferMade(sdp="v=0", epoch=1))
    entries = await bus.read_log(CALL)
    await empty(bus)
    await join(bus, "one")
    assert await bus.restore(CALL, "one", 1, entries)
    assert await bus.restore(CALL, "one", 1, entries), "the first one's reply was lost"

    assert (await bus.read_log(CALL))[: len(entries)] == entries
    assert (await kinds(bus))[len(entries) :] == ["LogRestored"]
    assert (await bus.census()).workers[0].held == 1
    assert await bus.recent_calls() == [CALL]
    delivery = (await inbox(bus, "one", inbox_wire))[0]
    assert (delivery.call_id, delivery.seq, type(delivery.fact)) == (CALL, len(entries) + 1, facts.LogRestored)
    assert await bus.route(CALL, facts.HandlerStarted(handler="a:b", epoch=1)) is Routed.DELIVERED
    assert await bus.fence(CALL, 1, "accept", "job") is Fenced.GO


async def test_a_restored_call_that_was_accepted_is_never_accepted_again_whoever_has_it(bus: Bus) -> None:
    await join(bus, "one")
    await ring(bus)
    assert await bus.fence(CALL, 1, "accept", "job") is Fenced.GO
    entries = await bus.read_log(CALL)
    await empty(bus)
    await join(bus, "one", capacity=None)
    await join(bus, "two", capacity=1)
    await ring(bus, "c_2")
    await bus.restore(CALL, "one", 1, entries)
    assert await bus.handoff(CALL, "one", 1, anyway=True)

    assert await claims(bus) == [("one", 1), ("two", 2)], "an ending needs no free slot"
    assert await bus.fence(CALL, 2, "accept", "another job") is Fenced.REFUSED
    await bus.done(CALL, "two", 2, "lost")
    assert (await kinds(bus))[-1] == "Closed"


async def test_a_restored_call_whose_owner_dies_is_taken_over(bus: Bus) -> None:
    await join(bus, "one")
    await ring(bus)
    entries = await bus.read_log(CALL)
    await empty(bus)
    await join(bus, "one", lease_ms=LEASE_MS)
    await bus.restore(CALL, "one", 1, entries)
    await join(bus, "two")

    async def succeeded() -> bool:
        return await claims(bus) == [("one", 1), ("two", 2)]

    await until(succeeded, bus)


async def test_a_restored_call_that_rings_has_its_deadline(bus: Bus) -> None:
    await join(bus, "one")
    await ring(bus, in_ms=300)
    entries = await bus.read_log(CALL)
    await empty(bus)
    await bus.restore(CALL, "one", 1, entries)

    async def expired() -> bool:
        return "DeadlinePassed" in await kinds(bus)

    await until(expired, bus)


async def test_what_was_heard_of_a_forgotten_call_joins_its_log(bus: Bus) -> None:
    await join(bus, "one")
    await ring(bus)
    entries = await bus.read_log(CALL)
    await empty(bus)
    await look_after(bus)
    await bus.route(CALL, facts.MediaChanged(version=2, sdp="v=0"), identity="media:2")
    await join(bus, "one")
    await bus.restore(CALL, "one", 1, entries)

    assert await kinds(bus) == ["Arrived", "Claimed", "LogRestored", "MediaChanged"]
    assert await bus.route(CALL, facts.MediaChanged(version=2, sdp="v=0"), identity="media:2") is Routed.DUPLICATE


async def test_a_forgotten_call_that_somebody_was_given_anew_stays_his_and_is_not_accepted_again(bus: Bus) -> None:
    await join(bus, "one")
    await ring(bus)
    assert await bus.fence(CALL, 1, "accept", "job") is Fenced.GO
    entries = await bus.read_log(CALL)
    await empty(bus)
    await join(bus, "two")
    await ring(bus)
    assert not await bus.restore(CALL, "one", 1, entries)
    assert await claims(bus) == [("two", 1)]
    assert await bus.fence(CALL, 1, "accept", "job") is Fenced.REFUSED


async def test_what_nobody_owned_can_still_be_heard_of_in_an_emptied_redis(bus: Bus) -> None:
    await empty(bus)
    assert await hang_up_at_meta(bus) is Routed.WAITING
