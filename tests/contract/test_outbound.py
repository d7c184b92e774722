"""The steps for calls we place, on a real Valkey and on the simulation's."""

from collections.abc import AsyncIterator, Callable

import pytest
from msgspec.structs import replace

from shared.bus import PREFIX, Bus, Fenced, Routed
from shared.calls import facts
from shared.errors import LeaseLost, RedisForgot
from shared.outbound import KeyReused, Outbound
from shared.wire import Wire

META = "c_K7bQnVd0Lw3R_ZtAhYu8sXpFe2mJ_c9GoWrE4yBg"
ANSWERED = facts.ConnectAnswered(meta_id=META, sdp="v=0", for_epoch=1)
RINGING = facts.StatusChanged(status="ringing", page="1", consumer="2")
ACCEPTED = facts.StatusChanged(status="accepted", page="1", consumer="2")
LATER_MS = 9_999_999_999_999
APPROVED = facts.PermissionReplied(response="approve", replied_at_ms=1)


@pytest.fixture
async def bus(wire_to: Callable[[], Wire]) -> AsyncIterator[Bus]:
    async with wire_to() as wire:
        bus = Bus(wire)
        await bus.beat("one", lease_ms=60_000, capacity=10, join=True)
        yield bus


@pytest.fixture
def outbound(bus: Bus) -> Outbound:
    return Outbound(bus)


def wanted(bus: Bus, *, ask_permission: bool = False, consumer: str = "2") -> facts.Placed:
    return facts.Placed(
        page="1", consumer=consumer, call_by_ms=bus.now_ms() + 60_000, handler="a:b", ask_permission=ask_permission
    )


@pytest.fixture
async def ours(bus: Bus, outbound: Outbound) -> str:
    return await outbound.place(wanted(bus))


async def kinds(bus: Bus, call_id: str) -> list[str]:
    return [type(entry.fact).__name__ for entry in await bus.read_log(call_id)]


async def held(bus: Bus) -> int:
    return sum(each.held for each in (await bus.census()).workers)


# -- asked for ---------------------------------------------------------------------------------------------------------


async def test_a_call_that_is_asked_for_finds_a_worker(bus: Bus, ours: str) -> None:
    assert ours.startswith("o_")
    assert await kinds(bus, ours) == ["Placed", "Claimed"]


async def test_the_same_key_is_the_same_call_and_another_request_under_it_is_refused(
    bus: Bus, outbound: Outbound
) -> None:
    first = await outbound.place(wanted(bus), key="k")
    later = replace(wanted(bus), call_by_ms=bus.now_ms() + 90_000)  # said again, and no other wish
    assert await outbound.place(later, key="k") == first
    assert await kinds(bus, first) == ["Placed", "Claimed"]
    for other in (wanted(bus, consumer="3"), wanted(bus, ask_permission=True), replace(wanted(bus), handler="a:c")):
        with pytest.raises(KeyReused, match=first):
            await outbound.place(other, key="k")
    assert await outbound.place(wanted(bus), key="another") != first


async def test_a_key_names_nobody_in_redis(bus: Bus, outbound: Outbound) -> None:
    await outbound.place(wanted(bus, consumer="24680135791113"), key="order of 24680135791113")
    (kept,) = await bus.wire.call("KEYS", f"{PREFIX}placed:*")
    assert b"24680135791113" not in kept + await bus.wire.call("GET", kept)


async def test_a_request_whose_first_half_got_lost_is_completed_by_its_repeat(bus: Bus, outbound: Outbound) -> None:
    """The key was kept, and the process died before it placed the call."""
    first = await outbound.place(wanted(bus), key="k")
    await bus.wire.call("DEL", f"{PREFIX}call:{first}", f"{PREFIX}log:{first}")
    assert await outbound.place(wanted(bus), key="k") == first
    assert await kinds(bus, first) == ["Placed", "Claimed"]


async def test_nobody_within_its_time_lets_a_call_expire(bus: Bus, outbound: Outbound) -> None:
    await bus.beat("one", lease_ms=60_000, capacity=None)
    late = await outbound.place(facts.Placed(page="1", consumer="2", call_by_ms=bus.now_ms() - 1))
    await bus.beat(lease_ms=60_000)
    assert await kinds(bus, late) == ["Placed", "DeadlinePassed"]


# -- on the shelf ------------------------------------------------------------------------------------------------------


@pytest.mark.meta("5.3-answer")
async def test_a_call_on_the_shelf_takes_no_place_and_comes_back_with_its_answer(bus: Bus, outbound: Outbound) -> None:
    ours = await outbound.place(wanted(bus, ask_permission=True))
    assert await outbound.shelve(ours, "one", 1, seq=2, deadline_ms=LATER_MS)
    assert await held(bus) == 0
    assert await outbound.permission_replied("1", "2", APPROVED) == 1
    assert await kinds(bus, ours) == ["Placed", "Claimed", "HandedBack", "PermissionReplied", "Claimed"]
    assert await held(bus) == 1


async def test_a_call_to_which_something_happened_meanwhile_stays(bus: Bus, outbound: Outbound) -> None:
    ours = await outbound.place(wanted(bus, ask_permission=True))
    await outbound.permission_replied("1", "2", APPROVED)
    assert not await outbound.shelve(ours, "one", 1, seq=2, deadline_ms=LATER_MS)
    assert await held(bus) == 1


async def test_only_the_owner_shelves(ours: str, outbound: Outbound) -> None:
    for worker, epoch in (("two", 1), ("one", 2)):
        with pytest.raises(LeaseLost):
            await outbound.shelve(ours, worker, epoch, seq=2, deadline_ms=LATER_MS)
    with pytest.raises(RedisForgot):
        await outbound.shelve("o_unknown", "one", 1, seq=2, deadline_ms=LATER_MS)


async def test_a_call_on_the_shelf_is_ended_when_its_time_is_up(bus: Bus, outbound: Outbound) -> None:
    ours = await outbound.place(wanted(bus, ask_permission=True))
    await bus.arm(ours, "one", 1, LATER_MS, seq=2)  # what was to happen before it was shelved
    assert await outbound.shelve(ours, "one", 1, seq=2, deadline_ms=bus.now_ms() - 1)
    await bus.beat(lease_ms=60_000)
    assert (await kinds(bus, ours))[-2:] == ["DeadlinePassed", "Claimed"]


@pytest.mark.meta("3.5-implicit")
async def test_an_answer_reaches_every_call_that_waits_for_it_once_and_no_other(bus: Bus, outbound: Outbound) -> None:
    waiting = [await outbound.place(wanted(bus, ask_permission=True)) for _ in range(2)]
    others = [
        await outbound.place(wanted(bus, ask_permission=True, consumer="3")),
        await outbound.place(wanted(bus)),
    ]
    assert await outbound.permission_replied("1", "2", APPROVED) == 2
    assert await outbound.permission_replied("1", "2", APPROVED) == 0  # Meta sends again
    assert [(await kinds(bus, call)).count("PermissionReplied") for call in (*waiting, *others)] == [1, 1, 0, 0]


async def test_an_answer_for_calls_that_nobody_knows_any_more_begins_no_log(bus: Bus, outbound: Outbound) -> None:
    ours = await outbound.place(wanted(bus, ask_permission=True))
    await bus.wire.call("DEL", f"{PREFIX}call:{ours}", f"{PREFIX}log:{ours}")  # its retention is over
    assert await outbound.permission_replied("1", "2", APPROVED) == 0
    assert await bus.read_log(ours) == []
    assert await bus.wire.call("SMEMBERS", f"{PREFIX}asking:1:2") == []


async def test_an_answer_after_days_finds_a_call_that_may_wait_for_so_long(wire_to: Callable[[], Wire]) -> None:
    async with wire_to() as wire:
        bus = Bus(wire)
        outbound = Outbound(bus)
        week_ms = 7 * 24 * 3_600_000
        for within_ms in (week_ms, 60_000):
            placed = facts.Placed(page="1", consumer="2", call_by_ms=bus.now_ms() + within_ms, ask_permission=True)
            await outbound.place(placed)
        assert await wire.call("PTTL", f"{PREFIX}asking:1:2") > week_ms


async def test_a_call_that_is_closed_waits_for_nobodys_leave(bus: Bus, outbound: Outbound) -> None:
    """A consumer who is asked every day and never answers must not leave a list that grows."""
    ours = await outbound.place(wanted(bus, ask_permission=True))
    await bus.done(ours, "one", 1, "unreached")
    assert await bus.wire.call("SMEMBERS", f"{PREFIX}asking:1:2") == []


# -- adopted -----------------------------------------------------------------------------------------------------------


@pytest.mark.meta("3.1-id", "5.4-overtaken")
async def test_what_overtook_the_reply_joins_the_log_after_it_in_order(bus: Bus, outbound: Outbound, ours: str) -> None:
    assert await bus.route(META, RINGING, identity="ringing") is Routed.LOGGED
    assert await bus.route(META, ACCEPTED, identity="accepted") is Routed.LOGGED
    assert await outbound.adopt(ours, ANSWERED) == ("adopted", 2)
    log = [entry.fact for entry in await bus.read_log(ours)][2:]
    assert isinstance(log[0], facts.ConnectAnswered)
    assert [fact.status for fact in log[1:] if isinstance(fact, facts.StatusChanged)] == ["ringing", "accepted"]
    assert await bus.read_log(META) == []
    assert await bus.recent_calls() == [ours]


async def test_what_comes_later_under_metas_id_goes_to_our_call_and_repeats_are_seen(
    bus: Bus, outbound: Outbound, ours: str
) -> None:
    await bus.route(META, RINGING, identity="ringing")
    await outbound.adopt(ours, ANSWERED)
    assert await bus.route(META, RINGING, identity="ringing") is Routed.DUPLICATE
    assert await bus.route(META, ACCEPTED, identity="accepted") is Routed.DELIVERED
    assert (await kinds(bus, ours))[-1] == "StatusChanged"


async def test_adopting_again_changes_nothing(bus: Bus, outbound: Outbound, ours: str) -> None:
    await outbound.adopt(ours, ANSWERED)
    before = await bus.read_log(ours)
    assert await outbound.adopt(ours, ANSWERED) == ("known", 0)
    assert await bus.read_log(ours) == before


async def test_one_id_of_metas_is_one_call_of_ours(bus: Bus, outbound: Outbound, ours: str) -> None:
    await outbound.adopt(ours, ANSWERED)
    another = await outbound.place(wanted(bus))
    assert (await outbound.adopt(another, ANSWERED)).verdict == "other"
    assert "ConnectAnswered" not in await kinds(bus, another)


async def test_an_answer_for_a_former_owner_reaches_the_present_one(bus: Bus, outbound: Outbound, ours: str) -> None:
    assert await bus.handoff(ours, "one", 1)
    assert (await outbound.adopt(ours, ANSWERED)).verdict == "adopted"
    assert (await kinds(bus, ours))[-2:] == ["Claimed", "ConnectAnswered"]


async def test_an_answer_for_a_call_that_is_closed_says_so(bus: Bus, outbound: Outbound, ours: str) -> None:
    await bus.done(ours, "one", 1, "failed")
    assert (await outbound.adopt(ours, ANSWERED)).verdict == "closed"
    assert await bus.route(META, RINGING, identity="ringing") is Routed.LOGGED


async def test_an_answer_for_a_closed_call_says_so_again_where_nobody_heard_it(
    bus: Bus, outbound: Outbound, ours: str
) -> None:
    await bus.done(ours, "one", 1, "failed")
    await outbound.adopt(ours, ANSWERED)
    assert (await outbound.adopt(ours, ANSWERED)).verdict == "closed"


async def test_who_took_metas_id_for_an_unknown_call_does_not_speak_for_ours(
    bus: Bus, outbound: Outbound, ours: str
) -> None:
    """The epochs of both count from one."""
    await bus.route(META, facts.Terminated(status="completed"), identity="terminate")
    await outbound.adopt(ours, ANSWERED)
    assert await bus.route(META, facts.HandlerEnded(how="returned", epoch=1)) is Routed.STALE
    assert "HandlerEnded" not in await kinds(bus, ours)


async def test_an_answer_for_a_call_that_redis_forgot_has_to_wait(outbound: Outbound) -> None:
    with pytest.raises(RedisForgot):
        await outbound.adopt("o_unknown", ANSWERED)


async def test_a_hang_up_that_overtook_the_reply_and_found_a_worker_ends_our_call(
    bus: Bus, outbound: Outbound, ours: str
) -> None:
    assert await bus.route(META, facts.Terminated(status="completed"), identity="terminate") is Routed.PLACED
    await bus.route(META, facts.HandlerStarted(handler="a:b", epoch=1))
    await outbound.adopt(ours, ANSWERED)
    assert (await kinds(bus, ours))[2:] == ["ConnectAnswered", "Terminated"]
    assert await held(bus) == 1
    with pytest.raises(LeaseLost):
        await bus.done(META, "one", 1, "cancelled")


async def test_a_restored_call_hears_of_meta_again(wire_to: Callable[[], Wire], bus: Bus, outbound: Outbound) -> None:
    ours = await outbound.place(wanted(bus))
    await bus.fence(ours, 1, "connect", "job")
    await outbound.adopt(ours, ANSWERED)
    log = await bus.read_log(ours)
    await bus.wire.call("FLUSHALL")
    await bus.beat("one", lease_ms=60_000, capacity=10, join=True)
    assert await bus.restore(ours, "one", 1, log)
    assert await bus.route(META, RINGING, identity="ringing") is Routed.DELIVERED
    assert await bus.fence(ours, 1, "connect", "job 2") is Fenced.REFUSED


async def test_a_restored_call_hears_its_consumers_answer_and_asks_no_second_time(bus: Bus, outbound: Outbound) -> None:
    ours = await outbound.place(wanted(bus, ask_permission=True))
    await bus.route(ours, facts.PermissionRead(status="no_permission", may_call=False, may_ask=True, epoch=1))
    log = await bus.read_log(ours)
    await bus.wire.call("FLUSHALL")
    await bus.beat("one", lease_ms=60_000, capacity=10, join=True)
    assert await bus.restore(ours, "one", 1, log)
    assert await bus.fence(ours, 1, "optin", "job") is Fenced.REFUSED
    assert await outbound.permission_replied("1", "2", APPROVED) == 1


async def test_a_restored_call_whose_connect_may_have_been_granted_is_granted_none(
    bus: Bus, outbound: Outbound, ours: str
) -> None:
    """The grant was in what Redis lost, and its owner had not heard of it."""
    await bus.route(ours, facts.OfferMade(sdp="v=0", epoch=1))
    log = await bus.read_log(ours)
    await bus.fence(ours, 1, "connect", "job")
    await bus.wire.call("FLUSHALL")
    await bus.beat("one", lease_ms=60_000, capacity=10, join=True)
    assert await bus.restore(ours, "one", 1, log)
    assert await bus.fence(ours, 1, "connect", "job 2") is Fenced.REFUSED


# -- a connect without a reply -----------------------------------------------------------------------------------------


@pytest.mark.meta("3.2-recipient")
@pytest.mark.parametrize("first", ["webhook", "doubt"])
async def test_a_call_that_meta_made_without_telling_is_found_by_its_consumer(
    bus: Bus, outbound: Outbound, ours: str, first: str
) -> None:
    if first == "webhook":
        await bus.route(META, RINGING, identity="ringing")
        assert await outbound.seek(ours, "1", "2", for_ms=60_000) == META
    else:
        assert await outbound.seek(ours, "1", "2", for_ms=60_000) == ""
        assert await bus.route(META, RINGING, identity="ringing") is Routed.DELIVERED
    log = [entry.fact for entry in await bus.read_log(ours)][2:]
    assert [type(fact) for fact in log] == [facts.ConnectAnswered, facts.StatusChanged]
    assert isinstance(log[0], facts.ConnectAnswered)
    assert (log[0].meta_id, log[0].sdp, log[0].for_epoch) == (META, None, 0)


async def test_another_consumers_call_is_not_taken_for_it(bus: Bus, outbound: Outbound, ours: str) -> None:
    elsewhere = facts.StatusChanged(status="ringing", page="1", consumer="3")
    assert await outbound.seek(ours, "1", "2", for_ms=60_000) == ""
    assert await bus.route(META, elsewhere, identity="ringing") is Routed.LOGGED
    assert "ConnectAnswered" not in await kinds(bus, ours)


async def test_a_call_that_is_known_for_another_of_ours_is_not_taken_for_it(
    bus: Bus, outbound: Outbound, ours: str
) -> None:
    await bus.route(META, RINGING, identity="ringing")
    await outbound.adopt(ours, ANSWERED)
    another = await outbound.place(wanted(bus))
    assert await outbound.seek(another, "1", "2", for_ms=60_000) == ""
    assert "ConnectAnswered" not in await kinds(bus, another)


async def test_a_call_that_rang_before_ours_was_dialled_is_not_taken_for_it(
    bus: Bus, outbound: Outbound, ours: str
) -> None:
    """Somebody else's app may call the same consumer; ours must not hang up on it."""
    await bus.route(META, RINGING, identity="ringing")
    until_ms = int((await bus.read_log(META))[-1].fact.at_ms) + 1
    while await bus.beat(lease_ms=60_000) <= until_ms:
        pass
    await bus.fence(ours, 1, "connect", "job")
    assert await outbound.seek(ours, "1", "2", for_ms=60_000) == ""
    assert await bus.route(META, ACCEPTED, identity="accepted") is Routed.LOGGED
    assert "ConnectAnswered" not in await kinds(bus, ours)


async def test_two_calls_to_one_consumer_that_are_both_in_doubt_find_two_calls(
    bus: Bus, outbound: Outbound, ours: str
) -> None:
    another = await outbound.place(wanted(bus))
    for call in (ours, another):
        assert await outbound.seek(call, "1", "2", for_ms=60_000) == ""
    for theirs in (META, "c_another"):
        assert await bus.route(theirs, RINGING, identity="ringing") is Routed.DELIVERED
    assert [(await kinds(bus, call)).count("ConnectAnswered") for call in (ours, another)] == [1, 1]


async def test_a_call_that_is_closed_looks_for_nothing(bus: Bus, outbound: Outbound, ours: str) -> None:
    await outbound.seek(ours, "1", "2", for_ms=60_000)
    await bus.done(ours, "one", 1, "failed")
    assert await bus.route(META, RINGING, identity="ringing") is Routed.LOGGED
    assert "ConnectAnswered" not in await kinds(bus, ours)


# -- the fence ---------------------------------------------------------------------------------------------------------


@pytest.mark.meta("5.4-once")
async def test_one_connect_is_granted_in_a_calls_life(bus: Bus, ours: str) -> None:
    assert await bus.fence(ours, 1, "connect", "job") is Fenced.GO
    assert await bus.fence(ours, 1, "connect", "job") is Fenced.AGAIN
    assert await bus.fence(ours, 1, "connect", "another") is Fenced.REFUSED
    assert (await kinds(bus, ours))[-1] == "ActionGranted"


async def test_a_withdrawal_bars_a_connect_that_was_not_granted_and_no_other(
    bus: Bus, outbound: Outbound, ours: str
) -> None:
    assert await bus.fence(ours, 1, "withdraw", "w") is Fenced.GO
    assert await bus.fence(ours, 1, "withdraw", "w") is Fenced.GO
    assert await bus.fence(ours, 1, "connect", "job") is Fenced.REFUSED
    granted = await outbound.place(wanted(bus))
    await bus.fence(granted, 1, "connect", "job")
    assert await bus.fence(granted, 1, "withdraw", "w") is Fenced.REFUSED


@pytest.mark.meta("5.2-two-a-day")
async def test_a_consumer_is_asked_once_in_a_calls_life(bus: Bus, ours: str) -> None:
    assert await bus.fence(ours, 1, "optin", "job 1") is Fenced.GO
    assert await bus.fence(ours, 1, "optin", "job 1") is Fenced.AGAIN
    assert await bus.handoff(ours, "one", 1)
    assert await bus.fence(ours, 2, "optin", "job 2") is Fenced.REFUSED


async def test_a_job_hears_that_the_call_for_which_it_had_leave_is_another_owners(bus: Bus, ours: str) -> None:
    await bus.fence(ours, 1, "connect", "job")
    assert await bus.handoff(ours, "one", 1, anyway=True)
    assert await bus.fence(ours, 1, "connect", "job") is Fenced.ORPHANED
    assert await bus.fence(ours, 1, "connect", "another") is Fenced.STALE


async def test_asking_whether_there_was_leave_gives_none(bus: Bus, ours: str) -> None:
    for action in ("connect", "optin"):
        assert await bus.fence(ours, 1, action, "job", probe=True) is Fenced.REFUSED
        assert await bus.fence(ours, 1, action, "job") is Fenced.GO
        assert await bus.fence(ours, 1, action, "job", probe=True) is Fenced.AGAIN


async def test_nobodys_call_may_be_told_goodbye_and_nothing_else(bus: Bus, outbound: Outbound, ours: str) -> None:
    await outbound.adopt(ours, ANSWERED)
    assert await bus.fence(META, 0, "terminate", "job") is Fenced.GO
    assert await bus.fence(META, 0, "accept", "job") is Fenced.STALE
    assert await bus.fence(ours, 0, "terminate", "job") is Fenced.STALE
