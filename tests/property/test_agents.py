"""What is true of agents in a call, whatever happens; on the lives of `test_machine`, and on calls that are live."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.calls import agent_facts, machine, orders, state
from tests.property.test_machine import ATTENDED, HAPPENINGS, NOON_MS, Life, Step, Told, _tellings, lived


def agents_never_change_anything_else(life: Life) -> None:
    for step in life.steps:
        if isinstance(step.fact, agent_facts.Attended):
            assert replace(step.after, agents=step.before.agents) == step.before
            assert all(isinstance(order, orders.AboutAgent) for order in step.orders)


def only_a_live_call_is_ordered_to_do_something_with_agents(life: Life) -> None:
    for step in life.steps:
        if any(isinstance(order, orders.AboutAgent) for order in step.orders):
            assert step.before.phase is step.after.phase is state.Phase.LIVE
            assert isinstance(step.fact, agent_facts.Attended)


def each_leg_is_offered_once_answered_once_and_let_go_once(life: Life) -> None:
    """From when it was asked for until it is gone; holding alternates."""
    told: dict[str, list[type[orders.Order]]] = {}
    held: set[str] = set()
    for step in life.steps:
        for order in step.orders:
            if not isinstance(order, orders.AboutAgent):
                continue
            so_far = told.setdefault(order.leg, [])
            match order:
                case orders.OfferAgent():
                    assert not so_far
                case orders.ConnectAgent():
                    assert so_far == [orders.OfferAgent]
                case orders.HoldCaller(leg=leg, on=on):
                    assert on == (leg not in held)
                    held.symmetric_difference_update({leg})
                    continue
                case _:
                    assert not {orders.PartFromAgent, orders.GiveAway} & set(so_far)
            so_far.append(type(order))
        if isinstance(step.fact, agent_facts.AgentLeft) and step.before != step.after:
            told.pop(step.fact.leg, None)
            held.discard(step.fact.leg)


def who_only_listens_neither_holds_nor_transfers(life: Life) -> None:
    for step in life.steps:
        for order in step.orders:
            if isinstance(order, orders.HoldCaller | orders.GiveAway):
                (leg,) = (each for each in step.before.agents if each.leg == order.leg)
                assert leg.connected
                assert not leg.listens


ALWAYS = (
    agents_never_change_anything_else,
    only_a_live_call_is_ordered_to_do_something_with_agents,
    each_leg_is_offered_once_answered_once_and_let_go_once,
    who_only_listens_neither_holds_nor_transfers,
)
LIVE = state.Call(phase=state.Phase.LIVE, epoch=1, granted=True, handler_running=True, leg_open=True)
_agents = st.lists(st.one_of(*(HAPPENINGS[kind] for kind in ATTENDED)), max_size=30)


@pytest.mark.parametrize("holds", ALWAYS, ids=lambda sentence: sentence.__name__)
def test_whatever_happens(holds: Callable[[Life], None]) -> None:
    @settings(max_examples=200, deadline=None)
    @given(tellings=_tellings)
    def check(tellings: list[Told]) -> None:
        holds(lived(machine.transition, tellings))

    check()


@pytest.mark.parametrize("holds", ALWAYS, ids=lambda sentence: sentence.__name__)
def test_whatever_agents_do(holds: Callable[[Life], None]) -> None:
    @settings(max_examples=300, deadline=None)
    @given(happened=_agents)
    def check(happened: list[agent_facts.Attended]) -> None:
        life, call = Life(machine.transition), LIVE
        for fact in happened:
            stamped = replace(fact, at_ms=NOON_MS, epoch=1)
            life.steps.append(Step(call, stamped, *machine.transition(call, stamped)))
            call = life.call
            again, todo = machine.transition(call, stamped)
            assert (again, todo) == (call, ()), "a repeated fact does nothing"
        holds(life)

    check()


def test_a_talk_goes_its_way() -> None:
    """That the lives above can reach what their sentences are about."""
    said = (
        agent_facts.AgentAsked(agent="ada", leg="l_1"),
        agent_facts.AgentOffered(leg="l_1", sdp="v=0"),
        agent_facts.AgentAnswered(leg="l_1", sdp="v=0"),
        agent_facts.AgentConnected(leg="l_1", setup_ms=80),
        agent_facts.HoldAsked(leg="l_1", on=True),
        agent_facts.TransferAsked(leg="l_1", agent="bob"),
        agent_facts.AgentLeft(leg="l_1", because="transferred"),
    )
    call, done = LIVE, list[orders.Order]()
    for fact in said:
        call, todo = machine.transition(call, fact)
        done += todo
    assert done == [
        orders.OfferAgent("l_1", "ada", False),
        orders.ConnectAgent("l_1", "v=0"),
        orders.HoldCaller("l_1", True),
        orders.GiveAway("l_1", "", "bob"),
    ]
    assert call == LIVE


@pytest.mark.parametrize(
    "asked", [agent_facts.HoldAsked(leg="l_1", on=True), agent_facts.TransferAsked(leg="l_1", queue="support")]
)
@pytest.mark.parametrize("connected", [False, True])
def test_only_who_talks_holds_and_transfers(asked: agent_facts.Attended, connected: bool) -> None:
    for listens in (False, True):
        call, _ = machine.transition(LIVE, agent_facts.AgentAsked(agent="sue", leg="l_1", listens=listens))
        if connected:
            call, _ = machine.transition(call, agent_facts.AgentConnected(leg="l_1", setup_ms=80))
        _, todo = machine.transition(call, asked)
        assert bool(todo) == (connected and not listens)
