"""`adopt`: a call we placed gets Meta's id, and webhooks that overtook Graph's reply join its log."""

from collections.abc import AsyncIterator, Callable

import pytest

from shared.bus import Bus, Routed
from shared.calls import facts
from shared.errors import LeaseLost
from shared.wire import Wire

OURS = "o_01JD"
THEIRS = "c_K7bQnVd0Lw3R_ZtAhYu8sXpFe2mJ_c9GoWrE4yBg"
RINGING = facts.StatusChanged(status="ringing")
ACCEPTED = facts.StatusChanged(status="accepted")


@pytest.fixture
async def bus(wire_to: Callable[[], Wire]) -> AsyncIterator[Bus]:
    async with wire_to() as wire:
        bus = Bus(wire)
        now_ms = await bus.beat("one", lease_ms=60_000, capacity=10, join=True)
        placed = facts.Arrived(
            page="1", consumer="2", direction="user_initiated", sent_at_ms=now_ms, answer_by_ms=now_ms + 60_000
        )
        assert await bus.route(OURS, placed) is Routed.PLACED
        yield bus


async def statuses(bus: Bus) -> list[str]:
    return [entry.fact.status for entry in await bus.read_log(OURS) if isinstance(entry.fact, facts.StatusChanged)]


async def test_what_overtook_the_reply_joins_the_log_in_order(bus: Bus) -> None:
    assert await bus.route(THEIRS, RINGING, identity="call_status:ringing") is Routed.LOGGED
    assert await bus.route(THEIRS, ACCEPTED, identity="call_status:accepted") is Routed.LOGGED
    assert await bus.adopt(OURS, "one", 1, THEIRS) == 2
    assert await statuses(bus) == ["ringing", "accepted"]
    assert await bus.read_log(THEIRS) == []
    assert await bus.recent_calls() == [OURS]


async def test_what_comes_later_under_metas_id_goes_to_our_call(bus: Bus) -> None:
    assert await bus.adopt(OURS, "one", 1, THEIRS) == 0
    assert await bus.route(THEIRS, RINGING, identity="call_status:ringing") is Routed.DELIVERED
    assert await statuses(bus) == ["ringing"]


async def test_a_repeat_of_what_joined_is_a_duplicate(bus: Bus) -> None:
    await bus.route(THEIRS, RINGING, identity="call_status:ringing")
    await bus.adopt(OURS, "one", 1, THEIRS)
    assert await bus.route(THEIRS, RINGING, identity="call_status:ringing") is Routed.DUPLICATE


async def test_adopting_again_changes_nothing(bus: Bus) -> None:
    await bus.route(THEIRS, RINGING, identity="call_status:ringing")
    await bus.adopt(OURS, "one", 1, THEIRS)
    assert await bus.adopt(OURS, "one", 1, THEIRS) == 0
    assert await statuses(bus) == ["ringing"]


async def test_a_terminate_that_overtook_the_reply_and_found_a_worker_ends_our_call(bus: Bus) -> None:
    assert await bus.route(THEIRS, facts.Terminated(status="completed"), identity="terminate") is Routed.PLACED
    await bus.adopt(OURS, "one", 1, THEIRS)
    kinds = [type(entry.fact) for entry in await bus.read_log(OURS)]
    assert kinds.count(facts.Terminated) == kinds.count(facts.Claimed) == 1
    assert [each.held for each in (await bus.census()).workers] == [1]
    with pytest.raises(LeaseLost):
        await bus.done(THEIRS, "one", 1, "cancelled")


async def test_only_the_owner_adopts(bus: Bus) -> None:
    with pytest.raises(LeaseLost):
        await bus.adopt(OURS, "two", 1, THEIRS)
    with pytest.raises(LeaseLost):
        await bus.adopt(OURS, "one", 7, THEIRS)
