"""The action worker is killed with an action on its way to Graph; a platform starts another."""

from shared.calls import facts
from tests.acceptance.standin import Meta, Reply, graph_error
from tests.chaos.exchange import ANNOUNCE, CONVERSE, DEAD_AIR_AT_MOST_S, Exchange, assert_ended_at_meta


def test_an_accept_that_died_with_its_worker_leaves_nobody_in_dead_air(exchange: Exchange, meta: Meta) -> None:
    consumer = meta.consumer(CONVERSE)
    consumer.replies["accept"] = [Reply(act=True, after_s=1), Reply(body=graph_error("transient"))]
    consumer.ring().await_action("accept")
    exchange.kill("action")
    exchange.open("action")
    assert_ended_at_meta(consumer)
    assert exchange.outcome_of(consumer) == "failed"
    assert len(consumer.actions("accept")) <= 2
    assert len({accept.body["session"]["sdp"] for accept in consumer.actions("accept")}) == 1


def test_a_terminate_that_died_with_its_worker_is_sent_by_another(exchange: Exchange, meta: Meta) -> None:
    consumer = meta.consumer(ANNOUNCE)
    consumer.replies["terminate"] = [Reply(after_s=60, status=500)]
    first = consumer.ring().await_action("terminate")
    assert exchange.await_fact(consumer, facts.HandlerEnded)
    exchange.kill("action")
    exchange.open("action")
    assert consumer.gone.wait(40)
    second = consumer.actions("terminate")[1]
    assert exchange.outcome_of(consumer) == "completed"
    assert second.at_s - first.at_s <= DEAD_AIR_AT_MOST_S
    assert consumer.left
