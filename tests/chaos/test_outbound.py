"""Processes are killed with a call in their hands that we place: nobody is rung twice, and nobody is left ringing."""

import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import httpx
import pytest

from shared.calls import facts
from tests.acceptance.simulated import SimulatedMeta
from tests.acceptance.standin import until
from tests.chaos.exchange import CONVERSE, DEAD_AIR_AT_MOST_S, Exchange

KEY: Final = "a-key-for-the-tests"


class Ours(NamedTuple):
    """A call that we place, by its id, and whom it is for."""

    call_id: str
    psid: str


@pytest.fixture(scope="module")
def simulated() -> SimulatedMeta:
    return SimulatedMeta()


@pytest.fixture(scope="module")
def standing_exchange(simulated: SimulatedMeta, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """An exchange whose Meta has consumers that can be called."""
    with Exchange(tmp_path_factory.mktemp("exchange"), simulated, PAGELINE_API_KEYS=KEY) as running:
        running.processes["sim"] = simulated.start(running.home)
        yield running


def place(exchange: Exchange, simulated: SimulatedMeta, psid: str, **how: Any) -> Ours:
    """Ask for a call to a consumer who lets us call."""
    simulated.permit(CONVERSE, psid)
    simulated.tell(psid, **how)
    headers = {"authorization": f"Bearer {KEY}"}
    reply = httpx.post(f"{exchange.base}/v1/calls", json={"page": CONVERSE, "to": psid}, headers=headers)
    return Ours(reply.raise_for_status().json()["call_id"], psid)


def await_connect(simulated: SimulatedMeta, ours: Ours) -> None:
    """Wait until Graph has our `connect`; one that was only let through may die with its worker unsent."""

    def connects() -> list[dict[str, Any]]:
        return [asked for asked in simulated.asked(action="connect") if asked["body"]["to"] == ours.psid]

    until(connects, "our connect at Graph")


def assert_rang_once_and_was_ended_by_us(simulated: SimulatedMeta, ours: Ours) -> None:
    """See that the consumer's telephone rang for one call, which we ended."""
    (call,) = simulated.calls_to(ours.psid)
    over = simulated.wait(call["call_id"])
    assert over["ended_by"] == "business"
    bodies = [asked["body"] for asked in simulated.asked()]
    assert len([body for body in bodies if body["action"] == "connect" and body["to"] == ours.psid]) == 1


@pytest.mark.parametrize("phase", ["dialling", "calling", "live"])
def test_a_call_whose_media_worker_is_killed_is_ended_at_metas_and_never_placed_again(
    exchange: Exchange, simulated: SimulatedMeta, phase: str
) -> None:
    if phase == "dialling":
        simulated.fail("connect", "latency", latency_ms=4_500)
    ours = place(exchange, simulated, f"1{phase}", pickup="answer" if phase == "live" else "ignore", pickup_after_ms=0)
    exchange.await_fact(ours, facts.ActionGranted)
    if phase != "dialling":
        exchange.await_fact(ours, facts.ConnectAnswered)
    if phase == "live":
        simulated.wait(simulated.call_to(ours.psid)["call_id"], state="connected")
    killed_ms = exchange.kill(exchange.holder(ours))
    exchange.await_successor(ours, since_ms=killed_ms)
    assert exchange.outcome_of(ours) == "lost"
    assert_rang_once_and_was_ended_by_us(simulated, ours)
    assert exchange.knows_it_lost(ours)


def test_a_connect_that_died_with_its_worker_rings_once_and_is_ended_once_it_is_found(
    exchange: Exchange, simulated: SimulatedMeta
) -> None:
    simulated.fail("connect", "latency", latency_ms=500)
    ours = place(exchange, simulated, "2", pickup="ignore")
    await_connect(simulated, ours)
    exchange.kill("action")
    exchange.open("action")
    until(lambda: simulated.calls_to(ours.psid), "the call of which nobody was told")
    assert exchange.outcome_of(ours) == "failed"
    assert_rang_once_and_was_ended_by_us(simulated, ours)


def test_a_call_whose_connect_and_owner_died_together_is_found_and_ended_by_who_came_after_them(
    exchange: Exchange, simulated: SimulatedMeta
) -> None:
    simulated.fail("connect", "latency", latency_ms=500)
    ours = place(exchange, simulated, "3", pickup="ignore")
    await_connect(simulated, ours)
    killed_ms = exchange.kill(exchange.holder(ours), "action")
    exchange.open("action")
    exchange.await_successor(ours, since_ms=killed_ms)
    assert exchange.outcome_of(ours) == "lost"
    assert_rang_once_and_was_ended_by_us(simulated, ours)


def test_a_connect_whose_reply_is_cut_off_is_not_sent_again_and_ended_at_once(
    exchange: Exchange, simulated: SimulatedMeta
) -> None:
    simulated.fail("connect", "drop_after")
    began_s = time.monotonic()
    ours = place(exchange, simulated, "4", pickup="ignore")
    assert exchange.outcome_of(ours) == "failed"
    assert_rang_once_and_was_ended_by_us(simulated, ours)
    assert time.monotonic() - began_s <= DEAD_AIR_AT_MOST_S


def test_a_drain_hands_a_call_back_that_was_not_dialled_and_another_places_it(
    exchange: Exchange, simulated: SimulatedMeta
) -> None:
    with exchange.frozen("action"):
        ours = place(exchange, simulated, "5", pickup="decline", pickup_after_ms=100)
        exchange.await_fact(ours, facts.Claimed)
        first = exchange.holder(ours)
        exchange.processes.pop(first).stop()
        until(lambda: len(exchange.claims(ours)) == 2, "another owner")
    assert exchange.outcome_of(ours) == "unreached"
    assert len(simulated.calls_to(ours.psid)) == 1
