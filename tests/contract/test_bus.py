"""What every bus has to keep, whatever it is made of; here: `shared.bus.Bus` on a real Valkey.

Another implementation joins by another `bus` fixture. Times are the bus's own clock; leases here are 200 ms, and what
takes a while is waited for by beating, as the processes do.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from shared.bus import CALLS_PER_BEAT, PREFIX, Bus, Fenced, Routed, hash_of, script
from shared.calls import facts
from shared.dead import Letter
from shared.ended import ENDED
from shared.entries import Delivery
from shared.errors import LeaseLost
from shared.outbound import Outbound
from shared.wire import Wire

HOUR_MS = 3_600_000

LEASE_MS = 200
WITHIN_S = 5.0
CALL = "c_1"


@pytest.fixture
async def bus(wire_to: Callable[[], Wire]) -> AsyncIterator[Bus]:
    async with wire_to() as wire:
        yield Bus(wire)


@pytest.fixture
async def inbox_wire(wire_to: Callable[[], Wire]) -> AsyncIterator[Wire]:
    async with wire_to() as wire:
        yield wire


async def join(bus: Bus, worker: str, *, capacity: int | None = 10, lease_ms: int = 60_000) -> int:
    return await bus.beat(worker, lease_ms=lease_ms, capacity=capacity, join=True)


async def look_after(bus: Bus) -> int:
    """Beat as a process without calls does."""
    return await bus.beat(lease_ms=LEASE_MS)


async def until(happened: Callable[[], Awaitable[bool]], bus: Bus) -> None:
    """Beat until it has happened."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            await look_after(bus)
            if await happened():
                return
            await asyncio.sleep(0.01)


async def ring(bus: Bus, call_id: str = CALL, *, in_ms: int = 55_000) -> Routed:
    now_ms = await look_after(bus)
    arrived = facts.Arrived(
        page="1", consumer="2", direction="user_initiated", sent_at_ms=now_ms, answer_by_ms=now_ms + in_ms
    )
    return await bus.route(call_id, arrived, identity="connect")


async def hang_up_at_meta(bus: Bus, call_id: str = CALL) -> Routed:
    return await bus.route(call_id, facts.Terminated(status="completed"), identity="terminate:completed")


async def log_of(bus: Bus, call_id: str = CALL) -> list[facts.Fact]:
    return [entry.fact for entry in await bus.read_log(call_id)]


async def kinds(bus: Bus, call_id: str = CALL) -> list[str]:
    return [type(fact).__name__ for fact in await log_of(bus, call_id)]


async def claims(bus: Bus, call_id: str = CALL) -> list[tuple[str, int]]:
    return [(fact.worker, fact.epoch) for fact in await log_of(bus, call_id) if isinstance(fact, facts.Claimed)]


async def owner(bus: Bus, call_id: str = CALL) -> str | None:
    claimed = await claims(bus, call_id)
    return claimed[-1][0] if claimed else None


async def inbox(bus: Bus, worker: str, wire: Wire, *, after: str = "0-0") -> list[Delivery]:
    async for deliveries in Bus(wire).follow(worker, after=after):
        return deliveries
    raise AssertionError("an inbox never ends")


# -- the log -----------------------------------------------------------------------------------------------------------


async def test_a_log_is_read_in_the_order_in_which_it_was_written(bus: Bus) -> None:
    for number in range(20):
        await bus.route(CALL, facts.MediaChanged(version=number, sdp="v=0"), identity=f"media:{number}")

    entries = await bus.read_log(CALL)

    assert [entry.seq for entry in entries] == list(range(1, 21))
    assert [entry.fact.version for entry in entries if isinstance(entry.fact, facts.MediaChanged)] == list(range(20))


async def test_the_log_stamps_a_fact_with_the_servers_time_and_the_epoch_it_was_said_under(bus: Bus) -> None:
    await join(bus, "one")
    before_ms = await look_after(bus)
    await ring(bus)
    await bus.route(CALL, facts.OfferMade(sdp="v=0", epoch=1))
    after_ms = await look_after(bus)

    offer = (await log_of(bus))[-1]

    assert offer == facts.OfferMade(sdp="v=0", at_ms=offer.at_ms, epoch=1)
    assert before_ms <= offer.at_ms <= after_ms


async def test_a_fact_with_an_identity_is_written_once(bus: Bus) -> None:
    assert await ring(bus) is Routed.WAITING
    assert await ring(bus) is Routed.DUPLICATE
    assert await kinds(bus) == ["Arrived"]


async def test_the_same_identity_of_another_call_is_no_duplicate(bus: Bus) -> None:
    await ring(bus)
    assert await ring(bus, "c_2") is Routed.WAITING


async def test_facts_without_an_identity_are_never_duplicates(bus: Bus) -> None:
    for _ in range(2):
        await bus.route(CALL, facts.RecordingStarted(path="x.wav"))
    assert await kinds(bus) == ["RecordingStarted"] * 2


async def test_of_200_duplicates_at_once_one_is_written(bus: Bus, wire_to: Callable[[], Wire]) -> None:
    await join(bus, "one")
    async with wire_to() as other_wire:
        routes = [ring(which) for which in (bus, Bus(other_wire)) for _ in range(100)]
        routed = await asyncio.gather(*routes)

    assert sorted(routed) == [Routed.DUPLICATE] * 199 + [Routed.PLACED]
    assert await kinds(bus) == ["Arrived", "Claimed"]


async def test_an_unknown_call_has_an_empty_log(bus: Bus) -> None:
    assert await bus.read_log("c_nobody_knows") == []


# -- the claim ---------------------------------------------------------------------------------------------------------


async def test_a_claim_is_in_the_log_with_its_worker_and_epoch_in_the_same_step(bus: Bus) -> None:
    await join(bus, "one")
    assert await ring(bus) is Routed.PLACED

    arrived, claimed = await log_of(bus)

    assert isinstance(arrived, facts.Arrived)
    assert claimed == facts.Claimed(worker="one", at_ms=arrived.at_ms, epoch=1)


async def test_the_owner_finds_the_claim_in_its_inbox_with_the_arrival_that_caused_it(
    bus: Bus, inbox_wire: Wire
) -> None:
    await join(bus, "one")
    await ring(bus)

    (delivery,) = await inbox(bus, "one", inbox_wire)

    arrived, claimed = await log_of(bus)
    assert (delivery.call_id, delivery.seq, delivery.fact, delivery.arrival) == (CALL, 2, claimed, arrived)


async def test_a_call_to_which_something_happened_before_is_claimed_without_the_short_cut(
    bus: Bus, inbox_wire: Wire
) -> None:
    await ring(bus)
    await bus.route(CALL, facts.MediaChanged(version=1, sdp="v=0"), identity="media")
    await join(bus, "one")

    (delivery,) = await inbox(bus, "one", inbox_wire)

    assert (delivery.seq, delivery.arrival) == (3, None)


async def test_a_connect_that_was_overtaken_is_claimed_without_the_short_cut(bus: Bus, inbox_wire: Wire) -> None:
    await join(bus, "one")
    await bus.route(CALL, facts.MediaChanged(version=1, sdp="v=0"), identity="media")
    assert await ring(bus) is Routed.PLACED

    (delivery,) = await inbox(bus, "one", inbox_wire)

    assert (delivery.seq, delivery.arrival) == (3, None)


async def test_what_happens_to_an_owned_call_comes_to_its_owner_in_order(bus: Bus, inbox_wire: Wire) -> None:
    await join(bus, "one")
    await ring(bus)
    assert await bus.route(CALL, facts.HandlerStarted(handler="a:b", epoch=1)) is Routed.DELIVERED
    assert await hang_up_at_meta(bus) is Routed.DELIVERED

    deliveries = await inbox(bus, "one", inbox_wire)

    assert [type(delivery.fact).__name__ for delivery in deliveries] == ["Claimed", "HandlerStarted", "Terminated"]
    assert [delivery.seq for delivery in deliveries] == [2, 3, 4]


async def test_events_of_a_call_that_never_arrived_are_logged_and_place_nothing(bus: Bus) -> None:
    await join(bus, "one")
    assert await bus.route(CALL, facts.StatusChanged(status="ringing"), identity="status") is Routed.LOGGED
    assert await claims(bus) == []


async def test_a_full_worker_is_never_chosen(bus: Bus) -> None:
    await join(bus, "small", capacity=2)
    routed = [await ring(bus, f"c_{number}") for number in range(5)]
    assert routed == [Routed.PLACED] * 2 + [Routed.WAITING] * 3


async def test_a_worker_without_capacity_is_never_chosen(bus: Bus) -> None:
    await join(bus, "draining", capacity=None)
    assert await ring(bus) is Routed.WAITING


async def test_the_worker_with_the_most_free_slots_is_chosen(bus: Bus) -> None:
    await join(bus, "small", capacity=3)
    await join(bus, "large", capacity=5)
    for number in range(8):
        await ring(bus, f"c_{number}")

    chosen = [await owner(bus, f"c_{number}") for number in range(8)]

    assert chosen[:2] == ["large", "large"]
    assert (chosen.count("small"), chosen.count("large")) == (3, 5)


async def test_many_workers_are_filled_evenly_and_the_dead_among_them_are_passed_over(bus: Bus) -> None:
    for number in range(40):
        await join(bus, f"w-{number}", capacity=3)
    for number in range(20):  # that nobody has reaped yet
        await bus.wire.call("ZADD", f"{PREFIX}workers", 1, f"dead-{number}")
        await bus.wire.call("ZADD", f"{PREFIX}free", 9, f"dead-{number}")
    for number in range(80):
        await ring(bus, f"c_{number}")
    owners = [await owner(bus, f"c_{number}") for number in range(80)]
    assert sorted(Counter(owners).values()) == [2] * 40
    await bus.done("c_0", str(owners[0]), 1, "completed")
    await ring(bus, "c_next")
    assert await owner(bus, "c_next") == owners[0], "all others have one free slot, and it has two"


async def test_a_call_that_found_no_worker_is_placed_when_one_joins(bus: Bus) -> None:
    assert await ring(bus) is Routed.WAITING
    await join(bus, "one")
    assert await claims(bus) == [("one", 1)]


async def test_a_call_that_found_no_room_is_placed_when_another_ends(bus: Bus) -> None:
    await join(bus, "one", capacity=1)
    await ring(bus)
    assert await ring(bus, "c_2") is Routed.WAITING

    await bus.done(CALL, "one", 1, "completed")

    assert await claims(bus, "c_2") == [("one", 1)]


async def test_the_waiting_call_with_the_least_time_left_is_placed_first(bus: Bus) -> None:
    await ring(bus, "c_patient", in_ms=50_000)
    await ring(bus, "c_urgent", in_ms=5_000)
    await join(bus, "one", capacity=1)
    assert (await owner(bus, "c_urgent"), await owner(bus, "c_patient")) == ("one", None)


# -- endings -----------------------------------------------------------------------------------------------------------


async def test_a_terminate_that_overtakes_its_connect_is_placed_and_can_be_closed(bus: Bus) -> None:
    await join(bus, "one")
    assert await hang_up_at_meta(bus) is Routed.PLACED
    assert await ring(bus) is Routed.DELIVERED

    await bus.done(CALL, "one", 1, "cancelled")

    assert await kinds(bus) == ["Terminated", "Claimed", "Arrived", "Closed"]


async def test_an_ending_needs_no_free_slot(bus: Bus) -> None:
    await join(bus, "full", capacity=1)
    await ring(bus)
    assert await ring(bus, "c_2") is Routed.WAITING

    assert await hang_up_at_meta(bus, "c_2") is Routed.PLACED
    assert await hang_up_at_meta(bus, "c_3") is Routed.PLACED


async def test_an_ending_is_not_held_up_by_calls_that_wait_for_a_slot(bus: Bus) -> None:
    await ring(bus, "c_urgent", in_ms=5_000)
    await ring(bus, "c_next", in_ms=6_000)
    await ring(bus, "c_over", in_ms=50_000)
    await hang_up_at_meta(bus, "c_over")

    await join(bus, "one", capacity=1)

    assert await owner(bus, "c_over") == "one"


async def test_an_accepted_call_of_a_dead_worker_is_taken_over_by_a_full_one(bus: Bus) -> None:
    """Nothing is left for it but to be terminated: its media died with its worker."""
    await join(bus, "dead", lease_ms=LEASE_MS)
    await ring(bus)
    await bus.fence(CALL, 1, "accept", "job")
    await join(bus, "full", capacity=0)

    async def taken() -> bool:
        return await claims(bus) == [("dead", 1), ("full", 2)]

    await until(taken, bus)


async def test_done_frees_the_slot(bus: Bus) -> None:
    await join(bus, "one", capacity=1)
    await ring(bus)
    await bus.done(CALL, "one", 1, "completed")

    assert await ring(bus, "c_2") is Routed.PLACED
    assert (await bus.census()).workers[0].held == 1


async def test_the_owner_hears_that_its_call_was_closed(bus: Bus, inbox_wire: Wire) -> None:
    await join(bus, "one")
    await ring(bus)
    await bus.done(CALL, "one", 1, "missed")
    assert isinstance((await inbox(bus, "one", inbox_wire))[-1].fact, facts.Closed)


async def test_a_call_is_closed_once_however_often_done_is_said(bus: Bus) -> None:
    await join(bus, "one")
    await ring(bus)
    for _ in range(3):
        await bus.done(CALL, "one", 1, "completed")
    assert (await kinds(bus)).count("Closed") == 1


async def test_what_comes_after_the_close_is_only_logged(bus: Bus) -> None:
    await join(bus, "one")
    await ring(bus)
    await bus.done(CALL, "one", 1, "completed")

    assert await hang_up_at_meta(bus) is Routed.LOGGED
    assert await ring(bus) is Routed.DUPLICATE
    assert await claims(bus) == [("one", 1)]


async def test_what_comes_late_of_a_call_that_was_forgotten_begins_no_log(bus: Bus) -> None:
    await join(bus, "one")
    await ring(bus)
    forget = script("forget")
    assert await forget.run(bus.wire, [hash_of(CALL)], [CALL]) == b"open"
    await bus.done(CALL, "one", 1, "completed")
    assert await forget.run(bus.wire, [hash_of(CALL)], [CALL]) == b"gone"

    assert await bus.read_log(CALL) == []
    assert await bus.recent_calls() == []
    assert await hang_up_at_meta(bus) is Routed.DUPLICATE
    assert await ring(bus) is Routed.DUPLICATE
    assert await bus.read_log(CALL) == []


async def test_a_call_that_is_closed_is_told_of_in_the_same_step(bus: Bus) -> None:
    await join(bus, "one")
    for call_id in (CALL, "c_2"):
        await ring(bus, call_id)
        await bus.done(call_id, "one", 1, "completed")
    await bus.done(CALL, "one", 1, "completed")
    told = await bus.wire.call("XRANGE", ENDED, "-", "+")
    assert [fields for _, fields in told] == [[b"c", CALL.encode()], [b"c", b"c_2"]]


async def test_a_connect_that_comes_after_the_close_is_only_logged_and_has_no_deadline(bus: Bus) -> None:
    await join(bus, "one")
    await hang_up_at_meta(bus)
    await bus.done(CALL, "one", 1, "cancelled")

    assert await ring(bus, in_ms=30) is Routed.LOGGED

    await ring(bus, "c_2", in_ms=60)

    async def later_one_passed() -> bool:
        return "DeadlinePassed" in await kinds(bus, "c_2")

    await until(later_one_passed, bus)
    assert await kinds(bus) == ["Terminated", "Claimed", "Closed", "Arrived"]


async def test_nobody_but_the_owner_closes_a_call(bus: Bus) -> None:
    await join(bus, "one")
    await ring(bus)
    with pytest.raises(LeaseLost, match=CALL):
        await bus.done(CALL, "two", 1, "completed")
    with pytest.raises(LeaseLost, match=CALL):
        await bus.done(CALL, "one", 7, "completed")
    assert "Closed" not in await kinds(bus)


# -- epochs and leases -------------------------------------------------------------------------------------------------


async def test_a_fact_of_an_epoch_that_is_over_is_refused(bus: Bus) -> None:
    await join(bus, "one")
    await ring(bus)
    await bus.handoff(CALL, "one", 1)
    assert await claims(bus) == [("one", 1), ("one", 2)]

    assert await bus.route(CALL, facts.OfferMade(sdp="v=0", epoch=1)) is Routed.STALE
    assert "OfferMade" not in await kinds(bus)


async def test_a_refused_fact_does_not_use_up_its_identity(bus: Bus) -> None:
    await join(bus, "one")
    await ring(bus)
    await bus.handoff(CALL, "one", 1)
    settled = facts.ActionSettled(action="terminate")
    assert await bus.route(CALL, facts.under(settled, 1), identity="terminate") is Routed.STALE
    assert await bus.route(CALL, facts.under(settled, 2), identity="terminate") is Routed.DELIVERED


async def test_the_calls_of_a_dead_worker_are_taken_over_one_beat_after_its_lease(bus: Bus) -> None:
    started_ms = await join(bus, "dead", lease_ms=LEASE_MS)
    await ring(bus)
    await join(bus, "alive")

    async def taken() -> bool:
        return await owner(bus) == "alive"

    await until(taken, bus)

    assert await claims(bus) == [("dead", 1), ("alive", 2)]
    claimed = (await log_of(bus))[-1]
    assert claimed.at_ms - started_ms >= LEASE_MS


async def test_the_worker_that_takes_over_hears_of_it(bus: Bus, inbox_wire: Wire) -> None:
    await join(bus, "dead", lease_ms=LEASE_MS)
    await ring(bus)
    await join(bus, "alive")

    async def taken() -> bool:
        return await owner(bus) == "alive"

    await until(taken, bus)

    (delivery,) = await inbox(bus, "alive", inbox_wire)
    assert (delivery.call_id, delivery.seq, delivery.fact.epoch, delivery.arrival) == (CALL, 3, 2, None)


async def test_a_call_whose_owner_died_alone_waits_and_comes_with_a_new_epoch(bus: Bus) -> None:
    await join(bus, "dead", lease_ms=LEASE_MS)
    await ring(bus)

    async def waits() -> bool:
        return (await bus.census()).waiting == 1

    await until(waits, bus)
    await join(bus, "new")
    assert await claims(bus) == [("dead", 1), ("new", 2)]


async def test_a_worker_that_was_reaped_is_told_so_and_may_join_again(bus: Bus) -> None:
    await join(bus, "late", lease_ms=LEASE_MS)

    async def gone() -> bool:
        return not (await bus.census()).workers

    await until(gone, bus)
    await look_after(bus)
    with pytest.raises(LeaseLost, match="late"):
        await bus.beat("late", lease_ms=LEASE_MS, capacity=1)
    await join(bus, "late")
    assert [known.worker for known in (await bus.census()).workers] == ["late"]


async def test_a_worker_that_beats_keeps_its_calls(bus: Bus) -> None:
    joined_ms = now_ms = await join(bus, "one", lease_ms=LEASE_MS)
    await ring(bus)
    while now_ms < joined_ms + 3 * LEASE_MS:
        await asyncio.sleep(0.02)
        now_ms = await bus.beat("one", lease_ms=LEASE_MS, capacity=10)
    assert await claims(bus) == [("one", 1)]


async def test_workers_that_were_away_together_with_everybody_keep_their_calls(bus: Bus) -> None:
    """Nobody beat for a while, as when Redis is away; connections come back one after the other."""
    joined_ms = await join(bus, "one", lease_ms=LEASE_MS)
    await ring(bus)
    await join(bus, "two", lease_ms=LEASE_MS)
    await nobody_beats(bus, until_ms=joined_ms + LEASE_MS)

    for worker in ("", "two", "", "one"):
        await bus.beat(worker, lease_ms=LEASE_MS, capacity=10)
    assert await claims(bus) == [("one", 1)]


async def test_who_does_not_come_back_after_an_outage_is_reaped_in_the_end(bus: Bus) -> None:
    joined_ms = await join(bus, "one", lease_ms=LEASE_MS)
    await join(bus, "two")
    await nobody_beats(bus, until_ms=joined_ms + LEASE_MS)
    await bus.beat("two", lease_ms=60_000, capacity=10)
    assert 50_000 < await bus.wire.call("PTTL", f"{PREFIX}missed") <= 60_000
    await bus.wire.call("DEL", f"{PREFIX}missed")  # that time passes

    async def gone() -> bool:
        return [known.worker for known in (await bus.census()).workers] == ["two"]

    await until(gone, bus)


async def nobody_beats(bus: Bus, *, until_ms: int) -> None:
    """Let a time pass, and say that the last beat was longer ago than beats are apart."""
    now_ms = 0
    while now_ms <= until_ms:
        await asyncio.sleep(0.02)
        seconds, microseconds = await bus.wire.call("TIME")
        now_ms = int(seconds) * 1000 + int(microseconds) // 1000
    await bus.wire.call("SET", f"{PREFIX}beaten", now_ms - 1_300)


async def test_a_worker_with_more_calls_than_one_beat_takes_over_cannot_wake_in_between(bus: Bus) -> None:
    await join(bus, "late", capacity=1_000)
    for number in range(CALLS_PER_BEAT + 1):
        await ring(bus, f"c_{number}")
    await bus.beat("late", lease_ms=LEASE_MS, capacity=1_000)

    async def being_reaped() -> bool:
        return (await bus.census()).waiting > 0

    await until(being_reaped, bus)
    with pytest.raises(LeaseLost):
        await bus.beat("late", lease_ms=60_000, capacity=1_000)
    await until(reaped_wholly(bus), bus)


def reaped_wholly(bus: Bus) -> Callable[[], Awaitable[bool]]:
    async def nobody_is_left() -> bool:
        return (await bus.census()).waiting == CALLS_PER_BEAT + 1

    return nobody_is_left


async def test_a_worker_that_leaves_is_reaped_by_its_own_last_beat(bus: Bus) -> None:
    await join(bus, "one")
    await ring(bus)
    await join(bus, "two")
    await bus.beat("one", lease_ms=0)
    assert await claims(bus) == [("one", 1), ("two", 2)]


# -- deadlines ---------------------------------------------------------------------------------------------------------


async def test_a_deadline_that_passes_is_a_fact_once(bus: Bus) -> None:
    await join(bus, "one")
    await ring(bus, in_ms=1)
    deadline_ms = (await log_of(bus))[0].at_ms + 60

    await bus.arm(CALL, "one", 1, deadline_ms, seq=2)

    async def passed() -> bool:
        return "DeadlinePassed" in await kinds(bus)

    await until(passed, bus)
    for _ in range(3):
        await look_after(bus)
    passes = [fact for fact in await log_of(bus) if isinstance(fact, facts.DeadlinePassed)]
    assert [fact.deadline_ms for fact in passes] == [deadline_ms]
    assert passes[0].at_ms >= deadline_ms


async def test_an_unowned_call_meets_its_deadline_and_is_then_placed_without_a_free_slot(bus: Bus) -> None:
    await join(bus, "full", capacity=0)
    assert await ring(bus, in_ms=30) is Routed.WAITING

    async def placed() -> bool:
        return await owner(bus) == "full"

    await until(placed, bus)
    assert await kinds(bus) == ["Arrived", "DeadlinePassed", "Claimed"]


async def test_a_cleared_deadline_does_not_pass(bus: Bus) -> None:
    await join(bus, "one")
    await ring(bus, in_ms=30)
    await bus.arm(CALL, "one", 1, None, seq=2)
    await ring(bus, "c_2", in_ms=60)

    async def later_one_passed() -> bool:
        return "DeadlinePassed" in await kinds(bus, "c_2")

    await until(later_one_passed, bus)
    assert "DeadlinePassed" not in await kinds(bus)


async def test_a_deadline_that_arrives_after_its_successor_is_no_matter(bus: Bus) -> None:
    """It was on its way on a connection that broke, and was said again on another, as was the next."""
    await join(bus, "one")
    await ring(bus)
    await bus.arm(CALL, "one", 1, 9_999_999_999_999, seq=4)
    await bus.arm(CALL, "one", 1, 1, seq=3)
    await look_after(bus)
    assert "DeadlinePassed" not in await kinds(bus)
    await bus.arm(CALL, "one", 1, 1, seq=4)
    await look_after(bus)
    assert "DeadlinePassed" in await kinds(bus)


async def test_nobody_but_the_owner_sets_a_deadline(bus: Bus) -> None:
    await join(bus, "one")
    await ring(bus)
    with pytest.raises(LeaseLost, match=CALL):
        await bus.arm(CALL, "two", 1, 1, seq=2)
    with pytest.raises(LeaseLost, match=CALL):
        await bus.arm(CALL, "one", 2, 1, seq=2)
    await look_after(bus)
    assert "DeadlinePassed" not in await kinds(bus)


async def test_a_closed_call_has_no_deadline(bus: Bus) -> None:
    await join(bus, "one")
    await ring(bus, in_ms=30)
    await bus.done(CALL, "one", 1, "completed")
    await ring(bus, "c_2", in_ms=60)

    async def later_one_passed() -> bool:
        return "DeadlinePassed" in await kinds(bus, "c_2")

    await until(later_one_passed, bus)
    assert await kinds(bus) == ["Arrived", "Claimed", "Closed"]


# -- the fence ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def ringing(bus: Bus) -> Bus:
    """A bus on which worker `one` owns the call under epoch 1."""
    await join(bus, "one")
    await ring(bus)
    return bus


@pytest.mark.meta("4.3-once")
async def test_accept_is_granted_once_and_that_is_a_fact(ringing: Bus) -> None:
    assert await ringing.fence(CALL, 1, "accept", "job") is Fenced.GO
    assert await ringing.fence(CALL, 1, "accept", "job") is Fenced.AGAIN
    granted = [fact for fact in await log_of(ringing) if isinstance(fact, facts.ActionGranted)]
    assert [(fact.action, fact.epoch) for fact in granted] == [("accept", 1)]


async def test_the_owner_hears_that_its_accept_was_granted(ringing: Bus, inbox_wire: Wire) -> None:
    await ringing.fence(CALL, 1, "accept", "job")
    assert isinstance((await inbox(ringing, "one", inbox_wire))[-1].fact, facts.ActionGranted)


async def test_accept_is_refused_to_any_other_job(ringing: Bus) -> None:
    await ringing.fence(CALL, 1, "accept", "job")
    assert await ringing.fence(CALL, 1, "accept", "another") is Fenced.REFUSED


async def test_of_many_jobs_that_ask_at_once_one_may_accept(ringing: Bus) -> None:
    answers = await asyncio.gather(*(ringing.fence(CALL, 1, "accept", f"job {number}") for number in range(50)))
    assert sorted(answers) == [Fenced.GO] + [Fenced.REFUSED] * 49


async def test_an_ambiguous_accept_may_be_probed_once(ringing: Bus) -> None:
    await ringing.fence(CALL, 1, "accept", "job")
    assert await ringing.fence(CALL, 1, "accept", "job", probe=True) is Fenced.AGAIN
    assert await ringing.fence(CALL, 1, "accept", "job", probe=True) is Fenced.REFUSED


async def test_accept_is_barred_once_a_farewell_was_let_through(ringing: Bus) -> None:
    assert await ringing.fence(CALL, 1, "reject", "goodbye") is Fenced.GO
    assert await ringing.fence(CALL, 1, "accept", "job") is Fenced.REFUSED
    assert "ActionGranted" not in await kinds(ringing)


async def test_an_accept_that_was_granted_is_not_sent_again_after_a_farewell(ringing: Bus) -> None:
    assert await ringing.fence(CALL, 1, "accept", "job") is Fenced.GO
    assert await ringing.fence(CALL, 1, "accept", "job") is Fenced.AGAIN
    assert await ringing.fence(CALL, 1, "terminate", "goodbye") is Fenced.GO
    assert await ringing.fence(CALL, 1, "accept", "job") is Fenced.REFUSED


async def test_a_farewell_is_let_through_after_an_accept_and_as_often_as_it_is_tried(ringing: Bus) -> None:
    await ringing.fence(CALL, 1, "accept", "job")
    assert [await ringing.fence(CALL, 1, "terminate", "goodbye") for _ in range(3)] == [Fenced.GO] * 3


@pytest.mark.parametrize("action", ["accept", "reject", "terminate"])
async def test_nothing_is_let_through_under_an_epoch_that_is_over(ringing: Bus, action: str) -> None:
    await ringing.handoff(CALL, "one", 1)
    assert await ringing.fence(CALL, 1, action, "job") is Fenced.STALE


@pytest.mark.parametrize("action", ["accept", "reject", "terminate"])
async def test_nothing_is_let_through_for_a_closed_or_unknown_call(ringing: Bus, action: str) -> None:
    await ringing.done(CALL, "one", 1, "completed")
    assert await ringing.fence(CALL, 1, action, "job") is Fenced.STALE
    assert await ringing.fence("c_nobody_knows", 1, action, "job") is Fenced.STALE


async def test_no_accept_is_let_through_for_a_call_that_nobody_owns(ringing: Bus) -> None:
    """Its offer belongs to a leg that its former owner has closed."""
    await ringing.beat("one", lease_ms=60_000, capacity=None)
    assert await ringing.handoff(CALL, "one", 1)
    assert await ringing.fence(CALL, 1, "accept", "job") is Fenced.STALE


# -- handing back ------------------------------------------------------------------------------------------------------


async def test_a_call_handed_back_goes_to_another_worker_at_once(ringing: Bus) -> None:
    await ringing.beat("one", lease_ms=60_000, capacity=None)
    await join(ringing, "two")

    assert await ringing.handoff(CALL, "one", 1)

    assert await kinds(ringing) == ["Arrived", "Claimed", "HandedBack", "Claimed"]
    assert await claims(ringing) == [("one", 1), ("two", 2)]


async def test_a_call_handed_back_waits_where_nobody_has_room(ringing: Bus) -> None:
    await ringing.beat("one", lease_ms=60_000, capacity=None)
    assert await ringing.handoff(CALL, "one", 1)
    census = await ringing.census()
    assert (census.waiting, census.workers[0].held) == (1, 0)
    await asyncio.sleep(0.005)
    assert census.waited_ms < (await ringing.census()).waited_ms < 60_000


async def test_a_call_that_was_accepted_stays(ringing: Bus) -> None:
    await join(ringing, "two")
    await ringing.fence(CALL, 1, "accept", "job")
    assert not await ringing.handoff(CALL, "one", 1)
    assert await claims(ringing) == [("one", 1)]


async def test_an_accepted_call_can_be_given_to_somebody_who_ends_it_and_needs_no_slot_for_that(ringing: Bus) -> None:
    await ringing.beat("one", lease_ms=60_000, capacity=None)
    await join(ringing, "full", capacity=0)
    await ringing.fence(CALL, 1, "accept", "job")
    assert await ringing.handoff(CALL, "one", 1, anyway=True)
    assert await claims(ringing) == [("one", 1), ("full", 2)]


async def test_nobody_but_the_owner_hands_a_call_back(ringing: Bus) -> None:
    assert not await ringing.handoff(CALL, "two", 1)
    assert not await ringing.handoff(CALL, "one", 9)
    assert await kinds(ringing) == ["Arrived", "Claimed"]


# -- inboxes, dead letters, the rest -----------------------------------------------------------------------------------


async def test_an_inbox_forgets_what_was_handled(ringing: Bus, inbox_wire: Wire) -> None:
    for number in range(10):
        await ringing.route(CALL, facts.MediaChanged(version=number, sdp="v=0"), identity=f"media:{number}")
    deliveries = await inbox(ringing, "one", inbox_wire)

    await ringing.beat("one", lease_ms=60_000, capacity=1, handled=deliveries[7].id)

    left = await inbox(ringing, "one", inbox_wire)
    assert left[-3:] == deliveries[-3:]
    assert deliveries[6].id not in {delivery.id for delivery in left}


async def test_following_goes_on_where_it_was(ringing: Bus, inbox_wire: Wire) -> None:
    (claimed,) = await inbox(ringing, "one", inbox_wire)
    await hang_up_at_meta(ringing)
    (after,) = await inbox(ringing, "one", inbox_wire, after=claimed.id)
    assert isinstance(after.fact, facts.Terminated)


async def test_whoever_follows_is_woken_by_what_comes(ringing: Bus, inbox_wire: Wire) -> None:
    (claimed,) = await inbox(ringing, "one", inbox_wire)
    waiting = asyncio.create_task(inbox(ringing, "one", inbox_wire, after=claimed.id))
    await ringing.census()
    await hang_up_at_meta(ringing)
    assert [type(delivery.fact) for delivery in await waiting] == [facts.Terminated]


async def test_a_dead_letter_is_kept_and_counted_by_its_reason(bus: Bus) -> None:
    for why in ("odd", "odd", "other"):
        await bus.bury(Letter(why=why, body=b"\xff\x00"))
    assert await bus.dead_letter_counts() == {"odd": 2, "other": 1}


async def test_the_calls_last_heard_of_first_are_listed(bus: Bus) -> None:
    for number in range(3):
        await ring(bus, f"c_{number}")
        await asyncio.sleep(0.002)  # the index is in milliseconds
    assert await bus.recent_calls(limit=2) == ["c_2", "c_1"]


async def test_whatever_is_kept_of_a_closed_call_has_a_limited_life(ringing: Bus) -> None:
    outbound = Outbound(ringing)
    placed = facts.Placed(page="1", consumer="2", call_by_ms=ringing.now_ms() + 60_000, ask_permission=True)
    ours = await outbound.place(placed, key="key")
    await outbound.adopt(ours, facts.ConnectAnswered(meta_id="c_adopted"))
    await ringing.fence(CALL, 1, "accept", "job")
    for call_id in (ours, CALL):
        await ringing.done(call_id, "one", 1, "completed")
        await hang_up_at_meta(ringing, call_id)

    lasting = (b"workers", b"capacity", b"free", b"closed", b"beaten", b"memory", b"index", b"in:one")
    kept = [key for key in await ringing.wire.call("KEYS", "*") if not key.endswith(lasting)]

    assert len(kept) >= 7
    assert [key for key in kept if await ringing.wire.call("PTTL", key) <= 0] == []


async def test_a_log_may_go_before_what_its_webhooks_are_known_by(ringing: Bus) -> None:
    brief = Bus(ringing.wire, retention_hours=48, log_hours=2)
    await brief.done(CALL, "one", 1, "completed")
    log, key = f"{PREFIX}log:{CALL}", hash_of(CALL)
    assert 0 < await brief.wire.call("PTTL", log) <= 2 * HOUR_MS
    assert 47 * HOUR_MS < await brief.wire.call("PTTL", key) <= 48 * HOUR_MS

    await brief.wire.call("DEL", log)  # two hours later
    for identity in ("connect", "never seen before"):
        late = facts.Terminated(status="completed")
        assert await brief.route(CALL, late, identity=identity) is Routed.DUPLICATE
    await brief.beat(lease_ms=60_000)
    assert await brief.read_log(CALL) == []
    assert len(await claims(brief)) == 0, "nobody is given what is over"


async def test_calls_are_found_for_as_long_as_their_logs_are_kept(bus: Bus) -> None:
    brief = Bus(bus.wire, retention_hours=48, log_hours=2)
    await ring(brief)
    assert await brief.recent_calls() == [CALL]
    await brief.wire.call("ZADD", f"{PREFIX}index", brief.now_ms() - 3 * HOUR_MS, CALL)
    await join(brief, "one")
    assert await brief.recent_calls() == []


class FromTheFuture(facts.Fact, frozen=True):
    """A fact that this version does not know."""

    note: str


async def test_a_fact_of_a_newer_version_stops_nobody(ringing: Bus, inbox_wire: Wire) -> None:
    await ringing.route(CALL, FromTheFuture(note="hello", epoch=1))
    unknown = (await log_of(ringing))[-1]
    assert isinstance(unknown, facts.Unrecognized)
    assert "hello" in unknown.body
    assert (await inbox(ringing, "one", inbox_wire))[-1].fact == unknown


@pytest.mark.parametrize("at_ms", [-(10**33), 10**33, 0, -1])
async def test_a_call_with_an_absurd_time_can_still_be_read_and_ended(bus: Bus, at_ms: int) -> None:
    """Times come from outside; one that cannot be would otherwise stop every worker that reads the log."""
    await join(bus, "one")
    absurd = facts.Arrived(page="1", consumer="2", direction="user_initiated", sent_at_ms=at_ms, answer_by_ms=at_ms)
    await bus.route(CALL, absurd, identity="connect")
    await look_after(bus)
    passes = ["DeadlinePassed"] if at_ms <= 0 else []
    assert await kinds(bus) == ["Arrived", "Claimed", *passes]


async def test_calls_are_counted_by_how_they_ended_once_each(ringing: Bus) -> None:
    await ringing.done(CALL, "one", 1, "completed")
    await ringing.done(CALL, "one", 1, "completed")  # the first one's reply was lost
    assert (await ringing.census()).closed == {"completed": 1}
