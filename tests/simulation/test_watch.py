"""What the checker excuses, and what it does not, where a lucky seed would be needed to see the difference."""

import asyncio

import msgspec

from shared.calls import facts
from tests.simulation.meta import RINGS_FOR_S, MetaCall
from tests.simulation.outgoing import broken_by_adoption, broken_in_the_end, broken_to_a_callee
from tests.simulation.plants import NOTHING
from tests.simulation.scripts import PAGES
from tests.simulation.watch import LOG
from tests.simulation.world import World

CALL = "c_1"
ARRIVED = facts.Arrived(page=PAGES[0], consumer="psid1", direction="user_initiated", sent_at_ms=0, answer_by_ms=55_000)


async def nobody(_body: bytes, _signature: bytes) -> None:
    """Take no webhook."""


def rings_out(*, well_since_s: float, posted_s: tuple[float, ...], arrived_s: float | None = None) -> list[str]:
    """Let a call ring from 0 s until Meta gives up, unanswered; return what the checker has against it."""
    world = World(0, nobody, NOTHING)
    call = MetaCall(CALL, PAGES[0], "psid1", began_s=0.0, talks_for_s=1.0)
    for at_s in posted_s:
        world.outside(at_s, world.watch.posted, {"id": CALL, "event": "connect"})
    if arrived_s is not None:
        entry = ("1-0", "f", msgspec.json.encode(ARRIVED), "t", 0, "e", 0)
        world.outside(arrived_s, world.server.run, "XADD", LOG + CALL.encode(), *entry)
    world.outside(RINGS_FOR_S, world.watch.ended, call, well_since_s)
    world.loop.run(asyncio.sleep(RINGS_FOR_S + 1), at_most_steps=100)
    world.loop.bury()
    return world.trace.violations


def test_a_call_that_rings_in_vain_although_all_is_well_is_held_against_us() -> None:
    assert rings_out(well_since_s=0.0, posted_s=(0.1,), arrived_s=0.1)


def test_a_call_of_which_nobody_tried_to_tell_us_since_the_trouble_is_not_held_against_us() -> None:
    assert not rings_out(well_since_s=50.0, posted_s=(0.1, 20.0, 49.0))


def test_a_call_of_which_we_were_told_too_late_to_reject_it_is_not_held_against_us() -> None:
    assert not rings_out(well_since_s=50.0, posted_s=(0.1, 20.0, 59.0), arrived_s=59.0)


def test_a_call_of_which_we_were_told_in_time_after_the_trouble_is_held_against_us() -> None:
    assert rings_out(well_since_s=50.0, posted_s=(0.1, 20.0, 52.0), arrived_s=52.0)
    assert rings_out(well_since_s=50.0, posted_s=(0.1, 20.0, 49.9), arrived_s=50.1)


def test_a_webhook_that_was_refused_although_all_was_well_excuses_nothing() -> None:
    assert rings_out(well_since_s=50.0, posted_s=(0.1, 20.0, 52.0))
    assert rings_out(well_since_s=0.0, posted_s=(0.1, 20.0, 52.0))


def test_a_call_that_was_known_before_the_trouble_is_held_against_us() -> None:
    assert rings_out(well_since_s=50.0, posted_s=(0.1,), arrived_s=0.1)
    assert rings_out(well_since_s=50.0, posted_s=(0.1, 59.0), arrived_s=0.1)


def test_a_call_that_rings_out_soon_after_the_trouble_is_not_held_against_us() -> None:
    assert not rings_out(well_since_s=57.0, posted_s=(0.1,), arrived_s=0.1)


# -- calls that we place -----------------------------------------------------------------------------------------------

PLACED = facts.Placed(page=PAGES[0], consumer="callee1", call_by_ms=90_000, ask_permission=True)
ACCEPTED = facts.StatusChanged(status="accepted")
ANSWERED = facts.ConnectAnswered(meta_id=CALL)


def called(*, picked_up_s: float | None = None, heard_s: float | None = None) -> MetaCall:
    """Return a call that we placed at 0 s."""
    call = MetaCall(CALL, PAGES[0], "callee1", began_s=0.0, talks_for_s=1.0, placed=True)
    call.accepted_s, call.heard_s = picked_up_s, heard_s
    return call


def test_a_callee_is_not_left_ringing_unless_the_trouble_was_late() -> None:
    assert list(broken_to_a_callee(called(), [], 100.0, 0.0))
    assert not list(broken_to_a_callee(called(), [], 100.0, 60.0))
    assert not list(broken_to_a_callee(called(), [], 40.0, 0.0))


def test_a_callee_who_picked_up_hears_something_if_we_know_of_it() -> None:
    assert list(broken_to_a_callee(called(picked_up_s=5.0), [ACCEPTED], 20.0, 0.0))
    assert not list(broken_to_a_callee(called(picked_up_s=5.0), [], 20.0, 0.0))
    assert not list(broken_to_a_callee(called(picked_up_s=5.0, heard_s=19.0), [ACCEPTED], 20.0, 0.0))


def test_what_was_heard_under_metas_id_belongs_to_our_call_once_it_is_known() -> None:
    assert list(broken_by_adoption([ACCEPTED], [PLACED, ANSWERED]))
    assert not list(broken_by_adoption([ACCEPTED], [PLACED, ANSWERED, ACCEPTED]))
    assert not list(broken_by_adoption([ACCEPTED], [PLACED]))


def test_a_call_that_we_place_has_one_outcome_and_leave_is_made_use_of() -> None:
    approved, unreached = (
        facts.PermissionReplied(response="approve", replied_at_ms=1),
        facts.Closed(outcome="unreached"),
    )
    assert list(broken_in_the_end([PLACED]))
    assert list(broken_in_the_end([PLACED, unreached, unreached]))
    assert list(broken_in_the_end([PLACED, approved, unreached]))
    assert not list(broken_in_the_end([PLACED, facts.DeadlinePassed(deadline_ms=1), approved, unreached]))
    assert not list(broken_in_the_end([PLACED, unreached]))
