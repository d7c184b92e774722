"""Graph is slow, cuts connections or comes in slices: what the consumer notices of it."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from shared.calls import facts
from tests.acceptance.standin import Meta, Reply
from tests.chaos.exchange import ANNOUNCE, CONVERSE, DEAD_AIR_AT_MOST_S, Exchange
from tests.chaos.proxy import FaultProxy


class Setting(NamedTuple):
    """An exchange whose action worker reaches Graph through a network that can fail."""

    exchange: Exchange
    network: FaultProxy


@pytest.fixture(scope="module")
def setting(meta: Meta, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    with FaultProxy(meta.url) as network, Exchange(tmp_path_factory.mktemp("graph"), meta) as exchange:
        exchange.open("web", "media", "action", GRAPH_URL=network.url)
        yield Setting(exchange, network)


@pytest.mark.parametrize("fault", ["slow", "sliced"])
def test_a_call_is_answered_and_ended_once_through_a_graph_that_is_slow_or_comes_in_slices(
    setting: Setting, meta: Meta, fault: str
) -> None:
    exchange, network = setting
    with network.slow(0.7) if fault == "slow" else network.sliced(16):
        consumer = meta.consumer(ANNOUNCE).ring()
        consumer.await_sound(0.5)
        assert consumer.gone.wait(10)
    assert exchange.outcome_of(consumer) == "completed"
    assert [request.action for request in consumer.actions()] == ["accept", "terminate"]


def test_an_accept_whose_connection_is_reset_is_asked_for_once_more_with_the_same_offer(
    setting: Setting, meta: Meta
) -> None:
    exchange, network = setting
    consumer = meta.consumer(CONVERSE)
    consumer.replies["accept"] = [Reply(after_s=30, status=500)]
    consumer.ring().await_action("accept")
    network.reset()
    consumer.await_sound(0.5)
    consumer.hang_up()
    assert exchange.outcome_of(consumer) == "completed"
    first, second = consumer.actions("accept")
    assert first.body == second.body


def test_an_accept_that_certainly_never_arrived_is_sent_as_soon_as_graph_is_there(setting: Setting, meta: Meta) -> None:
    exchange, network = setting
    with network.refusing():
        consumer = meta.consumer(CONVERSE).ring()
        exchange.await_fact(consumer, facts.ActionGranted)
    consumer.await_sound(0.5)
    consumer.hang_up()
    assert exchange.outcome_of(consumer) == "completed"
    assert len(consumer.actions("accept")) == 1


def test_a_call_whose_accept_is_never_answered_is_terminated_before_the_silence_is_too_long(
    setting: Setting, meta: Meta
) -> None:
    exchange, _ = setting
    consumer = meta.consumer(CONVERSE)
    consumer.replies["accept"] = [Reply(after_s=30), Reply(after_s=30)]
    first = consumer.ring().await_action("accept")
    terminate = consumer.await_action("terminate")
    assert terminate.at_s - first.at_s <= DEAD_AIR_AT_MOST_S
    assert exchange.outcome_of(consumer) == "failed"
    assert len(consumer.actions("accept")) == 2
    assert len(consumer.actions("terminate")) == 1


def test_a_goodbye_is_said_again_until_graph_is_there_and_takes_it(setting: Setting, meta: Meta) -> None:
    exchange, network = setting
    consumer = meta.consumer(ANNOUNCE)
    consumer.replies["terminate"] = [Reply(status=500), Reply(status=503)]
    consumer.ring().await_sound(0.5)
    with network.refusing():
        exchange.await_fact(consumer, facts.HandlerEnded)
    assert exchange.outcome_of(consumer) == "completed"
    assert len(consumer.actions("terminate")) == 3
    assert consumer.gone.wait(1)
